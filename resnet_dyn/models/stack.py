"""A residual network as kernels see it: a stem, stages of equal blocks and a head.

    h_0     = stem(x)
    h_{l+1} = merge(skip_l(h_l) + g_l branch_l(h_l))
    logits  = head(h_L)

Anything of this form can be one: a Flax net of ours (`from_model`), a list of hand-written
functions (`from_functions`), or stages given as one function and stacked parameters (`Stage`).
A `ResidualStack` is a pytree: it passes through jit, vmap over stacked parameters and grad.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from resnet_dyn.models import network

_static = {'static': True}


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Stage:
    """`length` blocks that share their functions; `params` have a leading block axis.

    branch(params_l, h) -> f_l(h); skip(params_l, h) -> S_l(h), None for the identity;
    merge(total) -> h, None for the identity. Where `skippable` is False there is no skip:
    h_{l+1} = merge(g_l branch_l(h_l)).
    """

    params: Any
    branch: Callable = dataclasses.field(metadata=_static)
    length: int = dataclasses.field(metadata=_static)
    skip: Callable | None = dataclasses.field(default=None, metadata=_static)
    merge: Callable | None = dataclasses.field(default=None, metadata=_static)
    skippable: bool = dataclasses.field(default=True, metadata=_static)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ResidualStack:
    """stem(stem_params, x) -> h_0, a tuple of `Stage`s, head(head_params, h_L) -> logits."""

    stem_params: Any
    stages: tuple[Stage, ...]
    head_params: Any
    stem: Callable = dataclasses.field(metadata=_static)
    head: Callable = dataclasses.field(metadata=_static)
    min_batch: int = dataclasses.field(default=1, metadata=_static)

    @property
    def num_blocks(self) -> int:
        """L, the number of blocks, numbered 0..L-1 from the input."""
        return num_blocks(self)


class Moments(NamedTuple):
    """Mean squares of what is added at each block, over examples and units."""

    branch: jax.Array  # (L,) of g_l branch_l(h_l)
    skip: jax.Array  # (L,) of skip_l(h_l); 0 where there is no skip


def num_blocks(stack: ResidualStack) -> int:
    """L, the number of blocks of a stack."""
    return sum(stage.length for stage in stack.stages)


def from_model(
    model: network.ResidualNetwork,
    variables,
    statistics: str = 'running',
    gradients: str | None = None,
) -> ResidualStack:
    """The stack of one of our networks with these variables (one network, no seed axis).

    `statistics` are those of the norms: `running`, the averages of training; `batch`, those of
    exactly the inputs of each call, as one batch (so neither images nor masks may be chunked or
    folded into the batch axis; a batch of 1 raises). `gradients` overrides the convolutions'
    choice: what needs forward derivatives (`jax.jvp`) takes 'xla'.
    """
    if statistics not in ('running', 'batch'):
        raise ValueError(f'statistics={statistics!r} is neither running nor batch')
    style = model.style if gradients is None else model.style._replace(gradients=gradients)
    train = statistics == 'batch'
    stages = tuple(
        _stage(spec, style, train, _part(variables, f'stage_{i}'))
        for i, spec in enumerate(model.stages)
    )
    return ResidualStack(
        stem_params=_part(variables, 'stem'),
        stages=stages,
        head_params=_part(variables, 'head'),
        stem=_Apply(network.Stem(model.stem_layer, style, model.pool), train),
        head=_Apply(network.Head(model.classes, style), train),
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


def apply(stack: ResidualStack, x, gates):
    """The head's output for inputs x (B, ...) under gates (L,), one for each block, 1 keeps.

    Pure: jit, vmap over gates or over stacked parameters, and grad with respect to gates work.
    Raises ValueError where gates are not of shape (L,), and for a batch of 1 where the norms take
    the statistics of the batch.
    """
    gates = check_gates(stack, gates)
    h = stem(stack, x)
    for stage, part in zip(stack.stages, split(stack, gates), strict=True):
        h, _ = scan_stage(stage, lambda p, h, g, s=stage: (block(s, p, h, g), None), h, part)
    return head(stack, h)


def over_seeds(stacks: Sequence[ResidualStack]) -> ResidualStack:
    """S networks of one model as one stack, whose h and outputs are led by an axis S.

    Every function is mapped over the S sets of parameters by vmap; they share the inputs x and the
    gates. Raises ValueError where the stacks are not of one model.
    """
    if not stacks:
        raise ValueError('no stacks: give one a network')
    first, *others = stacks
    if any(jax.tree.structure(other) != jax.tree.structure(first) for other in others):
        raise ValueError('the stacks are not of one model: their blocks or functions differ')
    together = jax.tree.map(lambda *leaves: jnp.stack(leaves), *stacks)
    mapped = functools.partial(_Mapped, seeds=len(stacks))
    stages = [
        dataclasses.replace(
            stage,
            params=jax.tree.map(lambda a: jnp.swapaxes(a, 0, 1), stage.params),
            branch=mapped(stage.branch),
            skip=None if stage.skip is None else mapped(stage.skip),
        )
        for stage in together.stages
    ]
    return dataclasses.replace(
        with_stages(together, stages),
        stem=mapped(first.stem, shared=True),
        head=mapped(first.head),
    )


def with_forward_derivatives(stack: ResidualStack) -> ResidualStack:
    """The stack with our layers in their `xla` form, which `jax.jvp` passes through; same numbers.

    Functions that are not ours are left as they are.
    """
    stages = [
        dataclasses.replace(stage, branch=_in_xla_form(stage.branch), skip=_in_xla_form(stage.skip))
        for stage in stack.stages
    ]
    return dataclasses.replace(
        with_stages(stack, stages), stem=_in_xla_form(stack.stem), head=_in_xla_form(stack.head)
    )


def with_stages(stack: ResidualStack, stages: Sequence[Stage]) -> ResidualStack:
    """The stack with other stages between its stem and its head."""
    return dataclasses.replace(stack, stages=tuple(stages))


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


def stem(stack: ResidualStack, x):
    """h_0, the first block's input."""
    if not x.shape[0]:
        raise ValueError('a batch of 0 examples: give at least one')
    if x.shape[0] < stack.min_batch:
        raise ValueError(
            f"a batch of {x.shape[0]} has no statistics of its own: statistics='batch' needs at "
            'least 2 examples; give more, or take the running statistics'
        )
    return stack.stem(stack.stem_params, x)


def head(stack: ResidualStack, h):
    """The head's output from h_L."""
    return stack.head(stack.head_params, h)


def scalar_loss(stack: ResidualStack, h, loss: Callable):
    """loss(head(h_L)); ValueError where that is not one number."""
    value = jnp.asarray(loss(head(stack, h)))
    if value.shape:
        raise ValueError(
            f'loss gives shape {value.shape}: it must give a scalar. A loss must be one number, '
            'such as the sum or the mean over the examples'
        )
    return value


def block(stage: Stage, params, h, gate):
    """One block, merge(skip(h) + gate * branch(h)), from its own parameters (no block axis)."""
    return join(stage, *addends(stage, params, h, gate))


def addends(stage: Stage, params, h, gate):
    """What a block adds: (gate * branch(h), skip(h)), the latter None where there is no skip."""
    branch = stage.branch(params, h)
    branch = jnp.asarray(gate, branch.dtype) * branch
    if not stage.skippable:
        return branch, None
    return branch, h if stage.skip is None else stage.skip(params, h)


def join(stage: Stage, branch, skip):
    """merge(skip + branch) of the two that `addends` gives."""
    total = branch if skip is None else skip + branch
    return total if stage.merge is None else stage.merge(total)


def bypass(stage: Stage, params, h):
    """h past a deleted block, merge(skip(h)): what `block` gives at gate 0, nothing computed."""
    return join(stage, h if stage.skip is None else stage.skip(params, h), None)


def block_params(stage: Stage, index):
    """The parameters of one block of a stage; the index may be traced."""
    return jax.tree.map(lambda a: a[index], stage.params)


def locate(stack: ResidualStack) -> list[tuple[int, int]]:
    """For each block its stage's index and its own within that stage."""
    return [(s, i) for s, stage in enumerate(stack.stages) for i in range(stage.length)]


def headless(stack: ResidualStack) -> ResidualStack:
    """The stack with nothing but its head: what programs that end a pass are given."""
    return dataclasses.replace(stack, stem_params=(), stages=())


def without_stem(stack: ResidualStack) -> ResidualStack:
    """The stack that takes h_0 for its input."""
    return dataclasses.replace(stack, stem_params=(), stem=_nothing, min_batch=1)


def shapes(stack: ResidualStack, x) -> tuple[list, list]:
    """Shape and dtype of each block's input, and of each block's output; nothing is computed."""
    h, before, after = jax.eval_shape(stem, stack, x), [], []
    for stage in stack.stages:
        params = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), stage.params)
        out = jax.eval_shape(lambda p, h, s=stage: block(s, p, h, 1.0), params, h)
        before += [h] + [out] * (stage.length - 1)
        after += [out] * stage.length
        h = out
    return before, after


def second_moments(stack: ResidualStack, x, gates=None) -> Moments:
    """The mean squares that each block adds, by branch and by skip, for inputs x (B, ...).

    branch / skip is the power gain b_l^2 of the virtual ensemble's depth law
    (`theory.path_weights.log_path_weights_from_gains`).
    """
    gates = check_gates(stack, jnp.ones(num_blocks(stack)) if gates is None else gates)

    def body(stage, params, h, gate):
        branch, skip = addends(stage, params, h, gate)
        square = jnp.zeros((), branch.dtype) if skip is None else (skip**2).mean()
        return join(stage, branch, skip), ((branch**2).mean(), square)

    h, moments = stem(stack, x), []
    for stage, part in zip(stack.stages, split(stack, gates), strict=True):
        h, here = scan_stage(stage, lambda p, h, g, s=stage: body(s, p, h, g), h, part)
        moments.append(here)
    branch, skip = (jnp.concatenate(parts) for parts in zip(*moments, strict=True))
    return Moments(branch, skip)


def scan_stage(stage: Stage, body: Callable, h, xs, reverse: bool = False):
    """Carries h through a stage by body(params_l, h, xs_l) -> (h, output); outputs stacked.

    `xs` are the gates (length,), or any tree of arrays with a leading block axis. `reverse` goes
    from the stage's last block to its first; the outputs stand in the order of the blocks.
    """
    if stage.length == 1:  # the shape of h may change, which a scan could not carry
        params, x = jax.tree.map(lambda a: a[0], (stage.params, xs))
        h, output = body(params, h, x)
        return h, jax.tree.map(lambda a: a[None], output)
    return lax.scan(lambda h, x: body(x[0], h, x[1]), h, (stage.params, xs), reverse=reverse)


def split(stack: ResidualStack, gates) -> list:
    """Gates (L,) cut into those of each stage."""
    ends = [0]
    for stage in stack.stages:
        ends.append(ends[-1] + stage.length)
    return [gates[a:b] for a, b in itertools.pairwise(ends)]


def check_gates(stack: ResidualStack, gates):
    """Gates as an array of shape (L,), else ValueError."""
    gates = jnp.asarray(gates)
    if gates.shape != (num_blocks(stack),):
        raise ValueError(
            f'gates have shape {gates.shape}, and this stack has L={num_blocks(stack)} blocks: '
            'give one gate a block (masks of shape (M, L) go to kernels.lesions.score)'
        )
    return gates


def _nothing(params, h):
    return h


@dataclasses.dataclass(frozen=True)
class _Apply:
    """A module's method as a function (variables, h): equal for equal modules, so jit caches."""

    module: Any
    train: bool
    method: str = '__call__'

    def __call__(self, variables, h):
        if not self.train:
            return self.module.apply(variables, h, False, method=self.method)
        return self.module.apply(variables, h, True, method=self.method, mutable=['batch_stats'])[0]


@dataclasses.dataclass(frozen=True)
class _Merge:
    module: Any

    def __call__(self, total):
        return self.module.apply({}, total, method='merge')


@dataclasses.dataclass(frozen=True)
class _Closed:
    function: Callable

    def __call__(self, params, h):
        return self.function(h)


@dataclasses.dataclass(frozen=True)
class _Mapped:
    """A function of (params, h) over S of both; of one h for all where it is shared."""

    function: Callable
    seeds: int
    shared: bool = False

    def __call__(self, params_S, h):
        axes = (0, None if self.shared else 0)
        return jax.vmap(self.function, axes, axis_size=self.seeds)(params_S, h)


@dataclasses.dataclass(frozen=True)
class _Shifted:
    function: Callable | None
    sign: int

    def __call__(self, params, h):
        params, amount = params
        return (h if self.function is None else self.function(params, h)) + self.sign * amount


def _in_xla_form(function):
    if isinstance(function, _Apply):
        style = function.module.style._replace(gradients='xla')
        return dataclasses.replace(function, module=function.module.clone(style=style))
    if isinstance(function, _Mapped | _Shifted):
        return dataclasses.replace(function, function=_in_xla_form(function.function))
    return function


def _stage(spec: network.StageSpec, style, train: bool, params) -> Stage:
    module = network.block(spec, style)
    plain, identity = style.block == 'plain', spec.shortcut == 'identity'
    return Stage(
        params=params,
        branch=_Apply(module, train, 'branch'),
        length=spec.length,
        skip=None if plain or identity else _Apply(module, train, 'skip'),
        merge=_Merge(module) if style.block in ('postact', 'plain') else None,
        skippable=not plain,
    )


def _part(variables, name: str):
    return {collection: tree[name] for collection, tree in variables.items() if name in tree}
