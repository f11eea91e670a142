"""What calls what in a Flax module: its blocks found by their names, or the reason why not."""

import dataclasses
import difflib
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import flax
import jax
import numpy as np
from jax.extend import core

from resnet_dyn import errors
from resnet_dyn.models import likeness, modules

_LISTED = 30  # names in a message


@dataclasses.dataclass(frozen=True)
class Shared:
    """An array that blocks are called with: one of the context, of its first row if a constant."""

    index: int
    constant: bool


@dataclasses.dataclass(frozen=True)
class Given:
    """What a block is called with beside h: values, and arrays of the context."""

    values: tuple = dataclasses.field(compare=False)
    structure: Any = dataclasses.field(compare=False, repr=False)
    like: likeness.Likeness = dataclasses.field(repr=False)

    def call(self, h, context) -> tuple[tuple, dict]:
        """The arguments of the block's call."""

        def value(given):
            if not isinstance(given, Shared):
                return given
            array = context['given'][given.index]
            return array[0] if given.constant else array

        args, kwargs = self.structure.unflatten(map(value, self.values))
        return (h, *args), kwargs


class Met(NamedTuple):
    """A block as it was met in a run of the whole module."""

    path: str
    runner: modules.Linen | modules.Nnx
    form: modules.Form
    leaves: dict
    given: Any  # at the end a Given
    before: jax.ShapeDtypeStruct  # h as it came in
    after: jax.ShapeDtypeStruct


def survey(root, tree, names: Sequence[str], inputs) -> tuple[list[Met], tuple]:
    """The blocks of these names, in their order, and the arrays that they are given beside h.

    An array is (block, place among what it is given, whether it is the same for all inputs).
    UserError where the modules of these names are no chain of blocks.
    """
    wanted = [name.replace('.', '/') for name in names]
    called, met, inside, shared = [], [], [], []

    def hook(path, bound, function, args, kwargs):
        called.append(path)
        if path not in wanted:
            return function(*args, **kwargs)
        if inside:
            raise errors.UserError(
                f'block {path} is called within block {inside[-1]}: name the one or the other'
            )
        if not args or not isinstance(args[0], jax.Array):
            what = _kind(args[0]) if args else 'nothing by place'
            raise errors.UserError(
                f'block {path} is given {what}: a block takes h, one array, first'
            )
        inside.append(path)
        output = function(*args, **kwargs)
        inside.pop()
        if not isinstance(output, jax.Array):
            raise errors.UserError(
                f'block {path} gives {_kind(output)}: a block gives h, one array, alone. Name '
                'modules that do, or write the stack by stack.from_functions'
            )
        values, structure = jax.tree.flatten((args[1:], kwargs))
        runner, own = root.part(tree, path, bound)
        form, leaves = modules.form_of(own)
        before, after = (jax.ShapeDtypeStruct(a.shape, a.dtype) for a in (args[0], output))
        given = _places(path, values, shared), structure
        met.append(Met(path, runner, form, leaves, given, before, after))
        return output

    def run(tree, inputs):
        args, kwargs = modules.arguments(inputs)
        final = root.run(tree, args, kwargs, hook)
        return [array for _, _, array in shared], final

    jaxpr, (_, final) = jax.make_jaxpr(run, return_shape=True)(tree, inputs)
    _check_names(names, wanted, called)
    B = _check_batch(inputs, met, final)
    sources = _sources(jaxpr.jaxpr, shared, len(jax.tree.leaves(tree)), B)
    return [block._replace(given=_given(*block.given, sources)) for block in met], sources


def parts(block: Met, branch: str | None, context) -> set[str]:
    """The modules that a block calls; UserError where the branch's is not there, or not once."""
    called = []

    def hook(path, bound, function, args, kwargs):
        called.append(path)
        return function(*args, **kwargs)

    def run(leaves, h, context):
        return block.runner.run(block.form.whole(leaves), *block.given.call(h, context), hook)

    try:
        jax.eval_shape(run, block.leaves, block.before, context)
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
    if has_skip or block.before.shape == block.after.shape:
        return
    remedy = 'the module of its projection by skip=' if branch else 'by branch= and skip= those'
    raise errors.UserError(
        f'block {block.path} takes h of {_shape(block.before)} and gives {_shape(block.after)}, so '
        f'that its skip is not h itself: name {remedy} within it whose outputs are added'
    )


def check_random(what: str, form: modules.Form, used):
    """UserError where keys of random numbers are among the leaves that are used."""
    if drawn := sorted(set(form.keys) & set(used)):
        raise errors.UserError(
            f'{what} draws random numbers, from {drawn[0]}: turn dropout off, as by model.eval()'
        )


def _places(path: str, values, shared: list) -> list:
    """The values, each array replaced by its place among the shared ones, to which it is added."""
    places = []
    for i, value in enumerate(values):
        if isinstance(value, jax.Array):
            known = [k for k, (_, _, array) in enumerate(shared) if array is value]
            if not known:
                shared.append((path, i, value))
            value = Shared(known[0] if known else len(shared) - 1, False)
        places.append(value)
    return places


def _given(places, structure, sources) -> Given:
    values = tuple(
        dataclasses.replace(v, constant=sources[v.index][2]) if isinstance(v, Shared) else v
        for v in places
    )
    return Given(values, structure, likeness.of((values, structure)))


def _sources(jaxpr, shared, variables: int, B: int) -> tuple:
    """(block, place, whether constant) of each array; UserError where the inputs do not make it."""
    of_variables = reached(jaxpr, jaxpr.invars[:variables])
    of_inputs = reached(jaxpr, jaxpr.invars[variables:])
    sources = []
    for (path, place, array), var in zip(shared, jaxpr.outvars, strict=False):
        what = f'block {path} takes {_shape(array)} beside h, which'
        if var in of_variables:
            raise errors.UserError(
                f'{what} is made of variables of the module or of h: a block is a function of its '
                'own variables, h, and what the inputs alone make (masks, positions)'
            )
        constant = var not in of_inputs
        if not constant and array.shape[:1] != (B,):
            raise errors.UserError(
                f'{what} is made of the inputs and not led by its {B} examples: give them in front'
            )
        sources.append((path, place, constant))
    return tuple(sources)


def reached(jaxpr, start) -> set:
    """The variables of a program that depend on those given, as far as its top level tells."""
    found = set(start)
    for eqn in jaxpr.eqns:
        if any(isinstance(v, core.Var) and v in found for v in eqn.invars):
            found |= set(eqn.outvars)
    return found


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


def _check_batch(inputs, met, final) -> int:
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
    return B


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
