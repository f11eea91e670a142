"""A stack of somebody else's Flax module, Linen or NNX, which is run as it stands.

    stem   = the module up to the call of its first block
    branch = block(h) - h, or what a module within the block gives;  skip = h, or the same
    head   = the module, the output of its last block replaced by h

What a block takes beside h is the same in each call, or made by the inputs alone: the context.

The parts of the module that a function does not need are not traced where they come after, and are
dead code that XLA removes where they come before. Neighbouring blocks that are written the same,
with variables of the same shapes, are one stage.
"""

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import nnx
from jax.extend import core

from resnet_dyn import errors
from resnet_dyn.models import foreign_check, foreign_survey, modules
from resnet_dyn.models import stack as stack_lib


def from_flax(
    module: nn.Module | nnx.Module,
    variables,
    blocks: Sequence[str],
    inputs,
    *,
    branch: str | Sequence[str] | None = None,
    skip: str | None = None,
    act: Callable | None = None,
    call: dict | None = None,
    couples_examples: bool | None = None,
    tolerance: float | None = None,
) -> stack_lib.ResidualStack:
    """The stack of a Linen or NNX module whose blocks are modules within it.

        from_flax(model, variables, ['layers_0', 'layers_1'], x)    Linen
        from_flax(model, None, ['layers.0', 'layers.1'], x)         NNX

    What comes before the first block is the stem, what comes after the last the head. A block takes
    h first and gives h; it is called once. Arrays that it takes beside h (masks, positions), and
    what the head takes of the inputs, are the stack's context, where inputs alone make them. Its
    branch is block(h) - h, whose last bits are lost where h is larger; better where there is one,
    name the module within the block whose output is the branch.

    That the stack's output equals the module's is checked on `inputs`, with the variables given and
    with others where those are constant, as zeros of an initialisation are.

    Args:
      variables: of Linen, all collections; None for NNX, whose module has its state.
      blocks: names of the block modules in their order, `encoder/layers_0` or `encoder.layers.0`.
      inputs: at least two examples of what the module takes: an array (B, ...); a tuple of them for
        several arguments, or a dict for arguments by name.
      branch: the module within every block, or a name a block, whose output is the branch.
      skip: the module within the block whose output is the skip, in the blocks that call it.
      act: what a block does to the sum: act(skip + branch).
      call: other arguments of the call, such as {'train': False}; for Linen also those of `apply`
        (method, mutable, rngs), for NNX `method`.
      couples_examples: whether an example's output depends on the others; None: tried on `inputs`.
      tolerance: of the check, relative to the largest output; None: 1e-5 in float32.

    Raises:
      UserError: a name is not there, or the module has not this form: which block, and why.
    """
    if branch is None and (skip is not None or act is not None):
        raise errors.UserError(
            'skip= and act= say what a block does with its branch: name that module by branch= too'
        )
    if not blocks or isinstance(blocks, str):
        raise errors.UserError(f'blocks={blocks!r}: give a list of the names of one or more blocks')
    inputs = stack_lib.arrays(inputs)
    root, tree = _runner(module, variables, dict(call or {}))
    try:
        plan = _plan(root, tree, list(blocks), inputs, branch, skip, act)
        if tolerance is None:
            tolerance = foreign_check.tolerance_for(plan.shapes)
        foreign_check.check(plan, tree, inputs, tolerance)
    except jax.errors.UnexpectedTracerError as error:
        raise errors.UserError(
            'blocks are called within nn.remat, nn.scan or another transformation, out of which no '
            'h can be taken: give the module without it (its variables are the same)'
        ) from error
    net = plan.assemble(tree)
    if couples_examples is None:
        couples_examples = foreign_check.couples(net, inputs, tolerance)
    return dataclasses.replace(net, couples_examples=couples_examples)


def needed(function: Callable, leaves: dict, *args) -> frozenset:
    """The names of the leaves on which function(leaves, *args) depends."""
    jaxpr = jax.make_jaxpr(function)(leaves, *args).jaxpr
    live = {v for v in jaxpr.outvars if isinstance(v, core.Var)}
    for eqn in reversed(jaxpr.eqns):
        if live & set(eqn.outvars):
            live |= {v for v in eqn.invars if isinstance(v, core.Var)}
    return frozenset(
        name for name, v in zip(sorted(leaves), jaxpr.invars, strict=False) if v in live
    )


@dataclasses.dataclass(frozen=True)
class Block:
    """What a block makes of h: its output, that less h, or the output of a part of it."""

    runner: modules.Linen | modules.Nnx
    form: modules.Form
    given: foreign_survey.Given
    part: str | None
    less_h: bool = False

    def __call__(self, params, h, context=None):
        tree, (args, kwargs) = self.form.whole(params), self.given.call(h, context)
        if self.part is None:
            output = self.runner.run(tree, args, kwargs)
            return output - h if self.less_h else output

        def hook(path, part, function, args, kwargs):
            output = function(*args, **kwargs)
            if path == self.part:
                raise modules.Reached(output)
            return output

        return modules.until_reached(self.runner, tree, args, kwargs, hook)


@dataclasses.dataclass(frozen=True)
class Stem:
    """The module up to the call of its first block."""

    runner: modules.Linen | modules.Nnx
    form: modules.Form
    first: str

    def __call__(self, params, inputs, context=None):
        def hook(path, part, function, args, kwargs):
            if path == self.first:
                raise modules.Reached(args[0])
            return function(*args, **kwargs)

        return modules.until_reached(
            self.runner, self.form.whole(params), *modules.arguments(inputs), hook
        )


@dataclasses.dataclass(frozen=True)
class Head:
    """The module, its blocks' outputs replaced: the last by h, the others, unused, by blanks.

    Its inputs are blanks too, but for those that its output depends on.
    """

    runner: modules.Linen | modules.Nnx
    form: modules.Form
    blanks: 'Blanks'
    takes_inputs: bool = False

    def __call__(self, params, h, context=None):
        inputs = context['inputs'] if self.takes_inputs else self.blanks.of_inputs(h.shape[0])
        last = self.blanks.paths[-1]

        def hook(path, part, function, args, kwargs):
            if path == last:
                return h
            return self.blanks.output(path, function, args, kwargs)

        return self.runner.run(self.form.whole(params), *modules.arguments(inputs), hook)


@dataclasses.dataclass(frozen=True)
class Context:
    """What the inputs alone make: the arrays that blocks are given, and what the head takes."""

    runner: modules.Linen | modules.Nnx
    form: modules.Form
    blanks: 'Blanks'
    sources: tuple[tuple[str, int, bool], ...]  # see foreign_survey
    takes_inputs: bool

    def __call__(self, inputs):
        B, found = stack_lib.examples(inputs), {}

        def hook(path, part, function, args, kwargs):
            if path in self.blanks.paths:
                values = jax.tree.leaves((args[1:], kwargs))
                for source in self.sources:
                    if source[0] == path:
                        found[source] = values[source[1]]
            if len(found) == len(self.sources):
                raise modules.Reached(None)
            return self.blanks.output(path, function, args, kwargs)

        if self.sources:
            tree = self.form.whole({})
            modules.until_reached(self.runner, tree, *modules.arguments(inputs), hook)
        given = [
            jnp.broadcast_to(found[source], (B, *found[source].shape))
            if source[2]
            else found[source]
            for source in self.sources
        ]
        return {'given': given} | ({'inputs': inputs} if self.takes_inputs else {})


@dataclasses.dataclass(frozen=True)
class Blanks:
    """What stands for outputs of blocks, and for inputs, on which nothing depends."""

    outputs: tuple[tuple[str, jax.ShapeDtypeStruct | None], ...]  # of one example; None: as h
    inputs: tuple[tuple[jax.ShapeDtypeStruct, ...], Any]  # of one example; their structure

    @property
    def paths(self) -> tuple[str, ...]:
        """The blocks."""
        return tuple(path for path, _ in self.outputs)

    def output(self, path: str, function: Callable, args, kwargs):
        """A block's, of the size of what it is given; of another module its own."""
        outputs = dict(self.outputs)
        if path not in outputs:
            return function(*args, **kwargs)
        if outputs[path] is None:
            return jnp.zeros_like(args[0])
        return _blank(args[0].shape[0], outputs[path])

    def of_inputs(self, B: int):
        """Those of B examples."""
        shapes, structure = self.inputs
        return structure.unflatten(_blank(B, shape) for shape in shapes)


class Plan(NamedTuple):
    """How a stack is made of a tree of variables."""

    root: modules.Linen | modules.Nnx
    form: modules.Form
    paths: tuple[str, ...]
    stem: Stem
    head: Head
    make_context: Context | None
    branches: tuple[Block, ...]
    skips: tuple[Block | None, ...]
    act: Callable | None
    shapes: tuple[tuple, ...]  # of h before and after each block
    needed: tuple[frozenset, ...]  # names of leaves: of stem, of each block, of head

    def assemble(self, tree) -> stack_lib.ResidualStack:
        """The stack with these variables."""
        leaves = modules.form_of(tree)[1]
        blocks = [modules.form_of(self.root.own(tree, path))[1] for path in self.paths]
        blocks = [_only(own, used) for own, used in zip(blocks, self.needed[1:-1], strict=True)]
        alike = list(zip(self.branches, self.skips, self.shapes, strict=True))
        stages, start = [], 0
        for _, group in itertools.groupby(range(len(alike)), lambda i: self._stage(alike, i)):
            length = len(list(group))
            params = jax.tree.map(lambda *a: jnp.stack(a), *blocks[start : start + length])
            branch, skip, _ = alike[start]
            stages.append(stack_lib.Stage(params, branch, length, skip, self.act))
            start += length
        return stack_lib.ResidualStack(
            _only(leaves, self.needed[0]),
            tuple(stages),
            _only(leaves, self.needed[-1]),
            self.stem,
            self.head,
            make_context=self.make_context,
            names=tuple(path.replace('/', '.') for path in self.paths),
        )

    @staticmethod
    def _stage(alike, i: int) -> int:
        """The first block of the stage that block i is in."""
        before, after = alike[i][2]
        while i and before == after and alike[i - 1] == alike[i]:
            i -= 1
        return i


def _runner(module, variables, options: dict):
    if isinstance(module, nn.Module):
        if variables is None:
            raise errors.UserError('variables=None: a Linen module has none of its own, give them')
        return modules.linen(module, variables, options)
    if not isinstance(module, nnx.Module):
        raise errors.UserError(
            f'module is a {type(module).__name__}: give a module of flax.linen or flax.nnx, or '
            'take stack.from_functions for functions'
        )
    if variables is not None:
        raise errors.UserError('an NNX module has its state within: give variables=None')
    return modules.nnx_module(module, options)


def _plan(root, tree, names, inputs, branch, skip, act) -> Plan:
    form, leaves = modules.form_of(tree)
    met, sources = foreign_survey.survey(root, tree, names, inputs)
    paths = tuple(block.path for block in met)
    parts = [branch] * len(met) if branch is None or isinstance(branch, str) else list(branch)
    if len(parts) != len(met):
        raise errors.UserError(f'branch= has {len(parts)} names for {len(met)} blocks')
    stem = Stem(root, form, paths[0])
    leaves_in, structure = jax.tree.flatten(inputs)
    outputs = tuple(
        (block.path, None if block.before == block.after else _example(block.after))
        for block in met
    )
    blanks = Blanks(outputs, (tuple(map(_example, leaves_in)), structure))
    head = Head(root, form, blanks, True)
    by_name = {f'{i:04}': leaf for i, leaf in enumerate(leaves_in)}

    def of_inputs(by_name, leaves, h):
        return head(leaves, h, {'inputs': structure.unflatten(by_name.values())})

    if not needed(of_inputs, by_name, leaves, met[-1].after):
        head = dataclasses.replace(head, takes_inputs=False)
    make_context, context = None, None
    if sources or head.takes_inputs:
        make_context = Context(root, form, blanks, sources, head.takes_inputs)
        context = jax.eval_shape(make_context, inputs)
    branches, skips, used = _functions(met, parts, skip, context)
    of_stem, of_head = needed(stem, leaves, inputs), needed(head, leaves, met[-1].after, context)
    if isinstance(root, modules.Nnx):  # the keys that a Linen module draws from are given to it
        foreign_survey.check_random('the module', form, of_stem | of_head)
    return Plan(
        root,
        form,
        paths,
        stem,
        head,
        make_context,
        branches,
        skips,
        act,
        tuple((block.before, block.after) for block in met),
        (of_stem, *used, of_head),
    )


def _functions(met, parts, skip, context):
    """Of every block its branch, its skip, and the leaves that they need; equal ones seen once."""
    found, branches, skips, used = {}, [], [], []
    for block, part in zip(met, parts, strict=True):
        whole = Block(block.runner, block.form, block.given, None, less_h=True)
        key = whole, part, block.before, block.after
        if key not in found:
            within = foreign_survey.parts(block, part, context)
            if part is not None:
                whole = dataclasses.replace(whole, part=part, less_h=False)
            bypass = dataclasses.replace(whole, part=skip) if skip in within else None
            foreign_survey.check_shapes(block, part, bypass is not None)

            def both(leaves, h, context, functions=(whole, bypass)):
                return [f(leaves, h, context) for f in functions if f is not None]

            used_here = needed(both, block.leaves, block.before, context)
            foreign_survey.check_random(f'block {block.path}', block.form, used_here)
            found[key] = whole, bypass, used_here
        for collected, value in zip((branches, skips, used), found[key], strict=True):
            collected.append(value)
    if skip is not None and not any(skips):
        raise errors.UserError(f'skip={skip!r}: no block calls a module of that name')
    return tuple(branches), tuple(skips), used


def _blank(B: int, shape: jax.ShapeDtypeStruct):
    return modules.blank(jax.ShapeDtypeStruct((B, *shape.shape), shape.dtype))


def _example(array) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(array.shape[1:], array.dtype)


def _only(leaves: dict, names) -> dict:
    return {name: leaf for name, leaf in leaves.items() if name in names}
