"""The gradient split exactly by path length: 2^L paths for the price of about L/2 backward passes.

With every block linearised where the full forward pass meets it, S_l the Jacobian of its skip,
J_l of its branch (both after the merge), and v the gradient of the loss at h_L,

    prod_l (S_l + t J_l)^T v = sum_k t^k G_k,     G_k = sum over the C(L, k) paths P of length k

where a path takes the branch in k blocks and the skip in all others. From the last block to the
first, G_k <- S_l^T G_k + J_l^T G_{k-1}: L(L+1)/2 products with a branch in all. Signs s_l = +-1,
drawn at random in front of every J_l, make E |G_k(s)|^2 the sum over single paths of |g_P|^2.

Here k counts branches, the path length of Veit et al. 2016; the paper's r is k + 1. All functions
pass through jit, vmap and jvp; through grad where the G_k at a block have 2^20 elements or fewer
together, for larger ones go round a loop of dynamic length.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from resnet_dyn.kernels import path_recurrence
from resnet_dyn.models import stack as stack_lib
from resnet_dyn.models import transforms


class Energies(NamedTuple):
    """S_k by path length and the standard errors of its estimate."""

    energy_R: jax.Array  # (L+1,), or (L+1, B) by example
    error_R: jax.Array  # sample standard deviation / sqrt(probes); NaN for one probe


class Spectrum(NamedTuple):
    """The two sizes of the gradient that paths of each length carry, (L+1,)."""

    sum_norm_R: jax.Array  # |G_k|: of their sum, cross terms and all
    root_energy_R: jax.Array  # sqrt(S_k): the root of the sum of their squares
    energy_error_R: jax.Array  # standard error of S_k


@functools.partial(jax.jit, static_argnames=('loss', 'order', 'through_stem', 'lengths_at_once'))
def by_length(
    stack,
    inputs,
    loss: Callable,
    order: int | None = None,
    through_stem: bool = False,
    lengths_at_once: int | None = None,
):
    """G_k, the gradient of `loss(head's output)` carried by all paths of k branches, k = 0..L.

    Shape (L+1, *h_0.shape), at the first block's input; their sum is the ordinary gradient there.
    Where examples do not meet in the forward pass, row b of the batch is example b's own. `order`
    K stops at k = K, for about L K products instead of L(L+1)/2. `through_stem` carries every G_k
    on to the inputs, (L+1, *inputs.shape), or a tree of such. Raises ValueError for an order
    outside 0..L.

    Two compiled programs round differently, and a ReLU near 0 may open in one alone: in float32 the
    sum met `jax.grad` within 1e-6 on trained ResNets, but within 1e-2 alone on an untrained
    ResNet-110 whose activations explode (5e-15 in float64).
    """
    cut, linearised = _order(stack, order), path_recurrence.linearise(stack, inputs, loss)
    lengths_R, _ = path_recurrence.backward(stack, linearised, cut, lengths_at_once)
    if through_stem:
        dtypes = {leaf.dtype for leaf in jax.tree.leaves(stack_lib.arrays(inputs))}
        if not all(jnp.issubdtype(dtype, jnp.inexact) for dtype in dtypes):
            raise ValueError(
                f'inputs of dtype {", ".join(sorted(map(str, dtypes)))} have no gradient: leave '
                'through_stem out, for the gradient at h_0'
            )
        _, pull = jax.vjp(lambda x: stack_lib.stem(stack, x), inputs)
        lengths_R = lax.map(lambda g: pull(g)[0], lengths_R)
    return lengths_R


@functools.partial(jax.jit, static_argnames=('loss', 'reduce', 'lengths_at_once'))
def by_length_at_blocks(
    stack, inputs, loss: Callable, reduce: Callable, lengths_at_once: int | None = None
):
    """reduce(G_k) at every depth: [l, k] of the paths through blocks l..L-1 alone, (L+1, L+1, ...).

    Row l belongs to h_l, the input of block l (row L to the head's), where k runs to L - l and
    what is longer is reduce(0). `reduce` takes an array of h's shape to one of a fixed small shape,
    a norm say: all the gradients would be L times the memory of `by_length`.
    """
    linearised, L = path_recurrence.linearise(stack, inputs, loss), stack_lib.num_blocks(stack)
    _, seen_LR = path_recurrence.backward(stack, linearised, L, lengths_at_once, reduce)
    return seen_LR


@functools.partial(
    jax.jit, static_argnames=('loss', 'probes', 'per_example', 'order', 'lengths_at_once')
)
def energies(
    stack,
    inputs,
    loss: Callable,
    key,
    probes: int,
    per_example: bool = False,
    order: int | None = None,
    lengths_at_once: int | None = None,
) -> Energies:
    """S_k = sum over the C(L, k) paths of k branches of |g_P|^2 at h_0, estimated without bias.

    Each of `probes` draws gives a sign to every block, and |G_k(s)|^2 for all k at once; S_k /
    C(L, k) is the mean squared gradient of a single path, which Veit et al. 2016 sampled (fig 6).
    `per_example` returns them by example, (L+1, B), with signs of its own for each; it holds where
    examples do not meet in the forward pass. Raises ValueError for fewer than 1 probe, and for
    `per_example` of a network that couples its examples.
    """
    if per_example and stack.couples_examples:
        raise ValueError(
            "this network couples its examples (statistics='batch', or couples_examples=True), and "
            'a gradient is of no example alone: leave per_example out'
        )
    cut, linearised = _order(stack, order), path_recurrence.linearise(stack, inputs, loss)
    apart = (stack_lib.examples(inputs),) if per_example else ()
    shape = (stack_lib.num_blocks(stack), *apart)
    return _energies(stack, linearised, key, probes, shape, cut, lengths_at_once)


@functools.partial(jax.jit, static_argnames=('loss', 'probes', 'order', 'lengths_at_once'))
def spectrum(
    stack,
    inputs,
    loss: Callable,
    key,
    probes: int,
    order: int | None = None,
    lengths_at_once: int | None = None,
) -> Spectrum:
    """|G_k| beside sqrt(S_k): equal only where paths of one length are orthogonal in pairs.

    Arguments and errors as in `by_length` and `energies`; the network is linearised once for both.
    """
    cut, linearised = _order(stack, order), path_recurrence.linearise(stack, inputs, loss)
    lengths_R, _ = path_recurrence.backward(stack, linearised, cut, lengths_at_once)
    shape = (stack_lib.num_blocks(stack),)
    energy_R, error_R = _energies(stack, linearised, key, probes, shape, cut, lengths_at_once)
    return Spectrum(norms(lengths_R), jnp.sqrt(energy_R), error_R)


def norms(lengths_R, kept: int = 1):
    """The 2-norm of each G_k over all but the first `kept` axes (2: of each example apart)."""
    return jnp.sqrt(_squares(lengths_R, kept))


@functools.partial(jax.jit, static_argnames=('order', 'lengths_at_once'))
def forward_by_length(stack, inputs, order: int | None = None, lengths_at_once: int | None = None):
    """u_k at h_L, k = 0..L: the network linearised at its full forward pass, applied to h_0.

        prod_l (S_l + t J_l) h_0 = sum_k t^k u_k,     u_k <- S_l u_k + J_l u_{k-1}

    Shape (L+1, *h_L.shape). Needs forward derivatives of skips, branches and merges; convolutions
    and norms of ours are taken in their `xla` form, the same numbers.
    """
    stack = transforms.with_forward_derivatives(stack)
    cut = _order(stack, order)
    (stack, h), done = stack_lib.enter(stack, inputs), 0
    lengths_R = h[None]
    for stage in stack.stages:
        rows, chunk = path_recurrence.rows_for(done + stage.length, cut, h, lengths_at_once)

        def body(kind, params, carry, number, chunk=chunk):
            h, lengths_R = carry
            return path_recurrence.push_forward(
                lengths_R, kind, params, h, number, cut, chunk
            ), None

        numbers_N = jnp.arange(done, done + stage.length)
        carry = (h, path_recurrence.pad(lengths_R, rows))
        (h, lengths_R), _ = stack_lib.scan_stage(stage, body, carry, numbers_N)
        done += stage.length
    return lengths_R[: cut + 1]


@functools.partial(jax.jit, static_argnames='loss')
def path_gradient(stack, inputs, loss: Callable, path_L):
    """g_P at h_0, the gradient along one path: the branch where path_L is 1, the skip where 0.

    Gates act on the backward pass alone; the linearisation is that of the full forward pass.
    """
    return path_recurrence.along(stack, path_recurrence.linearise(stack, inputs, loss), path_L)


@functools.partial(jax.jit, static_argnames=('loss', 'length', 'num'))
def sampled(stack, inputs, loss: Callable, key, length: int, num: int):
    """|g_P|^2 of `num` random paths of `length` branches, (num,): Veit et al.'s own procedure.

    Each path costs a backward pass and tells of one length alone; times C(L, length), their mean
    estimates the S_k that `energies` gives for all k at once.
    """
    L = stack_lib.num_blocks(stack)
    if not 0 <= length <= L:
        raise ValueError(f'length={length}: a path uses between 0 and L={L} branches')
    if num < 1:
        raise ValueError(f'num={num}: sample at least 1 path')

    linearised = path_recurrence.linearise(stack, inputs, loss)

    def one(key):
        path_L = (jax.random.permutation(key, L) < length).astype(jnp.float32)
        return _squares(path_recurrence.along(stack, linearised, path_L), 0)

    return lax.map(one, jax.random.split(key, num))


def _energies(stack, linearised, key, probes, shape, cut, lengths_at_once) -> Energies:
    """The mean of |G_k(s)|^2 over draws of signs of `shape`: (L,), or (L, B) for each example."""
    if probes < 1:
        raise ValueError(f'probes={probes}: draw at least 1')
    kept = len(shape)  # axes of G that are not summed over

    def probe(key):
        signs_L = jax.random.rademacher(key, shape, linearised[-1].dtype)
        lengths_R, _ = path_recurrence.backward(
            stack, linearised, cut, lengths_at_once, signs_L=signs_L
        )
        return _squares(lengths_R, kept)

    energy_NR = lax.map(probe, jax.random.split(key, probes))
    if probes == 1:
        return Energies(energy_NR[0], jnp.full_like(energy_NR[0], jnp.nan))
    return Energies(energy_NR.mean(0), energy_NR.std(0, ddof=1) / math.sqrt(probes))


def _order(stack, order: int | None) -> int:
    blocks = stack_lib.num_blocks(stack)
    if order is None:
        return blocks
    if not 0 <= order <= blocks:
        raise ValueError(f'order={order}: paths have between 0 and L={blocks} branches')
    return order


def _squares(lengths_R, kept: int):
    """Sums of squares over all but the first axes, in float32 or above."""
    lengths_R = stack_lib.precise(lengths_R)
    return (lengths_R**2).sum(tuple(range(kept, lengths_R.ndim)))
