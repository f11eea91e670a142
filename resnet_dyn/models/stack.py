"""A residual network as kernels see it: a stem, stages of equal blocks and a head.

    h_0     = stem(x)
    h_{l+1} = merge(skip_l(h_l) + g_l branch_l(h_l))
    logits  = head(h_L)

Anything of this form can be one: a Flax net of ours (`from_model`), a list of hand-written
functions (`from_functions`), or stages given as one function and stacked parameters (`Stage`).
A `ResidualStack` is a pytree: it passes through jit, vmap over stacked parameters and grad.

Here are the protocol and its evaluation, without Flax; `builders` makes stacks, `transforms` and
`seed_axis` change them.
"""

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

_static = {'static': True}


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Stage:
    """`length` blocks that share their functions; `params` have a leading block axis.

    branch(params_l, h) -> f_l(h); skip(params_l, h) -> S_l(h), None for the identity;
    merge(total) -> h, None for the identity. Where `skippable` is False there is no skip:
    h_{l+1} = merge(g_l branch_l(h_l)).

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
    # whether what becomes of an example depends on the others beside it: then none are cut off
    couples_examples: bool = dataclasses.field(default=False, metadata=_static)

    @property
    def num_blocks(self) -> int:
        """L, the number of blocks, numbered 0..L-1 from the input."""
        return num_blocks(self)


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


def over_seeds(stacks: Sequence[ResidualStack]) -> ResidualStack:
    """S networks of one model as one stack: see `seed_axis.over_seeds`."""
    from resnet_dyn.models import seed_axis  # which is built on this module

    return seed_axis.over_seeds(stacks)


def num_blocks(stack: ResidualStack) -> int:
    """L, the number of blocks of a stack."""
    return sum(stage.length for stage in stack.stages)


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


def on_device(stack: ResidualStack) -> ResidualStack:
    """The stack with JAX's arrays: NumPy's would be copied to the device at every call."""
    return jax.tree.map(jnp.asarray, stack)


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


def precise(x):
    """x in float32 or above, in which sums over many numbers are taken."""
    x = jnp.asarray(x)
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


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
    """One block, merge(skip(h) + gate * branch(h)), from its own parameters (no block axis).

    The equation of every network: training and kernels both come through here.
    """
    return join(stage, *addends(stage, params, h, gate))


def addends(stage: Stage, params, h, gate):
    """What a block adds: (gate * branch(h), skip(h)), the latter None where there is no skip.

    Gate None is open, and multiplies nothing.
    """
    branch = stage.branch(params, h)
    if gate is not None:
        branch = times(gate, branch)
    if not stage.skippable:
        return branch, None
    return branch, h if stage.skip is None else stage.skip(params, h)


def times(factor, branch):
    """factor * branch, multiplied in float32 or above, in which slopes by factors are summed.

    The product has the branch's dtype.
    """
    wide = precise(branch)
    return (jnp.asarray(factor, wide.dtype) * wide).astype(branch.dtype)


def join(stage: Stage, branch, skip):
    """merge(skip + branch) of the two that `addends` gives."""
    total = add(branch, skip)
    return total if stage.merge is None else stage.merge(total)


def add(branch, skip):
    """skip + branch, or the branch where there is no skip."""
    return branch if skip is None else skip + branch


def bypass(stage: Stage, params, h):
    """h past a deleted block, merge(skip(h)): what `block` gives at gate 0, nothing computed."""
    return join(stage, h if stage.skip is None else stage.skip(params, h), None)


def block_params(stage: Stage, index):
    """The parameters of one block of a stage; the index may be traced."""
    return jax.tree.map(lambda a: a[index], stage.params)


def locate(stack: ResidualStack) -> list[tuple[int, int]]:
    """For each block its stage's index and its own within that stage."""
    return [(s, i) for s, stage in enumerate(stack.stages) for i in range(stage.length)]


def output_shape(stack: ResidualStack, x):
    """Shape and dtype of the head's output; nothing is computed."""
    h = jax.eval_shape(stem, stack, x)
    for stage in stack.stages:
        h = jax.eval_shape(_first_block, stage, h)
    return jax.eval_shape(head, stack, h)


def shapes(stack: ResidualStack, x) -> tuple[list, list]:
    """Shape and dtype of each block's input, and of each block's output; nothing is computed."""
    h, before, after = jax.eval_shape(stem, stack, x), [], []
    for stage in stack.stages:
        out = jax.eval_shape(_first_block, stage, h)
        before += [h] + [out] * (stage.length - 1)
        after += [out] * stage.length
        h = out
    return before, after


@jax.jit
def second_moments(stack: ResidualStack, x, gates=None) -> Moments:
    """The mean squares that each block adds, by branch and by skip, in float32 or above.

    Inputs are x (B, ...); branch / skip is the power gain b_l^2 of the virtual ensemble's depth law
    (`theory.path_weights.log_path_weights_from_gains`).
    """
    gates = check_gates(stack, jnp.ones(num_blocks(stack)) if gates is None else gates)

    def body(stage, params, h, gate):
        branch, skip = addends(stage, params, h, gate)
        added = branch, jnp.zeros_like(branch) if skip is None else skip
        return join(stage, branch, skip), tuple((precise(a) ** 2).mean() for a in added)

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


def _first_block(stage: Stage, h):
    return block(stage, block_params(stage, 0), h, 1.0)
