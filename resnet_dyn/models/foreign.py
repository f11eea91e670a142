"""A stack of somebody else's Flax module, Linen or NNX, which is run as it stands.

    stem   = the module up to the call of its first block
    branch = block(h) - h, or what a module within the block gives;  skip = h, or the same
    head   = the module, the output of its last block replaced by h

What a block takes beside h is the same in each call, or made by the inputs alone: the context.

These functions are in `foreign_functions`. Neighbouring blocks that are written the same, with
variables of the same shapes, are one stage.
"""

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
from flax import nnx
from jax.extend import core

from resnet_dyn import errors
from resnet_dyn.models import foreign_check, foreign_functions, foreign_survey, modules
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
    names: Sequence[str] | None = None,
    groups: Sequence[Sequence[int]] | None = None,
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
      names: of the blocks, for tables; None: those of their modules.
      groups: blocks that belong together, by number: whole layers.

    Raises:
      UserError: a name is not there, or the module has not this form: which block, and why; for
        groups that cannot be, and names that are not one a block.
    """
    if branch is None and (skip is not None or act is not None):
        raise errors.UserError(
            'skip= and act= say what a block does with its branch: name that module by branch= too'
        )
    if not blocks or isinstance(blocks, str) or not all(isinstance(name, str) for name in blocks):
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
    names = net.names if names is None else names
    return dataclasses.replace(net, couples_examples=couples_examples, names=names, groups=groups)


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


class Plan(NamedTuple):
    """How a stack is made of a tree of variables."""

    root: modules.Linen | modules.Nnx
    form: modules.Form
    paths: tuple[str, ...]
    stem: foreign_functions.Stem
    head: foreign_functions.Head
    make_context: foreign_functions.Context | None
    branches: tuple[foreign_functions.Block, ...]
    skips: tuple[foreign_functions.Block | None, ...]
    act: Callable | None
    shapes: tuple[tuple, ...]  # of h before and after each block
    needed: tuple[frozenset, ...]  # names of leaves: of stem, of each block, of head

    def assemble(self, tree) -> stack_lib.ResidualStack:
        """The stack with these variables."""
        leaves = modules.form_of(tree)[1]
        blocks = [modules.form_of(self.root.own(tree, path))[1] for path in self.paths]
        blocks = [_only(own, used) for own, used in zip(blocks, self.needed[1:-1], strict=True)]
        alike = list(zip(self.branches, self.skips, self.shapes, strict=True))
        groups = itertools.groupby(range(len(alike)), lambda i: self._stage(alike, i))
        stages = []
        for group in (list(group) for _, group in groups):
            branch, skip, _ = alike[group[0]]
            params = stack_lib.stacked([blocks[i] for i in group])
            stages.append(stack_lib.Stage(params, branch, len(group), skip, self.act))
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
    stem = foreign_functions.Stem(root, form, paths[0])
    blanks = foreign_functions.Blanks.of(met, inputs)
    head = foreign_functions.Head(root, form, blanks, True)
    leaves_in, structure = jax.tree.flatten(inputs)
    by_name = {f'{i:04}': leaf for i, leaf in enumerate(leaves_in)}

    def of_inputs(by_name, leaves, h):
        return head(leaves, h, {'inputs': structure.unflatten(by_name.values())})

    if not needed(of_inputs, by_name, leaves, met[-1].after):
        head = dataclasses.replace(head, takes_inputs=False)
    make_context, context = None, None
    if sources or head.takes_inputs:
        make_context = foreign_functions.Context(root, form, blanks, sources, head.takes_inputs)
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
        whole = foreign_functions.Block(block.runner, block.form, block.given, None, less_h=True)
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


def _only(leaves: dict, names) -> dict:
    return {name: leaf for name, leaf in leaves.items() if name in names}
