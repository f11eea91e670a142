"""Stacks from a model of ours and its variables, and from a list of hand-written functions."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from resnet_dyn.models import blocks, transformer
from resnet_dyn.models import stack as stack_lib
from resnet_dyn.models import stages as stages_lib

ResidualStack, Stage = stack_lib.ResidualStack, stack_lib.Stage

_FACTOR = 'factor'  # beside the collections of variables, one that no module reads


def from_model(
    model, variables, statistics: str = 'running', gradients: str | None = None
) -> ResidualStack:
    """The stack of one of our networks with these variables (one network, no seed axis).

    `model` is a `network.ResidualNetwork`, or a `transformer.Transformer`, for which the rest has
    no meaning. `statistics` are those of the norms: `running`, the averages of training; `batch`,
    those of exactly the inputs of each call, as one batch (so neither images nor masks may be
    chunked or folded into the batch axis; a batch of 1 raises).
    `gradients` overrides the convolutions' choice: what needs forward derivatives (`jax.jvp`)
    takes 'xla'. What is fixed of a branch's scale, and the rates of stochastic depth, are part of
    the branch.
    """
    if statistics not in ('running', 'batch'):
        raise ValueError(f'statistics={statistics!r} is neither running nor batch')
    if isinstance(model, transformer.Transformer):
        return stack_lib.on_device(model.stack(variables))
    train = statistics == 'batch'
    parts, factors, start = model.parts(gradients), model.branch_factors(), 0
    stages = []
    for i, (spec, block) in enumerate(zip(model.stages, parts.blocks, strict=True)):
        here = None if factors is None else factors[start : start + spec.length]
        stages.append(_stage(spec.length, block, train, _of(variables, f'stage_{i}'), here))
        start += spec.length
    stack = ResidualStack(
        stem_params=_of(variables, 'stem'),
        stages=tuple(stages),
        head_params=_of(variables, 'head'),
        stem=_Method(parts.stem, train),
        head=_Method(parts.head, train),
        min_batch=2 if train else 1,
        couples_examples=train,
    )
    return stack_lib.on_device(stack)


def from_functions(
    stem: Callable,
    branches: Sequence[Callable],
    head: Callable,
    skips: Sequence[Callable | None] | None = None,
    merge: Callable | None = None,
    *,
    params: Sequence[Any] | None = None,
    stem_params: Any = None,
    head_params: Any = None,
    couples_examples: bool = False,
    make_context: Callable | None = None,
    names: Sequence[str] | None = None,
    groups: Sequence[Sequence[int]] | None = None,
) -> ResidualStack:
    """A stack of hand-written functions of one batch each, a stage of length 1 for every block.

    Functions of h alone, or of parameters and h where parameters are given:

        from_functions(stem, branches, head)                       stem(x), branch(h), head(h)
        from_functions(stem, branches, head, params=[p_1, ...])    branch_l(p_l, h), skip_l(p_l, h)
        ... stem_params=p, head_params=q                           stem(p, x), head(q, h)

    Arrays that functions close over become constants of the compiled programs, and functions that
    are made anew for every network compile anew. Functions that are defined once, with parameters,
    compile once for all checkpoints and networks (more on functions that compare equal in
    `stack.Stage`, which also takes many blocks of one function at the price of one).

    Args:
      skips: one function, or None for the identity, a block; None: all are identities.
      merge: function of the sum skip + branch, or of a block's parameters and that sum; None: the
        identity.
      params: one tree of arrays a block.
      stem_params, head_params: trees of arrays.
      couples_examples: whether any function mixes the examples of a batch (statistics of the
        batch, contrasts between examples): then they are never cut into parts.
      make_context: inputs -> a tree led by B (a padding mask, positions), which every function
        takes as its last argument: branch_l(p_l, h, context), head(h, context), ...
      names: of the blocks, for tables and errors.
      groups: blocks that belong together, by number: whole layers.
    """
    L, own = len(branches), params is not None
    skips = [None] * L if skips is None else list(skips)
    params = list(params) if own else [()] * L
    for name, given in (('skips', skips), ('params', params), ('names', names)):
        if given is not None and len(given) != L:
            raise ValueError(f'{len(given)} {name} for {L} branches: give one a block')

    def taking(function, own):
        return function if own or function is None else _Closed(function)

    if merge is not None and not own and not stages_lib.takes_one(merge):
        merge = _Closed(merge)  # of the sum and the context
    stages = tuple(
        Stage(jax.tree.map(_one_row, tree), branch, 1, skip, merge)
        for tree, branch, skip in zip(
            params, [taking(f, own) for f in branches], [taking(f, own) for f in skips], strict=True
        )
    )
    return stack_lib.on_device(
        ResidualStack(
            () if stem_params is None else stem_params,
            stages,
            () if head_params is None else head_params,
            taking(stem, stem_params is not None),
            taking(head, head_params is not None),
            couples_examples=couples_examples,
            make_context=make_context,
            names=names,
            groups=groups,
        )
    )


def style(stack: ResidualStack) -> blocks.Style | None:
    """What all blocks of a network of ours have in common; None for a stack of other functions."""
    branch = stack.stages[0].kinds[0].branch if stack.stages else None
    branch = branch.branch if isinstance(branch, _Scaled) else branch
    return branch.module.style if isinstance(branch, _Method) else None


def has_factors(stack: ResidualStack) -> bool:
    """Whether branches of a network of ours are multiplied by what is fixed."""
    kinds = (kind for stage in stack.stages for kind in stage.kinds)
    return any(isinstance(kind.branch, _Scaled) for kind in kinds)


@dataclasses.dataclass(frozen=True)
class _Method:
    """A module's method as a function (variables, h): equal for equal modules, so jit caches."""

    module: Any
    train: bool
    method: str = '__call__'

    def __call__(self, variables, h):
        if not self.train:
            return self.module.apply(variables, h, False, method=self.method)
        return self.module.apply(variables, h, True, method=self.method, mutable=['batch_stats'])[0]

    def with_forward_derivatives(self):
        style = self.module.style._replace(gradients='xla')
        return dataclasses.replace(self, module=self.module.clone(style=style))


@dataclasses.dataclass(frozen=True)
class _Scaled:
    """A branch times the fixed factor that is among its block's parameters."""

    branch: _Method

    def __call__(self, params, h):
        return stack_lib.times(params[_FACTOR]['branch'], self.branch(params, h))

    def with_forward_derivatives(self):
        return dataclasses.replace(self, branch=self.branch.with_forward_derivatives())


@dataclasses.dataclass(frozen=True)
class _Closed:
    """A function of h alone as one of (params, h)."""

    function: Callable

    def __call__(self, params, h, *context):
        return self.function(h, *context)


def _stage(length: int, block, train: bool, params, factors_L) -> Stage:
    kind, identity = block.style.kind, block.shortcut == 'identity'
    branch = _Method(block, train, 'branch')
    if factors_L is not None:
        params, branch = {**params, _FACTOR: {'branch': factors_L}}, _Scaled(branch)
    return Stage(
        params=params,
        branch=branch,
        length=length,
        skip=_Method(block, train, 'skip') if kind.skippable and not identity else None,
        merge=kind.merge,
        skippable=kind.skippable,
    )


def _one_row(leaf):
    """A block's parameter as that of a stage of one block; NumPy's without a program."""
    return (leaf if isinstance(leaf, np.ndarray) else jnp.asarray(leaf))[None]


def _of(variables, name: str):
    return {collection: tree[name] for collection, tree in variables.items() if name in tree}
