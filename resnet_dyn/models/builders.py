"""Stacks from a model of ours and its variables, and from a list of hand-written functions."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from resnet_dyn.models.stack import ResidualStack, Stage


def from_model(
    model, variables, statistics: str = 'running', gradients: str | None = None
) -> ResidualStack:
    """The stack of one of our networks with these variables (one network, no seed axis).

    `model` is a `network.ResidualNetwork`. `statistics` are those of the norms: `running`, the
    averages of training; `batch`, those of exactly the inputs of each call, as one batch (so
    neither images nor masks may be chunked or folded into the batch axis; a batch of 1 raises).
    `gradients` overrides the convolutions' choice: what needs forward derivatives (`jax.jvp`)
    takes 'xla'.
    """
    if statistics not in ('running', 'batch'):
        raise ValueError(f'statistics={statistics!r} is neither running nor batch')
    train = statistics == 'batch'
    parts = model.parts(gradients)
    stages = tuple(
        _stage(spec.length, block, train, _of(variables, f'stage_{i}'))
        for i, (spec, block) in enumerate(zip(model.stages, parts.blocks, strict=True))
    )
    return ResidualStack(
        stem_params=_of(variables, 'stem'),
        stages=stages,
        head_params=_of(variables, 'head'),
        stem=_Method(parts.stem, train),
        head=_Method(parts.head, train),
        min_batch=2 if train else 1,
    )


def from_functions(
    stem: Callable,
    branches: Sequence[Callable],
    head: Callable,
    skips: Sequence[Callable | None] | None = None,
    merge: Callable | None = None,
) -> ResidualStack:
    """A stack of hand-written functions of one batch each, a stage of length 1 for every block.

    `skips` has one function, or None for the identity, a block; None: all are identities.
    Arrays that the functions close over become constants of a compiled program: for large
    networks give `Stage`s with parameters instead.
    """
    skips = [None] * len(branches) if skips is None else list(skips)
    if len(skips) != len(branches):
        raise ValueError(f'{len(skips)} skips for {len(branches)} branches: give one a block')
    stages = tuple(
        Stage((), _Closed(branch), 1, None if skip is None else _Closed(skip), merge)
        for branch, skip in zip(branches, skips, strict=True)
    )
    return ResidualStack((), stages, (), _Closed(stem), _Closed(head))


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
class _Closed:
    """A function of h alone as one of (params, h)."""

    function: Callable

    def __call__(self, params, h):
        return self.function(h)


def _stage(length: int, block, train: bool, params) -> Stage:
    kind, identity = block.style.kind, block.shortcut == 'identity'
    return Stage(
        params=params,
        branch=_Method(block, train, 'branch'),
        length=length,
        skip=_Method(block, train, 'skip') if kind.skippable and not identity else None,
        merge=kind.merge,
        skippable=kind.skippable,
    )


def _of(variables, name: str):
    return {collection: tree[name] for collection, tree in variables.items() if name in tree}
