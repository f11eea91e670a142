"""Blocks of a residual network: stages of equal ones, units that repeat, and what a block does.

    h_{l+1} = merge_l(skip_l(h_l) + g_l branch_l(h_l))

`stack` puts them between a stem and a head, and says what they are given.
"""

import dataclasses
import functools
import inspect
import itertools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from resnet_dyn import errors

_static = {'static': True}


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Stage:
    """`length` blocks that share their functions; `params` have a leading block axis.

    branch(params_l, h) -> f_l(h); skip(params_l, h) -> S_l(h), None for the identity;
    merge(params_l, total) -> h (the norm of a post-LN block), or merge(total) where the function
    takes one argument alone (a ReLU), None for the identity. Where `skippable` is False there is no
    skip: h_{l+1} = merge(g_l branch_l(h_l)). Where the stack makes a context, functions of
    parameters take it behind: branch(params_l, h, context).

    Programs are compiled for functions that compare equal: one that is defined once, not made
    anew for every checkpoint, compiles once. What differs between networks belongs into `params`;
    a function with settings of its own is a frozen dataclass that has `__call__`
    (`functools.partial` and lambdas compare equal to themselves alone).
    """

    params: Any
    branch: Callable = dataclasses.field(metadata=_static)
    length: int = dataclasses.field(metadata=_static)
    skip: Callable | None = dataclasses.field(default=None, metadata=_static)
    merge: Callable | None = dataclasses.field(default=None, metadata=_static)
    skippable: bool = dataclasses.field(default=True, metadata=_static)
    context: Any = None  # what `enter` puts here

    @property
    def kinds(self) -> tuple['Stage', ...]:
        """The stages of plain blocks that it is made of: itself."""
        return (self,)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Unit:
    """A unit of several blocks, repeated: attention, MLP, attention, MLP, ...

    `stages` are the kinds of its blocks, each a `Stage` of as many blocks as there are repeats,
    with parameters of its own form; blocks stand in turn, the first of each kind, the second of
    each, and so on. h keeps its shape. One scan over the repeats runs them.
    """

    stages: tuple[Stage, ...]

    @property
    def kinds(self) -> tuple[Stage, ...]:
        """The stages of plain blocks that it is made of, in their order within the unit."""
        lengths = [kind.length for kind in self.stages]
        if not lengths or len(set(lengths)) > 1:
            raise ValueError(
                f'the stages of a unit have lengths {lengths}: all repeat equally often, and there '
                'is at least one'
            )
        return self.stages

    @property
    def length(self) -> int:
        """The number of its blocks, over all repeats."""
        return sum(kind.length for kind in self.kinds)

    @property
    def skippable(self) -> bool:
        """Whether all of its blocks have skips."""
        return all(kind.skippable for kind in self.kinds)


def are_stages(stages) -> bool:
    """Whether there are stages, not what JAX puts in their place where it looks at forms alone."""
    if not isinstance(stages, tuple):
        return False
    kinds = [kind for s in stages for kind in (s.stages if isinstance(s, Unit) else (s,))]
    return all(isinstance(kind, Stage) for kind in kinds)


def called(L: int, names, groups) -> tuple[tuple[str, ...] | None, tuple | None]:
    """Names and groups of L blocks as a stack keeps them, groups in the order of their blocks."""
    if names is not None and len(names) != L:
        raise errors.UserError(f'{len(names)} names for L={L} blocks: give each block one')
    if groups is not None:
        groups = tuple(sorted(tuple(sorted(group)) for group in checked_groups(groups, L)))
    return names if names is None else tuple(names), groups


def checked_groups(groups: Sequence[Sequence[int]], L: int) -> tuple[tuple[int, ...], ...]:
    """Groups of L blocks, as they are given.

    Blocks may be in no group. Raises UserError for no group, one that is empty, a block that is not
    there, and one that is named twice.
    """
    try:
        found = tuple(tuple(operator.index(block) for block in group) for group in groups)
    except TypeError:
        found = ()
    blocks = list(itertools.chain.from_iterable(found))
    there = all(0 <= block < L for block in blocks) and len(set(blocks)) == len(blocks)
    if not (found and all(found) and there):
        raise errors.UserError(
            f'groups={groups!r} of L={L} blocks: expected lists of one block or more, by number, '
            f'each of 0..{L - 1} at most once; leave out blocks that belong to none'
        )
    return found


def block(stage: Stage, params, h, gate):
    """One block, merge(skip(h) + gate * branch(h)), from its own parameters (no block axis).

    The equation of every network: training and kernels both come through here.
    """
    return join(stage, params, *addends(stage, params, h, gate))


def addends(stage: Stage, params, h, gate):
    """What a block adds: (gate * branch(h), skip(h)), the latter None where there is no skip.

    Gate None is open, and multiplies nothing.
    """
    branch = branch_of(stage, params)(h)
    if gate is not None:
        branch = times(gate, branch)
    return branch, skip_of(stage, params)(h) if stage.skippable else None


def branch_of(stage: Stage, params) -> Callable:
    """h -> branch(h) of the block with these parameters."""
    return lambda h: stage.branch(params, h, *last_of(stage))


def skip_of(stage: Stage, params) -> Callable:
    """h -> skip(h) of the block with these parameters."""
    return lambda h: h if stage.skip is None else stage.skip(params, h, *last_of(stage))


def merge_of(stage: Stage, params) -> Callable:
    """total -> merge(total) of the block with these parameters."""
    if stage.merge is None:
        return lambda total: total
    merge = of_parameters(stage.merge)
    return lambda total: merge(params, total, *last_of(stage))


def times(factor, branch):
    """factor * branch, multiplied in float32 or above, in which slopes by factors are summed.

    The product has the branch's dtype.
    """
    wide = precise(branch)
    return (jnp.asarray(factor, wide.dtype) * wide).astype(branch.dtype)


def join(stage: Stage, params, branch, skip):
    """merge(skip + branch) of the two that `addends` gives."""
    return merge_of(stage, params)(add(branch, skip))


def add(branch, skip):
    """skip + branch, or the branch where there is no skip."""
    return branch if skip is None else skip + branch


def bypass(stage: Stage, params, h):
    """h past a deleted block, merge(skip(h)): what `block` gives at gate 0, nothing computed."""
    return join(stage, params, skip_of(stage, params)(h), None)


def block_params(stage: Stage, index):
    """The parameters of one block of a stage; the index may be traced."""
    return jax.tree.map(lambda a: a[index], stage.params)


def check_rows(stage: Stage | Unit) -> None:
    """ValueError where an array of the parameters is not led by the blocks of its stage."""
    for kind in stage.kinds:
        for path, leaf in jax.tree_util.tree_flatten_with_path(kind.params)[0]:
            if jnp.shape(leaf)[:1] != (kind.length,):
                name = 'params' + jax.tree_util.keystr(path)
                raise ValueError(
                    f'{name} of a stage of length={kind.length} has shape {jnp.shape(leaf)}: every '
                    'array of its parameters is led by its blocks, a row each; what all of them '
                    'share is repeated, or closed over'
                )


def over_kinds(stage: Stage | Unit, function: Callable[[Stage], Stage]) -> Stage | Unit:
    """The stage, or the unit whose every stage is, as `function` makes it anew."""
    if isinstance(stage, Unit):
        return dataclasses.replace(stage, stages=tuple(map(function, stage.kinds)))
    return function(stage)


def of_parameters(merge: Callable) -> Callable:
    """The merge as a function of (params, total, ...): itself, or that of the total alone."""
    return _OfTotal(merge) if takes_one(merge) else merge


def scan_stage(stage: Stage | Unit, body: Callable, h, xs, reverse: bool = False):
    """Carries h through a stage by body(kind, params_l, h, xs_l) -> (h, output); outputs stacked.

    `kind` is the stage of plain blocks that the block is of, `xs` the gates (length,), or any tree
    of arrays with a leading block axis. `reverse` goes from the stage's last block to its first;
    the outputs stand in the order of the blocks, and those of a unit's kinds have one form.
    """
    h, outputs = scan_kinds(stage, body, h, by_kind(stage, xs), reverse)
    return h, in_turn(outputs)


def by_kind(stage: Stage | Unit, xs) -> tuple:
    """A tree led by all blocks of a stage as a tuple of trees, each led by the blocks of a kind."""
    kinds = len(stage.kinds)
    return tuple(jax.tree.map(lambda a, k=k: a[k::kinds], xs) for k in range(kinds))


def in_turn(parts: tuple):
    """Trees led by the blocks of each kind as one led by all blocks, in their order."""
    if len(parts) == 1:
        return parts[0]

    def together(*arrays):
        return jnp.stack(arrays, 1).reshape(-1, *arrays[0].shape[1:])

    return jax.tree.map(together, *parts)


def scan_kinds(stage: Stage | Unit, body: Callable, h, xs: tuple, reverse: bool = False):
    """`scan_stage` with xs and outputs by kind: tuples of trees, each led by the kind's blocks."""
    kinds = stage.kinds
    places = list(range(len(kinds)))[:: -1 if reverse else 1]

    def unit(h, own):
        outputs, given = [None] * len(kinds), h
        for k in places:
            params, x = own[k]
            h, outputs[k] = body(kinds[k], params, h, x)
        if kinds[0].length > 1:
            _check_kept(given, h)
        return h, tuple(outputs)

    every = tuple((kind.params, x) for kind, x in zip(kinds, xs, strict=True))
    if kinds[0].length == 1:  # the shape of h may change, which a scan could not carry
        h, outputs = unit(h, jax.tree.map(lambda a: a[0], every))
        return h, jax.tree.map(lambda a: a[None], outputs)
    return lax.scan(unit, h, every, reverse=reverse)


def precise(x):
    """x in float32 or above, in which sums over many numbers are taken."""
    x = jnp.asarray(x)
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def array(leaf):
    """JAX's array of a leaf: `jnp.asarray`, which compiles a program for each shape of NumPy's.

    They are put on the device without one, as copies: what is done to them later stays with them.
    """
    host = type(leaf) is np.ndarray or isinstance(leaf, np.generic)
    return jax.device_put(np.array(leaf)) if host else jnp.asarray(leaf)


def stacked(trees: Sequence):
    """Trees of one form as one, every leaf led by them: one program, not one for each shape."""
    leaves, structures = zip(*map(jax.tree.flatten, trees), strict=True)
    return structures[0].unflatten(_stacked(list(zip(*leaves, strict=True))))


@jax.jit
def _stacked(columns: list) -> list:
    return [jnp.stack(column) for column in columns]


def last_of(part) -> tuple:
    """What functions take behind all else: the context, if there is one."""
    return () if part.context is None else (part.context,)


def _check_kept(before, after) -> None:
    """ValueError where what a loop carries changes its form from one turn to the next."""
    for one, other in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True):
        if (one.shape, one.dtype) != (other.shape, other.dtype):
            raise ValueError(
                f'h is {one.dtype}{list(one.shape)} before and {other.dtype}{list(other.shape)} '
                'behind blocks of one stage, which a loop runs: let them keep its shape and dtype '
                '(cast in the stem, or what a branch gives), or make each block a stage of length 1'
            )


@dataclasses.dataclass(frozen=True)
class _OfTotal:
    """A merge of the total alone as one of (params, total)."""

    function: Callable

    def __call__(self, params, total, *context):
        return self.function(total)

    def with_forward_derivatives(self):
        other = getattr(self.function, 'with_forward_derivatives', None)
        return self if other is None else dataclasses.replace(self, function=other())


@functools.cache
def takes_one(merge: Callable) -> bool:
    """Whether a merge takes one argument alone, by what it says of its parameters."""
    try:
        given = inspect.signature(merge).parameters.values()
    except (TypeError, ValueError):  # a built-in function, which does not say
        return True
    places = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(one.kind in places and one.default is one.empty for one in given) < 2
