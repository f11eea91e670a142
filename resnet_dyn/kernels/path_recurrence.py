"""The recurrence behind `path_gradients`: all path lengths at a block, from those beside it.

    backward   G_k <- S_l^T D^T G_k + s_l J_l^T D^T G_{k-1}
    forward    u_k <- D (S_l u_k + J_l u_{k-1})

with D, S_l, J_l the Jacobians of a block's merge, skip and branch where the full forward pass
meets it, and s_l a sign. Axis R holds the lengths k = 0..; rows that no path reaches yet are 0.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from resnet_dyn.kernels import devices
from resnet_dyn.models import stack as stack_lib

SMALL = 2**20  # elements of all G_k of a block, up to which loops have a reverse derivative


class Maps(NamedTuple):
    """Linear maps of a block, or of a stage's stacked; None is the identity."""

    merge: Callable | None
    skip: Callable | None
    branch: Callable


def in_loops(function):
    """`function` with its loops compiled even under `jax.disable_jit`, where scans cannot stack."""

    @functools.wraps(function)
    def wrapped(*args, **options):
        with jax.disable_jit(False):
            return function(*args, **options)

    return wrapped


@in_loops
def linearise(stack, inputs, loss):
    """The transposed `Maps` of every stage at the full forward pass, and v, the gradient at h_L.

    The maps of a stage are a tuple, one of each kind of its blocks, stacked.
    """
    (stack, h), pulls = stack_lib.enter(stack, inputs), []

    def body(kind, params, h, _):
        return _derivatives(jax.vjp, kind, params, h)

    for stage in stack.stages:
        h, here = stack_lib.scan_kinds(stage, body, h, (None,) * len(stage.kinds))
        pulls.append(here)
    return pulls, jax.grad(lambda h: stack_lib.scalar_loss(stack, h, loss))(h)


def _derivatives(transform: Callable, stage, params, h):
    """The block's output at h, and the maps that `transform` (jax.vjp, jax.linearize) gives."""
    branch, of_branch = transform(stack_lib.branch_of(stage, params), h)
    skip, of_skip, of_merge = (h if stage.skippable else None), None, None
    if stage.skippable and stage.skip is not None:
        skip, of_skip = transform(stack_lib.skip_of(stage, params), h)
    total = stack_lib.add(branch, skip)
    if stage.merge is not None:
        total, of_merge = transform(stack_lib.merge_of(stage, params), total)
    return total, Maps(of_merge, of_skip, of_branch)


@in_loops
def backward(stack, linearised, cut, lengths_at_once, reduce=None, signs_L=None):
    """(G_k up to k = cut, and reduce(G_k) at every depth), from the last block to the first."""
    pulls, v = linearised
    blocks, done = stack_lib.num_blocks(stack), 0
    signs_L = jnp.ones(blocks, v.dtype) if signs_L is None else signs_L
    seen = [] if reduce is None else [_seen(reduce, v[None], blocks)[None]]
    lengths_R, parts = v[None], stack_lib.split(stack, signs_L)
    for stage, pulled, signs_N in zip(stack.stages[::-1], pulls[::-1], parts[::-1], strict=True):
        rows, chunk = rows_for(done + stage.length, cut, lengths_R[0], lengths_at_once)

        def body(kind, _, lengths_R, xs, chunk=chunk):
            pull, (sign, number) = xs
            lengths_R = _pull_back(lengths_R, kind, pull, sign, number, cut, chunk)
            return lengths_R, None if reduce is None else _seen(reduce, lengths_R, blocks)

        numbers_N = jnp.arange(done, done + stage.length)[::-1]
        xs = tuple(zip(pulled, stack_lib.by_kind(stage, (signs_N, numbers_N)), strict=True))
        lengths_R = pad(lengths_R, rows)
        lengths_R, here = stack_lib.scan_kinds(stage, body, lengths_R, xs, reverse=True)
        if reduce is not None:
            seen.append(stack_lib.in_turn(here))
        done += stage.length
    return lengths_R[: cut + 1], jnp.concatenate(seen[::-1]) if seen else None


@in_loops
def along(stack, linearised, path_L):
    """g_P of one path."""
    pulls, g = linearised
    parts = stack_lib.split(stack, stack_lib.check_gates(stack, path_L))

    def body(kind, _, g, xs):
        pull, taken = xs
        skip, branch = _transposed(kind, pull, g)
        return lax.cond(taken != 0, branch, skip, g), None

    for stage, pulled, taken_N in zip(stack.stages[::-1], pulls[::-1], parts[::-1], strict=True):
        xs = tuple(zip(pulled, stack_lib.by_kind(stage, taken_N), strict=True))
        g, _ = stack_lib.scan_kinds(stage, body, g, xs, reverse=True)
    return g


def _transposed(stage, pull: Maps, g) -> tuple[Callable, Callable]:
    """g -> S^T D^T g and g -> J^T D^T g, D the merge; without a skip the first gives zeros."""

    def merge(g):
        return g if pull.merge is None else pull.merge(g)[0]

    def branch(g):
        return pull.branch(merge(g))[0]

    if not stage.skippable:
        shape = jax.eval_shape(branch, g)
        return lambda g: jnp.zeros_like(shape), branch
    return merge if pull.skip is None else lambda g: pull.skip(merge(g))[0], branch


def _pull_back(lengths_R, stage, pull: Maps, sign, number, cut, chunk: int):
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


def push_forward(lengths_R, stage, params, h, number, cut, chunk: int):
    """The block's output at h, and u_k <- D (S u_k + J u_{k-1}), D the merge."""
    out, push = _derivatives(jax.linearize, stage, params, h)
    skip = push.skip
    if not stage.skippable:
        shape = jax.eval_shape(push.branch, h)
        skip = lambda u: jnp.zeros_like(shape)  # noqa: E731
    settle = None if push.merge is None else lambda there, moved: push.merge(there + moved)
    return out, _shifted(lengths_R, skip, push.branch, number, cut, chunk, settle)


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

    if summed_R.size <= SMALL:
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
    return jax.vmap(reduce)(pad(lengths_R, blocks + 1)[: blocks + 1])


def pad(lengths_R, rows: int):
    more = max(0, rows - len(lengths_R))
    return jnp.pad(lengths_R, [(0, more)] + [(0, 0)] * (lengths_R.ndim - 1))


def rows_for(done: int, cut: int, h, lengths_at_once: int | None) -> tuple[int, int]:
    """Rows that the lengths of `done` blocks need, in whole chunks and one above; the chunk."""
    if lengths_at_once is None:
        lengths_at_once = min(8, max(2, devices.worth_together(h.size)))
    highest = min(done - 1, cut)
    chunk = max(1, min(lengths_at_once, highest + 1))
    return (highest // chunk + 1) * chunk + 1, chunk
