"""How far into a network its blocks still matter, as it is asked of language models.

    cosine       cos(branch_l(h_l), skip_l(h_l))          Csordas et al. 2025 (arXiv 2505.13898)
    lens         p_l = softmax(head(h_l)) beside p = softmax(head(h_L)), at each depth l = 0..L
      divergence KL(p_l || p)                             Hu et al. 2025 (arXiv 2512.14064)
      overlap    share of the n likeliest classes that p_l and p have in common
    change       |branch_m(h_m) without block l - branch_m(h_m)|^2 for l < m

The lens is there where h_l has the shape of h_L, which is what the head takes. Sums over examples,
each taken by itself, tokens or pixels together in cosine and change, averaged in the lens.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from resnet_dyn.kernels import influence
from resnet_dyn.models import stack as stack_lib

TOP = 5  # classes that the overlap compares, one less than all where there are no more


class Sums(NamedTuple):
    """Sums over examples; L blocks, N = L + 1 depths (depth l is the input of block l)."""

    cosine_L: jax.Array  # 0 for a branch or a skip of zeros
    divergence_N: jax.Array  # nats; NaN where h_l has not the shape of h_L
    overlap_N: jax.Array  # of the share in [0, 1]; NaN there too
    change_LL: jax.Array  # row l the block skipped, column m the branch; of no meaning for m <= l
    branch_L: jax.Array  # |branch_m(h_m)|^2 of the whole network


@jax.jit
def sums(stack: stack_lib.ResidualStack, inputs) -> Sums:
    """Sums over inputs (B, ...) of a network whose blocks have skips: L + 1 forward passes.

    Pure: jit and vmap over stacked parameters work; what is compiled does not grow with the length
    of a stage. Memory: all hidden states and branches, (L, B, ...) each.
    """
    stack, h = stack_lib.enter(stack, inputs)
    first, branches, outputs, cosines = h[None], [], [], []

    def body(kind, params, h, _):
        branch, skip = stack_lib.addends(kind, params, h, None)
        cosine = (influence.directions(branch, 1) * influence.directions(skip, 1)).sum()
        h = stack_lib.join(kind, params, branch, skip)
        return h, (branch, h, cosine)

    for stage in stack.stages:
        h, (branch, output, cosine) = stack_lib.scan_stage(stage, body, h, jnp.ones(stage.length))
        branches.append(branch)
        outputs.append(output)
        cosines.append(cosine)
    lenses = [_lens(stack, states, h) for states in (first, *outputs)]
    without_LL = 1 - jnp.eye(stack.num_blocks)
    return Sums(
        jnp.concatenate(cosines),
        *(jnp.concatenate(parts) for parts in zip(*lenses, strict=True)),
        lax.map(lambda gates_L: _changes(stack, inputs, gates_L, branches), without_LL),
        jnp.concatenate([_squares(branch, 1) for branch in branches]),
    )


def top(classes: int) -> int:
    """n, how many of the likeliest classes are compared."""
    return max(1, min(TOP, classes - 1))


def _lens(stack, states, last):
    """Divergence and overlap (depths,) of hidden states (depths, B, ...) with the last one."""
    if states.shape[1:] != last.shape:
        missing = jnp.full(len(states), jnp.nan)
        return missing, missing
    log_p = jax.nn.log_softmax(stack_lib.precise(stack_lib.head(stack, last)))
    number = top(log_p.shape[-1])
    _, likeliest = lax.top_k(log_p, number)

    def compare(h):
        log_q = jax.nn.log_softmax(stack_lib.precise(stack_lib.head(stack, h)))
        q = jnp.exp(log_q)
        divergence = jnp.where(q > 0, q * (log_q - log_p), 0).sum(-1)
        _, here = lax.top_k(log_q, number)
        shared = (here[..., :, None] == likeliest[..., None, :]).sum((-1, -2)) / number
        return _over_tokens(divergence), _over_tokens(shared)

    return lax.map(compare, states)


def _changes(stack, inputs, gates_L, branches):
    """|branch - branch of the whole network|^2 of every block, (L,), under these gates."""
    (stack, h), changes = stack_lib.enter(stack, inputs), []

    def body(kind, params, h, xs):
        gate, whole = xs
        branch, skip = stack_lib.addends(kind, params, h, gate)
        return stack_lib.join(kind, params, branch, skip), _squares(branch - whole, 0)

    gates = stack_lib.split(stack, gates_L)
    for stage, part, whole in zip(stack.stages, gates, branches, strict=True):
        h, here = stack_lib.scan_stage(stage, body, h, (part, whole))
        changes.append(here)
    return jnp.concatenate(changes)


def _squares(x, axes: int):
    """Sums of squares over all that stands behind the first `axes` axes."""
    x = stack_lib.precise(x)
    return (x**2).sum(tuple(range(axes, x.ndim)))


def _over_tokens(values):
    """The sum over examples of the mean over all other axes."""
    return values.reshape(len(values), -1).mean(1).sum()
