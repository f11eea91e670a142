"""Stacks made of stacks: other stages, no stem, the derivatives of another form, means moved.

Each keeps the protocol of `stack`: what comes out passes through every kernel.
"""

import dataclasses
from collections.abc import Callable, Sequence

from resnet_dyn.models import stack as stack_lib

ResidualStack, Stage, Unit = stack_lib.ResidualStack, stack_lib.Stage, stack_lib.Unit


def with_stages(stack: ResidualStack, stages: Sequence[Stage]) -> ResidualStack:
    """The stack with other stages between its stem and its head."""
    return dataclasses.replace(stack, stages=tuple(stages))


def headless(stack: ResidualStack) -> ResidualStack:
    """The stack with nothing but its head: what programs that end a pass are given."""
    return dataclasses.replace(stack, stem_params=(), stages=(), names=None, groups=None)


def without_stem(stack: ResidualStack) -> ResidualStack:
    """The stack that takes h_0 for its input; a context that `stack.enter` gave it stays."""
    return dataclasses.replace(stack, stem_params=(), stem=_nothing, min_batch=1, make_context=None)


def with_forward_derivatives(stack: ResidualStack) -> ResidualStack:
    """The stack with functions that `jax.jvp` passes through; same numbers.

    A function that has another form for it says so by a method `with_forward_derivatives()`, as
    our layers do; every other is left as it is.
    """

    def other(kind: Stage) -> Stage:
        return dataclasses.replace(
            kind,
            branch=forward_form(kind.branch),
            skip=forward_form(kind.skip),
            merge=forward_form(kind.merge),
        )

    stages = [stack_lib.over_kinds(stage, other) for stage in stack.stages]
    return dataclasses.replace(
        with_stages(stack, stages), stem=forward_form(stack.stem), head=forward_form(stack.head)
    )


def forward_form(function: Callable | None) -> Callable | None:
    """The form of one function that has forward derivatives, by default itself."""
    other = getattr(function, 'with_forward_derivatives', None)
    return function if other is None else other()


def shift_branch(stage: Stage | Unit, amounts) -> Stage | Unit:
    """The stage with `amounts` (length, ...) moved from its branches to its skips.

    merge(skip(h) + a + g (branch(h) - a)): open gates change nothing, a closed one leaves a. Raises
    ValueError for a stage without skips.
    """
    if not stage.skippable:
        raise ValueError('a block without a skip has nothing that its mean could be moved to')
    if isinstance(stage, Unit):
        parts = zip(stage.kinds, stack_lib.by_kind(stage, amounts), strict=True)
        return Unit(tuple(shift_branch(kind, part) for kind, part in parts))
    merge = None if stage.merge is None else _Within(stack_lib.of_parameters(stage.merge))
    return dataclasses.replace(
        stage,
        params=(stage.params, amounts),
        branch=_Shifted(stage.branch, -1),
        skip=_Shifted(stage.skip, 1),
        merge=merge,
    )


def _nothing(params, h, *context):
    return h


@dataclasses.dataclass(frozen=True)
class _Shifted:
    """function(params, h) + sign * amount, of parameters (params, amount)."""

    function: Callable | None
    sign: int

    def __call__(self, params, h, *context):
        params, amount = params
        value = h if self.function is None else self.function(params, h, *context)
        return value + self.sign * amount

    def with_forward_derivatives(self):
        return dataclasses.replace(self, function=forward_form(self.function))


@dataclasses.dataclass(frozen=True)
class _Within:
    """function(params, total) of parameters (params, amount)."""

    function: Callable

    def __call__(self, params, total, *context):
        return self.function(params[0], total, *context)

    def with_forward_derivatives(self):
        return dataclasses.replace(self, function=forward_form(self.function))
