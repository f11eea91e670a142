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

from resnet_dyn.kernels import devices
from resnet_dyn.models import stack as stack_lib
from resnet_dyn.models import transforms

_SMALL = 2**20  # elements of all G_k of a block, up to which loops have a reverse derivative


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
    on to the inputs, (L+1, *inputs.shape). Raises ValueError for an order outside 0..L.

    Two compiled programs round differently, and a ReLU near 0 may open in one alone: in float32 the
    sum met `jax.grad` within 1e-6 on trained ResNets, but within 1e-2 alone on an untrained
    ResNet-110 whose activations explode (5e-15 in float64).
    """
    cut, linearised = _order(stack, order), _linearise(stack, inputs, loss)
    lengths_R, _ = _backward(stack, linearised, cut, lengths_at_once)
    if through_stem and not jnp.issubdtype(jnp.result_type(inputs), jnp.inexact):
        raise ValueError(
            f'inputs of dtype {jnp.result_type(inputs)} have no gradient: leave through_stem out, '
            'for the gradient at h_0'
        )
    if through_stem:
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
    linearised, L = _linearise(stack, inputs, loss), stack_lib.num_blocks(stack)
    _, seen_LR = _backward(stack, linearised, L, lengths_at_once, reduce)
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
    examples do not meet in the forward pass (not with statistics='batch'). Raises ValueError for
    fewer than 1 probe.
    """
    cut, linearised = _order(stack, order), _linearise(stack, inputs, loss)
    shape = (stack_lib.num_blocks(stack),) + ((len(inputs),) if per_example else ())
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
    cut, linearised = _order(stack, order), _linearise(stack, inputs, loss)
    lengths_R, _ = _backward(stack, linearised, cut, lengths_at_once)
    shape = (stack_lib.num_blocks(stack),)
    energy_R, error_R = _energies(stack, linearised, key, probes, shape, cut, lengths_at_once)
    return Spectrum(norms(lengths_R), jnp.sqrt(energy_R), error_R)


def norms(lengths_R, kept: int = 1):
    """The 2-norm of each G_k over all but the first `kept` axes (2: of each example apart)."""
    return jnp.sqrt((lengths_R**2).sum(tuple(range(kept, lengths_R.ndim))))


@functools.partial(jax.jit, static_argnames=('order', 'lengths_at_once'))
def forward_by_length(stack, inputs, order: int | None = None, lengths_at_once: int | None = None):
    """u_k at h_L, k = 0..L: the network linearised at its full forward pass, applied to h_0.

        prod_l (S_l + t J_l) h_0 = sum_k t^k u_k,     u_k <- S_l u_k + J_l u_{k-1}

    Shape (L+1, *h_L.shape). Needs forward derivatives of skips, branches and merges; convolutions
    and norms of ours are taken in their `xla` form, the same numbers.
    """
    stack = transforms.with_forward_derivatives(stack)
    cut = _order(stack, order)
    h, done = stack_lib.stem(stack, inputs), 0
    lengths_R = h[None]
    for stage in stack.stages:
        rows, chunk = _rows(done + stage.length, cut, h, lengths_at_once)

        def body(params, carry, number, stage=stage, chunk=chunk):
            h, lengths_R = carry
            return _push_forward(lengths_R, stage, params, h, number, cut, chunk), None

        numbers_N = jnp.arange(done, done + stage.length)
        carry = (h, _pad(lengths_R, rows))
        (h, lengths_R), _ = stack_lib.scan_stage(stage, body, carry, numbers_N)
        done += stage.length
    return lengths_R[: cut + 1]


@functools.partial(jax.jit, static_argnames='loss')
def path_gradient(stack, inputs, loss: Callable, path_L):
    """g_P at h_0, the gradient along one path: the branch where path_L is 1, the skip where 0.

    Gates act on the backward pass alone; the linearisation is that of the full forward pass.
    """
    return _along(stack, _linearise(stack, inputs, loss), path_L)


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

    linearised = _linearise(stack, inputs, loss)

    def one(key):
        path_L = (jax.random.permutation(key, L) < length).astype(jnp.float32)
        return (_along(stack, linearised, path_L) ** 2).sum()

    return lax.map(one, jax.random.split(key, num))


class _Pulls(NamedTuple):
    """The transposed Jacobians of a block, or of a stage's stacked, as `jax.vjp` gives them."""

    merge: Callable | None  # None is the identity, here and below
    skip: Callable | None
    branch: Callable


def _in_loops(function):
    """`function` with its loops compiled even under `jax.disable_jit`, where scans cannot stack."""

    @functools.wraps(function)
    def wrapped(*args, **options):
        with jax.disable_jit(False):
            return function(*args, **options)

    return wrapped


@_in_loops
def _linearise(stack, inputs, loss):
    """The `_Pulls` of every stage at the full forward pass, and v, the gradient at h_L."""
    h, pulls = stack_lib.stem(stack, inputs), []
    for stage in stack.stages:

        def body(params, h, _, stage=stage):
            total, pull_branch = jax.vjp(functools.partial(stage.branch, params), h)
            pull_skip = pull_merge = None
            if stage.skippable and stage.skip is not None:
                skipped, pull_skip = jax.vjp(functools.partial(stage.skip, params), h)
                total = total + skipped
            elif stage.skippable:
                total = total + h
            if stage.merge is not None:
                total, pull_merge = jax.vjp(stage.merge, total)
            return total, _Pulls(pull_merge, pull_skip, pull_branch)

        h, here = stack_lib.scan_stage(stage, body, h, jnp.ones(stage.length))
        pulls.append(here)
    return pulls, jax.grad(lambda h: stack_lib.scalar_loss(stack, h, loss))(h)


@_in_loops
def _backward(stack, linearised, cut, lengths_at_once, reduce=None, signs_L=None):
    """(G_k up to k = cut, and reduce(G_k) at every depth), from the last block to the first."""
    pulls, v = linearised
    blocks, done = stack_lib.num_blocks(stack), 0
    signs_L = jnp.ones(blocks, v.dtype) if signs_L is None else signs_L
    seen = [] if reduce is None else [_seen(reduce, v[None], blocks)[None]]
    lengths_R, parts = v[None], stack_lib.split(stack, signs_L)
    for stage, pulls_N, signs_N in zip(stack.stages[::-1], pulls[::-1], parts[::-1], strict=True):
        rows, chunk = _rows(done + stage.length, cut, lengths_R[0], lengths_at_once)

        def body(_, lengths_R, xs, stage=stage, chunk=chunk):
            pull, sign, number = xs
            lengths_R = _pull_back(lengths_R, stage, pull, sign, number, cut, chunk)
            return lengths_R, None if reduce is None else _seen(reduce, lengths_R, blocks)

        numbers_N = jnp.arange(done, done + stage.length)[::-1]
        xs, lengths_R = (pulls_N, signs_N, numbers_N), _pad(lengths_R, rows)
        lengths_R, here = stack_lib.scan_stage(stage, body, lengths_R, xs, reverse=True)
        if reduce is not None:
            seen.append(here)
        done += stage.length
    return lengths_R[: cut + 1], jnp.concatenate(seen[::-1]) if seen else None


def _energies(stack, linearised, key, probes, shape, cut, lengths_at_once) -> Energies:
    """The mean of |G_k(s)|^2 over draws of signs of `shape`: (L,), or (L, B) for each example."""
    if probes < 1:
        raise ValueError(f'probes={probes}: draw at least 1')
    kept = len(shape)  # axes of G that are not summed over

    def probe(key):
        signs_L = jax.random.rademacher(key, shape, linearised[-1].dtype)
        lengths_R, _ = _backward(stack, linearised, cut, lengths_at_once, signs_L=signs_L)
        return (lengths_R**2).sum(tuple(range(kept, lengths_R.ndim)))

    energy_NR = lax.map(probe, jax.random.split(key, probes))
    if probes == 1:
        return Energies(energy_NR[0], jnp.full_like(energy_NR[0], jnp.nan))
    return Energies(energy_NR.mean(0), energy_NR.std(0, ddof=1) / math.sqrt(probes))


@_in_loops
def _along(stack, linearised, path_L):
    """g_P of one path."""
    pulls, g = linearised
    parts = stack_lib.split(stack, stack_lib.check_gates(stack, path_L))
    for stage, pulls_N, taken_N in zip(stack.stages[::-1], pulls[::-1], parts[::-1], strict=True):

        def body(_, g, xs, stage=stage):
            pull, taken = xs
            skip, branch = _transposed(stage, pull, g)
            return lax.cond(taken != 0, branch, skip, g), None

        g, _ = stack_lib.scan_stage(stage, body, g, (pulls_N, taken_N), reverse=True)
    return g


def _transposed(stage, pull: _Pulls, g) -> tuple[Callable, Callable]:
    """g -> S^T D^T g and g -> J^T D^T g, D the merge; without a skip the first gives zeros."""

    def merge(g):
        return g if pull.merge is None else pull.merge(g)[0]

    def branch(g):
        return pull.branch(merge(g))[0]

    if not stage.skippable:
        shape = jax.eval_shape(branch, g)
        return lambda g: jnp.zeros_like(shape), branch
    return merge if pull.skip is None else lambda g: pull.skip(merge(g))[0], branch


def _pull_back(lengths_R, stage, pull: _Pulls, sign, number, cut, chunk: int):
    """G_k <- S^T D^T G_k + sign J^T D^T G_{k-1}, D the merge."""

    skip, branch = _transposed(stage, pull, lengths_R[0])

    def signed(g):
        moved = branch(g)
        return sign.reshape(sign.shape + (1,) * (moved.ndim - 1) * bool(sign.ndim)) * moved

    if pull.skip is not None or not stage.skippable:
        return _shifted(lengths_R, skip, signed, number, cut, chunk)
    # S is the identity: the merge goes over g_k in the loop, not over all of them before it.
    settle = None if pull.merge is None else lambda there, moved: skip(there) + moved
    return _shifted(lengths_R, None, signed, number, cut, chunk, settle)


def _push_forward(lengths_R, stage, params, h, number, cut, chunk: int):
    """The block's output at h, and u_k <- D (S u_k + J u_{k-1}), D the merge."""
    out, push_branch = jax.linearize(functools.partial(stage.branch, params), h)
    push_skip = settle = None
    if not stage.skippable:
        shape = out
        push_skip = lambda u: jnp.zeros_like(shape)  # noqa: E731
    elif stage.skip is None:
        out = out + h
    else:
        skipped, push_skip = jax.linearize(functools.partial(stage.skip, params), h)
        out = out + skipped
    if stage.merge is not None:
        out, push_merge = jax.linearize(stage.merge, out)
        settle = lambda there, moved: push_merge(there + moved)  # noqa: E731
    return out, _shifted(lengths_R, push_skip, push_branch, number, cut, chunk, settle)


def _shifted(lengths_R, through, branch, number, cut, chunk: int, settle=None):
    """settle(through(g_k), branch(g_{k-1})), by default their sum, where 0..number are there.

    `through` None is the identity. `chunk` products with the branch go at once, up to k = cut (or
    its chunk's end), the longest first: so every g_k is read before its own place is written, and
    XLA makes no second copy of all lengths.
    """
    settle = jnp.add if settle is None else settle
    summed_R = lengths_R if through is None else jax.vmap(through)(lengths_R)
    trips = jnp.minimum(number, cut) // chunk + 1

    def step(i, summed_R):
        start = (trips - 1 - i) * chunk
        g_C = lax.dynamic_slice_in_dim(summed_R if through is None else lengths_R, start, chunk)
        there_C = lax.dynamic_slice_in_dim(summed_R, start + 1, chunk)
        if chunk == 1:
            settled_C = settle(there_C[0], branch(g_C[0]))[None]
        else:
            settled_C = jax.vmap(settle)(there_C, jax.vmap(branch)(g_C))
        return lax.dynamic_update_slice_in_dim(summed_R, settled_C, start + 1, 0)

    if summed_R.size <= _SMALL:
        most = (len(lengths_R) - 1) // chunk

        def maybe(summed_R, i):
            return lax.cond(i < trips, lambda g: step(i, g), lambda g: g, summed_R), None

        summed_R, _ = lax.scan(maybe, summed_R, jnp.arange(most))
    else:
        summed_R = lax.fori_loop(0, trips, step, summed_R)
    first = settle(summed_R[0], jnp.zeros_like(summed_R[0]))
    return lax.dynamic_update_slice_in_dim(summed_R, first[None], 0, 0)


def _seen(reduce, lengths_R, blocks: int):
    """reduce(G_k) of the rows k = 0..L, of which the last may not be there yet."""
    return jax.vmap(reduce)(_pad(lengths_R, blocks + 1)[: blocks + 1])


def _pad(lengths_R, rows: int):
    more = max(0, rows - len(lengths_R))
    return jnp.pad(lengths_R, [(0, more)] + [(0, 0)] * (lengths_R.ndim - 1))


def _rows(done: int, cut: int, h, lengths_at_once: int | None) -> tuple[int, int]:
    """Rows that the lengths of `done` blocks need, in whole chunks and one above; the chunk."""
    if lengths_at_once is None:
        lengths_at_once = min(8, max(2, devices.worth_together(h.size)))
    highest = min(done - 1, cut)
    chunk = max(1, min(lengths_at_once, highest + 1))
    return (highest // chunk + 1) * chunk + 1, chunk


def _order(stack, order: int | None) -> int:
    blocks = stack_lib.num_blocks(stack)
    if order is None:
        return blocks
    if not 0 <= order <= blocks:
        raise ValueError(f'order={order}: paths have between 0 and L={blocks} branches')
    return order
