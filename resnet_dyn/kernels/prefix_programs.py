"""The compiled programs of a walk: a block on several h, a block passed by, the end of a pass.

`prefix_walk` calls them for chunks of `prefix_walk.SIZES` nodes alone, so that there is one program
for each size and kind of stage, however many masks or blocks there are. `hs` is a tuple of N arrays
(B, ...); every result is one again.
"""

import functools

import jax
import jax.numpy as jnp

from resnet_dyn.models import stack as stack_lib


def enter(stack, inputs):
    """The stack that knows the context of its inputs, and h_0."""
    context, h_0 = stem(stack, inputs)
    return (stack if context is None else stack_lib.with_context(stack, context)), h_0


@jax.jit
def stem(stack, inputs):
    """The context of the inputs, None where the stack makes none, and h_0."""
    stack, h_0 = stack_lib.enter(stack, inputs)
    return stack.context, h_0


@jax.jit
def evaluate(stage, index, hs, gates_N):
    """One block on several h at once."""
    params = stack_lib.block_params(stage, index)

    def one(h, gate):
        return stack_lib.block(stage, params, h, gate)

    if len(hs) == 1:
        return (one(hs[0], gates_N[0]),)
    return tuple(jax.vmap(one)(jnp.stack(hs), gates_N))


def pass_by(stage, index, h):
    """h past a deleted block: the very same array where the skip is the identity."""
    if stage.skip is None and stage.merge is None:
        return h
    return _skip(stage, index, h)


def parallel(blocks, h, gate):
    """merge(h + gate * sum of the branches): blocks side by side, one after the other added.

    `blocks` are pairs (stage, index) that have one merge, and identities as their skips; a merge
    with parameters takes those of the last.
    """
    total = h
    for stage, index in blocks:
        total = _add_branch(stage, index, h, gate, total)
    return _merge(*blocks[-1], total)


@functools.partial(jax.jit, static_argnames='function')
def finish(head, hs, extra, function):
    """`function(head(h), extra)` of several h at once: trees of arrays led by an axis N."""

    def one(h):
        return function(stack_lib.head(head, h), extra)

    if len(hs) == 1:
        return jax.tree.map(lambda a: a[None], one(hs[0]))
    return jax.vmap(one)(jnp.stack(hs))


@jax.jit
def _skip(stage, index, h):
    params = stack_lib.block_params(stage, index)
    return stack_lib.bypass(stage, params, h)


@jax.jit
def _add_branch(stage, index, h, gate, total):
    params = stack_lib.block_params(stage, index)
    branch, _ = stack_lib.addends(stage, params, h, gate)
    return stack_lib.add(branch, total)


@jax.jit
def _merge(stage, index, total):
    return stack_lib.join(stage, stack_lib.block_params(stage, index), total, None)
