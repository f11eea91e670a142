"""Stacks made of stacks: other stages, no stem, the derivatives of another form, means moved.

Each keeps the protocol of `stack`: what comes out passes through every kernel.
"""

import dataclasses
from collections.abc import Callable, Sequence

from resnet_dyn.models import stack as stack_lib

ResidualStack, Stage = stack_lib.ResidualStack, stack_lib.Stage


def with_stages(stack: ResidualStack, stages: Sequence[Stage]) -> ResidualStack:
    """The stack with other stages between its stem and its head."""
    return dataclasses.replace(stack, stages=tuple(stages))


def headless(stack: ResidualStack) -> ResidualStack:
    """The stack with nothing but its head: what programs that end a pass are given."""
    return dataclasses.replace(stack, stem_params=(), stages=())


def without_stem(stack: ResidualStack) -> ResidualStack:
    """The stack that takes h_0 for its input."""
    return dataclasses.replace(stack, stem_params=(), stem=_nothing, min_batch=1)


def with_forward_derivatives(stack: ResidualStack) -> ResidualStack:
    """The stack with functions that `jax.jvp` passes through; same numbers.

    A function that has another form for it says so by a method `with_forward_derivatives()`, as
    our layers do; every other is left as it is.
    """
    stages = [
        dataclasses.replace(
            stage,
            branch=forward_form(stage.branch),
            skip=forward_form(stage.skip),
            merge=forward_form(stage.merge),
        )
        for stage in stack.stages
    ]
    return dataclasses.replace(
        with_stages(stack, stages), stem=forward_form(stack.stem), head=forward_form(stack.head)
    )


def forward_form(function: Callable | None) -> Callable | None:
    """The form of one function that has forward derivatives, by default itself."""
    other = getattr(function, 'with_forward_derivatives', None)
    return function if other is None else other()


def shift_branch(stage: Stage, amounts) -> Stage:
    """The stage with `amounts` (length, ...) moved from its branches to its skips.

    merge(skip(h) + a + g (branch(h) - a)): open gates change nothing, a closed one leaves a. Raises
    ValueError for a stage without skips.
    """
    if not stage.skippable:
        raise ValueError('a block without a skip has nothing that its mean could be moved to')
    return dataclasses.replace(
        stage,
        params=(stage.params, amounts),
        branch=_Shifted(stage.branch, -1),
        skip=_Shifted(stage.skip, 1),
    )


def _nothing(params, h):
    return h


@dataclasses.dataclass(frozen=True)
class _Shifted:
    """function(params, h) + sign * amount, of parameters (params, amount)."""

    function: Callable | None
    sign: int

    def __call__(self, params, h):
        params, amount = params
        return (h if self.function is None else self.function(params, h)) + self.sign * amount

    def with_forward_derivatives(self):
        return dataclasses.replace(self, function=forward_form(self.function))
