"""What calls what in a Flax module: its blocks found by their names, or the reason why not."""

import dataclasses
import difflib
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import flax
import jax
import numpy as np

from resnet_dyn import errors
from resnet_dyn.models import likeness, modules

_LISTED = 30  # names in a message


@dataclasses.dataclass(frozen=True)
class Given:
    """What a block is called with beside h."""

    args: tuple = dataclasses.field(compare=False)
    kwargs: dict = dataclasses.field(compare=False)
    like: likeness.Likeness = dataclasses.field(repr=False)


class Met(NamedTuple):
    """A block as it was met in a run of the whole module."""

    path: str
    runner: modules.Linen | modules.Nnx
    form: modules.Form
    leaves: dict
    given: Given
    before: jax.ShapeDtypeStruct  # h as it came in
    after: jax.ShapeDtypeStruct


def survey(root, tree, names: Sequence[str], inputs) -> list[Met]:
    """The blocks of these names, in their order; UserError where they are no chain of blocks."""
    wanted = [name.replace('.', '/') for name in names]
    called, met, inside = [], [], []

    def hook(path, bound, function, args, kwargs):
        called.append(path)
        if path not in wanted:
            return function(*args, **kwargs)
        if inside:
            raise errors.UserError(
                f'block {path} is called within block {inside[-1]}: name the one or the other'
            )
        given = _given(path, args, kwargs)
        inside.append(path)
        output = function(*args, **kwargs)
        inside.pop()
        if not isinstance(output, jax.Array):
            raise errors.UserError(
                f'block {path} gives {_kind(output)}: a block gives h, one array, alone. Name '
                'modules that do, or write the stack by stack.from_functions'
            )
        runner, own = root.part(tree, path, bound)
        form, leaves = modules.form_of(own)
        before, after = (jax.ShapeDtypeStruct(a.shape, a.dtype) for a in (args[0], output))
        met.append(Met(path, runner, form, leaves, given, before, after))
        return output

    args, kwargs = modules.arguments(inputs)
    final = jax.eval_shape(lambda t, a, k: root.run(t, a, k, hook), tree, args, kwargs)
    _check_names(names, wanted, called)
    _check_batch(inputs, met, final)
    return met


def parts(block: Met, branch: str | None) -> set[str]:
    """The modules that a block calls; UserError where the branch's is not there, or not once."""
    called = []

    def hook(path, bound, function, args, kwargs):
        called.append(path)
        return function(*args, **kwargs)

    def run(leaves, h):
        tree = block.form.whole(leaves)
        return block.runner.run(tree, (h, *block.given.args), block.given.kwargs, hook)

    try:
        jax.eval_shape(run, block.leaves, block.before)
    except flax.errors.FlaxError as error:
        raise errors.UserError(
            f'block {block.path} cannot be run by itself ({errors.reason(error)}). A block has its '
            'own variables, shares none with modules outside of it, and draws no random numbers: '
            "turn dropout off, as by call={'train': False}"
        ) from error
    counts = Counter(called)
    if branch is not None and counts[branch] != 1:
        what = f'is called {counts[branch]} times' if counts[branch] else 'is not called'
        raise errors.UserError(
            f'branch={branch!r} {what} in block {block.path}{_nearest(branch, counts)}'
        )
    return set(called)


def check_shapes(block: Met, branch: str | None, has_skip: bool):
    """UserError for a block that changes h's shape and has no skip that does."""
    if has_skip or block.before == block.after:
        return
    remedy = 'the module of its projection by skip=' if branch else 'by branch= and skip= those'
    raise errors.UserError(
        f'block {block.path} takes h of {_shape(block.before)} and gives {_shape(block.after)}, so '
        f'that its skip is not h itself: name {remedy} within it whose outputs are added'
    )


def _given(path: str, args: tuple, kwargs: dict) -> Given:
    if not args or not isinstance(args[0], jax.Array):
        what = _kind(args[0]) if args else 'nothing by place'
        raise errors.UserError(f'block {path} is given {what}: a block takes h, one array, first')
    args = args[1:]
    arrays = [a for a in jax.tree.leaves((args, kwargs)) if isinstance(a, jax.Array)]
    if arrays:
        raise errors.UserError(
            f'block {path} takes more than h: {", ".join(map(_shape, arrays))} beside it. A block '
            'is a function of its variables and h; call the module without'
        )
    return Given(args, kwargs, likeness.of((args, kwargs)))


def _check_names(names, wanted, called):
    counts = Counter(called)
    for name, path in zip(names, wanted, strict=True):
        if not counts[path]:
            raise errors.UserError(
                f'no module {name!r} is called{_nearest(path, counts)} (what is called within '
                'nn.jit, nn.remat and scans is not seen)'
            )
        if counts[path] > 1 or wanted.count(path) > 1:
            raise errors.UserError(
                f'block {name} is called {counts[path]} times, and named {wanted.count(path)}: '
                'a block is called once and named once'
            )
    order = [path for path in called if path in wanted]
    if order != wanted:
        raise errors.UserError(
            f'blocks={list(names)} are called in another order: give them as {order}'
        )


def _check_batch(inputs, met, final):
    leaves = jax.tree.leaves(inputs)
    sizes = {np.shape(a)[:1] for a in leaves}
    if len(sizes) != 1 or sizes == {()}:
        raise errors.UserError('inputs are arrays that have the examples in front, all as many')
    ((B,),) = sizes
    if B < 2:
        raise errors.UserError('inputs are one example: give two or more, which tell more')
    for what, array in [(f'block {b.path}', b.before) for b in met] + [
        ('the module', a) for a in jax.tree.leaves(final)
    ]:
        if array.shape[:1] != (B,):
            raise errors.UserError(
                f'{what} has {_shape(array)} for {B} examples: they must be its first axis'
            )


def _nearest(name: str, counts) -> str:
    there = sorted(counts, key=lambda path: (path.count('/'), path))
    close = difflib.get_close_matches(name, there, 1, 0.5)
    listed = ', '.join(there[:_LISTED]) + (', ...' if len(there) > _LISTED else '')
    return (f'. Did you mean {close[0]}?' if close else '.') + f' Called are: {listed or "none"}'


def _shape(array) -> str:
    return f'{array.dtype}{list(array.shape)}'


def _kind(value) -> str:
    return (
        f'{type(value).__name__} of {len(value)}'
        if isinstance(value, tuple | list)
        else (f'a {type(value).__name__}')
    )
