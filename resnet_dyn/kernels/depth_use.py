"""How far into a network its blocks still matter, as it is asked of language models.

    cosine       cos(branch_l(h_l), skip_l(h_l))          Csordas et al. 2025 (arXiv 2505.13898)
    lens         p_l = softmax(head(h_l)) beside p = softmax(head(h_L)), at each depth l = 0..L
      divergence KL(p_l || p)                             Hu et al. 2025 (arXiv 2512.14064)
      overlap    share of the n likeliest classes that p_l and p have in common
    change       |branch_m(h_m) without block l - branch_m(h_m)|^2 for l < m

The lens is there where h_l has the shape of h_L, which is what the head takes. Sums over examples,
each taken by itself, tokens or pixels together in cosine and change, averaged in the lens. Tokens
that do not count are 0 in cosine and change, and none in the lens.
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
def sums(stack: stack_lib.ResidualStack, inputs, mask=None) -> Sums:
    """Sums over inputs (B, ...) of a network whose blocks have skips: L + 1 forward passes.

    `mask` (B, T) says which tokens of h (B, T, ...) count; None: all. Pure: jit and vmap over
    stacked parameters work; what is compiled does not grow with the length of a stage. Memory: all
    hidden states and branches, (L, B, ...) each.
    """
    stack, h = stack_lib.enter(stack, inputs)
    first, branches, outputs, cosines = h[None], [], [], []

    def body(kind, params, h, _):
        branch, skip = stack_lib.addends(kind, params, h, None)
        one, other = (influence.directions(counted(a, mask), 1) for a in (branch, skip))
        cosine = (one * other).sum()
        h = stack_lib.join(kind, params, branch, skip)
        return h, (branch, h, cosine)

    for stage in stack.stages:
        h, (branch, output, cosine) = stack_lib.scan_stage(stage, body, h, jnp.ones(stage.length))
        branches.append(branch)
        outputs.append(output)
        cosines.append(cosine)
    lenses = [lens(stack, states, h, mask) for states in (first, *outputs)]
    without_LL = 1 - jnp.eye(stack.num_blocks)
    return Sums(
        jnp.concatenate(cosines),
        *(jnp.concatenate(parts).sum(1) for parts in zip(*lenses, strict=True)),
        lax.map(lambda gates_L: _changes(stack, inputs, gates_L, branches, mask), without_LL),
        jnp.concatenate([lax.map(lambda a: _squares(a, mask), branch) for branch in branches]),
    )


def top(classes: int) -> int:
    """n, how many of the likeliest classes are compared."""
    return max(1, min(TOP, classes - 1))


def lens(stack, states, last, mask=None):
    """Divergence and overlap (depths, B) of hidden states (depths, B, ...) with the last one.

    The stack is one that `stack.enter` gives; both are NaN where the shapes differ.
    """
    if states.shape[1:] != last.shape:
        missing = jnp.full((len(states), len(last)), jnp.nan)
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
        return over_tokens(divergence, mask), over_tokens(shared, mask)

    return lax.map(compare, states)


def counted(x, mask):
    """x (B, T, ...) with 0 at the tokens that do not count; as it is where all do."""
    return x if mask is None else jnp.where(mask.reshape(*mask.shape, *[1] * (x.ndim - 2)), x, 0)


def over_tokens(values, mask=None):
    """The mean over all axes but the first, of the tokens that count where these are known. (B,)"""
    if mask is None or values.shape[:2] != mask.shape:
        return values.reshape(len(values), -1).mean(1)
    weights = jnp.broadcast_to(
        mask.reshape(*mask.shape, *[1] * (values.ndim - 2)), values.shape
    ).reshape(len(values), -1)
    return (values.reshape(len(values), -1) * weights).sum(1) / jnp.maximum(weights.sum(1), 1)


def _changes(stack, inputs, gates_L, branches, mask):
    """|branch - branch of the whole network|^2 of every block, (L,), under these gates."""
    (stack, h), changes = stack_lib.enter(stack, inputs), []

    def body(kind, params, h, xs):
        gate, whole = xs
        branch, skip = stack_lib.addends(kind, params, h, gate)
        return stack_lib.join(kind, params, branch, skip), _squares(branch - whole, mask)

    gates = stack_lib.split(stack, gates_L)
    for stage, part, whole in zip(stack.stages, gates, branches, strict=True):
        h, here = stack_lib.scan_stage(stage, body, h, (part, whole))
        changes.append(here)
    return jnp.concatenate(changes)


def _squares(x, mask):
    """The sum of squares of what counts."""
    return (stack_lib.precise(counted(x, mask)) ** 2).sum()
