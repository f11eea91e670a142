"""A residual network as kernels see it: a stem, stages of equal blocks and a head.

    h_0     = stem(x)
    h_{l+1} = merge_l(skip_l(h_l) + g_l branch_l(h_l))
    logits  = head(h_L)

Anything of this form can be one: a Flax net of ours (`from_model`), a list of hand-written
functions (`from_functions`), or stages given as functions and stacked parameters: `Stage` for
blocks that share one, `Unit` for a unit of several that repeats (attention, MLP).
A `ResidualStack` is a pytree: it passes through jit, vmap over stacked parameters and grad.

What blocks are to know of the inputs beside h (a padding mask, positions) is the *context*, a tree
of arrays led by B that `make_context(inputs)` makes once: no block changes it, it is cut and
sharded with the examples, and every function is given it as its last argument.

Here are the protocol and its evaluation, without Flax; `builders` makes stacks, `transforms` and
`seed_axis` change them.
"""

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from resnet_dyn.models import stages as stages_lib
from resnet_dyn.models.stages import Stage as Stage
from resnet_dyn.models.stages import Unit as Unit

_static = {'static': True}

# a block and its stage, as kernels call them
add = stages_lib.add
addends = stages_lib.addends
array = stages_lib.array
block = stages_lib.block
block_params = stages_lib.block_params
branch_of = stages_lib.branch_of
by_kind = stages_lib.by_kind
bypass = stages_lib.bypass
checked_groups = stages_lib.checked_groups
in_turn = stages_lib.in_turn
join = stages_lib.join
merge_of = stages_lib.merge_of
of_parameters = stages_lib.of_parameters
over_kinds = stages_lib.over_kinds
precise = stages_lib.precise
scan_kinds = stages_lib.scan_kinds
scan_stage = stages_lib.scan_stage
skip_of = stages_lib.skip_of
stacked = stages_lib.stacked
times = stages_lib.times


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ResidualStack:
    """stem(stem_params, x) -> h_0, stages (`Stage` or `Unit`), head(head_params, h_L) -> logits.

    Inputs x are an array (B, ...), or any tree of arrays led by B. `names` are those of the L
    blocks, for tables; `groups` the blocks that belong together, for what deletes whole layers, and
    are kept in the order of the blocks. A block of no group is never deleted with one, nor moved.
    Raises UserError for groups that are empty, overlap, or name blocks that are not there, and for
    names of another number.
    """

    stem_params: Any
    stages: tuple[Stage | Unit, ...]
    head_params: Any
    stem: Callable = dataclasses.field(metadata=_static)
    head: Callable = dataclasses.field(metadata=_static)
    min_batch: int = dataclasses.field(default=1, metadata=_static)
    # whether what becomes of an example depends on the others beside it: then none are cut off
    couples_examples: bool = dataclasses.field(default=False, metadata=_static)
    # inputs -> a tree led by B that every function takes as its last argument; None: they take none
    make_context: Callable | None = dataclasses.field(default=None, metadata=_static)
    names: tuple[str, ...] | None = dataclasses.field(default=None, metadata=_static)
    groups: tuple[tuple[int, ...], ...] | None = dataclasses.field(default=None, metadata=_static)
    context: Any = None  # what `enter` puts here

    def __post_init__(self):
        known = self.names is not None or self.groups is not None
        if known and stages_lib.are_stages(self.stages):
            names, groups = stages_lib.called(num_blocks(self), self.names, self.groups)
            object.__setattr__(self, 'names', names)
            object.__setattr__(self, 'groups', groups)

    @property
    def num_blocks(self) -> int:
        """L, the number of blocks, numbered 0..L-1 from the input."""
        return num_blocks(self)

    def to_device(self) -> 'ResidualStack':
        """The stack with its parameters on the device, once: see `on_device`."""
        return on_device(self)


class Moments(NamedTuple):
    """Mean squares of what is added at each block, over examples and units."""

    branch: jax.Array  # (L,) of g_l branch_l(h_l)
    skip: jax.Array  # (L,) of skip_l(h_l); 0 where there is no skip


def from_model(
    model, variables, statistics: str = 'running', gradients: str | None = None
) -> ResidualStack:
    """The stack of one of our networks: see `builders.from_model`."""
    from resnet_dyn.models import builders  # which is built on this module

    return builders.from_model(model, variables, statistics, gradients)


def from_functions(
    stem: Callable,
    branches: Sequence[Callable],
    head: Callable,
    skips: Sequence[Callable | None] | None = None,
    merge: Callable | None = None,
    **options,
) -> ResidualStack:
    """A stack of hand-written functions, or of functions and parameters.

    See `builders.from_functions`.
    """
    from resnet_dyn.models import builders  # which is built on this module

    return builders.from_functions(stem, branches, head, skips, merge, **options)


def from_flax(module, variables, blocks: Sequence[str], inputs, **options) -> ResidualStack:
    """The stack of somebody else's Flax module, Linen or NNX: see `foreign.from_flax`."""
    from resnet_dyn.models import foreign  # which is built on this module

    return foreign.from_flax(module, variables, blocks, inputs, **options)


def over_seeds(stacks: Sequence[ResidualStack]) -> ResidualStack:
    """S networks of one model as one stack: see `seed_axis.over_seeds`."""
    from resnet_dyn.models import seed_axis  # which is built on this module

    return seed_axis.over_seeds(stacks)


def num_blocks(stack: ResidualStack) -> int:
    """L, the number of blocks of a stack."""
    return sum(stage.length for stage in stack.stages)


def check_blocks(stack: ResidualStack) -> int:
    """L, the number of blocks; ValueError where there are none to measure."""
    if not num_blocks(stack):
        raise ValueError('a network of 0 blocks has nothing to measure: give it one or more')
    return num_blocks(stack)


def apply(stack: ResidualStack, x, gates):
    """The head's output for inputs x, (B, ...) or a tree, under gates (L,), 1 keeps a block.

    Pure: jit, vmap over gates or over stacked parameters, and grad with respect to gates work.
    Raises ValueError where gates are not of shape (L,), and for a batch of 1 where the norms take
    the statistics of the batch.
    """
    gates = check_gates(stack, gates)
    stack, h = enter(stack, x)
    for stage, part in zip(stack.stages, split(stack, gates), strict=True):
        h, _ = scan_stage(stage, lambda *given: (block(*given), None), h, part)
    return head(stack, h)


def on_device(stack: ResidualStack) -> ResidualStack:
    """The stack with JAX's arrays: NumPy's would be copied to the device at every call."""
    return jax.tree.map(array, stack)


def spans(stack: ResidualStack, examples: int, at_once: int | None) -> list[tuple[int, int]]:
    """(start, stop) of the parts in which examples go through, `at_once` each; None: all.

    Raises ValueError where there would be several and the network couples its examples.
    """
    if at_once is not None and at_once < 1:
        raise ValueError(f'examples_at_once={at_once}: must be at least 1')
    if at_once is None or at_once >= examples:
        return [(0, examples)]
    if stack.couples_examples:
        raise ValueError(
            "this network couples its examples (statistics='batch', or couples_examples=True): "
            f'{examples} of them are one batch, which cannot be cut into parts of {at_once}; leave '
            'examples_at_once out, or take the running statistics'
        )
    return [(start, min(start + at_once, examples)) for start in range(0, examples, at_once)]


def arrays(inputs):
    """Inputs as JAX's arrays: one array, or a tree of them; lists of numbers are an array.

    ValueError for arrays of what is no number.
    """
    for leaf in jax.tree.leaves(inputs):
        kind = getattr(getattr(leaf, 'dtype', None), 'kind', None)
        if kind in ('O', 'S', 'U') or isinstance(leaf, str):
            raise ValueError('inputs are no numbers: give arrays of them, such as token ids')
    if any(not hasattr(leaf, 'shape') for leaf in jax.tree.leaves(inputs)):
        return jnp.asarray(inputs)
    return jax.tree.map(array, inputs)


def examples(inputs) -> int:
    """B, the number of examples of inputs (B, ...) or of a tree; ValueError where arrays differ."""
    leaves = jax.tree.leaves(inputs)
    numbers = {leaf.shape[0] if leaf.ndim else None for leaf in leaves}
    if len(numbers) != 1 or None in numbers:
        shapes = [leaf.shape for leaf in leaves]
        raise ValueError(f'inputs have shapes {shapes}: all are led by one number of examples')
    return numbers.pop()


def take(inputs, rows):
    """The inputs of some examples, `rows` a slice or indices; of all of them as they are."""

    def of(a):
        whole = isinstance(rows, slice) and rows.indices(len(a)) == (0, len(a), 1)
        return a if whole else a[rows]  # which is a program for each shape

    return jax.tree.map(of, inputs)


def shapes_of(inputs, number: int):
    """Shape and dtype of so many examples of inputs that `arrays` gives."""

    def shape(a):
        return jax.ShapeDtypeStruct((number, *a.shape[1:]), a.dtype, weak_type=a.weak_type)

    return jax.tree.map(shape, inputs)


def enter(stack: ResidualStack, x) -> tuple[ResidualStack, Any]:
    """The stack whose functions know the context of inputs x, and h_0, the first block's input."""
    number = examples(x)
    if not number:
        raise ValueError('a batch of 0 examples: give at least one')
    if number < stack.min_batch:
        raise ValueError(
            f"a batch of {number} has no statistics of its own: statistics='batch' needs at "
            'least 2 examples; give more, or take the running statistics'
        )
    for stage in stack.stages:
        stages_lib.check_rows(stage)
    if stack.make_context is not None:
        stack = with_context(stack, _led(stack.make_context(x), number))
    return stack, stack.stem(stack.stem_params, x, *stages_lib.last_of(stack))


def _led(context, number: int):
    """The context, if each of its arrays is led by the examples, else ValueError."""
    for leaf in jax.tree.leaves(context):
        if jnp.shape(leaf)[:1] != (number,):
            raise ValueError(
                f'make_context gives an array of shape {jnp.shape(leaf)} for {number} examples: '
                'every array of the context is led by them, for it is cut where they are cut'
            )
    return context


def with_context(stack: ResidualStack, context) -> ResidualStack:
    """The stack whose functions are given this context."""
    stages = [
        over_kinds(stage, lambda kind: dataclasses.replace(kind, context=context))
        for stage in stack.stages
    ]
    return dataclasses.replace(stack, stages=tuple(stages), context=context)


def stem(stack: ResidualStack, x):
    """h_0, the first block's input."""
    return enter(stack, x)[1]


def head(stack: ResidualStack, h):
    """The head's output from h_L; of a stack with a context, the one that `enter` gives."""
    if stack.make_context is not None and stack.context is None:
        raise ValueError(
            'the head of this stack takes the context of its inputs: take the stack that '
            'stack.enter(stack, inputs) gives'
        )
    return stack.head(stack.head_params, h, *stages_lib.last_of(stack))


def scalar_loss(stack: ResidualStack, h, loss: Callable):
    """loss(head(h_L)); ValueError where that is not one number."""
    value = jnp.asarray(loss(head(stack, h)))
    if value.shape:
        raise ValueError(
            f'loss gives shape {value.shape}: it must give a scalar. A loss must be one number, '
            'such as the sum or the mean over the examples'
        )
    return value


def locate(stack: ResidualStack) -> list[tuple[int, int]]:
    """For each block the index of its stage or unit, and its own within that."""
    return [(s, i) for s, stage in enumerate(stack.stages) for i in range(stage.length)]


def blocks(stack: ResidualStack) -> list[tuple[Stage, int]]:
    """For each block the stage of its kind, and its index among that stage's parameters."""
    return [
        (kind, i)
        for stage in stack.stages
        for i in range(stage.kinds[0].length)
        for kind in stage.kinds
    ]


def output_shape(stack: ResidualStack, x):
    """Shape and dtype of the head's output; nothing is computed."""
    stack, h = jax.eval_shape(enter, stack, x)
    for stage in stack.stages:
        h = jax.eval_shape(_first_block, stage, h)
    return jax.eval_shape(head, stack, h)


def shapes(stack: ResidualStack, x) -> tuple[list, list]:
    """Shape and dtype of each block's input, and of each block's output; nothing is computed."""
    stack, h = jax.eval_shape(enter, stack, x)
    before, after = [], []
    for stage in stack.stages:
        out = jax.eval_shape(_first_block, stage, h)
        before += [h] + [out] * (stage.length - 1)
        after += [out] * stage.length
        h = out
    return before, after


@jax.jit
def second_moments(stack: ResidualStack, x, gates=None, mask=None) -> Moments:
    """The mean squares that each block adds, by branch and by skip, in float32 or above.

    Inputs are x (B, ...); `mask` (B, T) says which tokens of h (B, T, ...) count, None: all. The
    ratio branch / skip is the power gain b_l^2 of the virtual ensemble's depth law
    (`theory.path_weights.log_path_weights_from_gains`).
    """
    gates = check_gates(stack, jnp.ones(check_blocks(stack)) if gates is None else gates)

    def body(stage, params, h, gate):
        branch, skip = addends(stage, params, h, gate)
        added = branch, jnp.zeros_like(branch) if skip is None else skip
        where = None if mask is None else mask.reshape(*mask.shape, *[1] * (branch.ndim - 2))
        squares = tuple((precise(a) ** 2).mean(where=where) for a in added)
        return join(stage, params, branch, skip), squares

    (stack, h), moments = enter(stack, x), []
    for stage, part in zip(stack.stages, split(stack, gates), strict=True):
        h, here = scan_stage(stage, body, h, part)
        moments.append(here)
    branch, skip = (jnp.concatenate(parts) for parts in zip(*moments, strict=True))
    return Moments(branch, skip)


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


def _first_block(stage: Stage | Unit, h):
    kind = stage.kinds[0]
    return block(kind, block_params(kind, 0), h, 1.0)
