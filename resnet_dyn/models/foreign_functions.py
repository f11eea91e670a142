"""What a stack runs of a Flax module that is not ours: its stem, its branches, its head.

    Stem     the module up to the call of its first block
    Block    what a block makes of h: its output, that less h, or the output of a part of it
    Head     the module, the output of its last block replaced by h
    Context  what the inputs alone make: what blocks are given beside h, what the head takes

Each runs the module itself, with a hook at every call within it; two that do the same are equal,
so that the next checkpoint compiles nothing. The parts of the module that a function does not need
are not traced where they come after, and are dead code that XLA removes where they come before.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from resnet_dyn.models import foreign_survey, modules
from resnet_dyn.models import stack as stack_lib


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

    @classmethod
    def of(cls, met: Sequence[foreign_survey.Met], inputs) -> 'Blanks':
        """Those of these blocks and of such inputs."""
        leaves, structure = jax.tree.flatten(inputs)
        outputs = tuple(
            (block.path, None if block.before == block.after else _example(block.after))
            for block in met
        )
        return cls(outputs, (tuple(map(_example, leaves)), structure))

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
        """The inputs of B examples."""
        shapes, structure = self.inputs
        return structure.unflatten(_blank(B, shape) for shape in shapes)


def _blank(B: int, shape: jax.ShapeDtypeStruct):
    return modules.blank(jax.ShapeDtypeStruct((B, *shape.shape), shape.dtype))


def _example(array) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(array.shape[1:], array.dtype)
