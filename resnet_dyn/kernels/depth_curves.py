"""How far into a network its layers still matter, example by example, as language models are asked.

    cosine       cos(branch_l(h_l), skip_l(h_l)); of a layer of several blocks the mean of theirs
                 and of the whole layer's, cos(h_out - h_in, h_in)
    lens         p_u = softmax(head(h_u)) beside p = softmax(head(h_U)), h_u the input of layer u
      divergence KL(p_u || p)
      overlap    share of the n likeliest classes that p_u and p have in common

The quantities of Hu et al. 2025 (arXiv 2512.14064) and of `depth_use`, which sums them over
examples. Here they stay apart, so that intervals can be taken over examples.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from resnet_dyn.kernels import depth_use, influence
from resnet_dyn.models import stack as stack_lib


class Curves(NamedTuple):
    """B examples, U layers, V = U + 1 depths (depth u is the input of layer u)."""

    cosine_BU: jax.Array  # 0 for a branch or a skip of zeros
    divergence_BV: jax.Array  # nats; NaN where h_u has not the shape of h_U
    overlap_BV: jax.Array  # in [0, 1]; NaN there too


@functools.partial(jax.jit, static_argnames=('layers', 'tokens'))
def curves(
    stack: stack_lib.ResidualStack,
    inputs,
    mask=None,
    *,
    layers: tuple[tuple[int, ...], ...] | None = None,
    tokens: bool = False,
) -> Curves:
    """The curves of inputs (B, ...) of a network whose blocks have skips: one forward pass.

    Pure: jit and vmap over stacked parameters work. Memory: the hidden states of all depths.

    Args:
      mask: (B, T) of the tokens that count, in outputs and hidden states (B, T, ..); None: all.
      layers: blocks that follow on one another, by layer; None: each block is one.
      tokens: whether cosines are of each token (the last axis), and then averaged; else of an
        example as it is.
    """
    layers = layers or tuple((l,) for l in range(stack.num_blocks))
    stack, h = stack_lib.enter(stack, inputs)
    states, cosines = [h[None]], []

    def body(kind, params, h, _):
        branch, skip = stack_lib.addends(kind, params, h, None)
        h = stack_lib.join(kind, params, branch, skip)
        return h, (h, _cosine(branch, skip, mask, tokens))

    for stage in stack.stages:
        h, (output, cosine_lB) = stack_lib.scan_stage(stage, body, h, jnp.ones(stage.length))
        states.append(output)
        cosines.append(cosine_lB)
    at = _boundaries(layers)
    there = _chosen(states, at)
    lenses = [depth_use.lens(stack, some, h, mask) for some in there]
    divergence_VB, overlap_VB = (jnp.concatenate(parts) for parts in zip(*lenses, strict=True))
    cosine_UB = _by_layer(jnp.concatenate(cosines), layers, there, mask, tokens)
    return Curves(cosine_UB.T, divergence_VB.T, overlap_VB.T)


def _boundaries(layers) -> list[int]:
    """The depths in blocks at which a layer begins, and the last one."""
    flat = [block for layer in layers for block in layer]
    if flat != list(range(len(flat))):
        raise ValueError(f'layers={layers}: give all blocks in their order, each in one layer')
    return [layer[0] for layer in layers] + [len(flat)]


def _chosen(states, at) -> list:
    """The states at some depths, still apart where their shapes may differ."""
    found, first = [], 0
    for some in states:
        rows = [depth - first for depth in at if first <= depth < first + len(some)]
        found += [some[np.array(rows)]] if rows else []
        first += len(some)
    return found


def _by_layer(cosine_LB, layers, there, mask, tokens):
    """The mean, by layer, of the cosines of its blocks, and of its own where it has several."""
    if all(len(layer) == 1 for layer in layers) or len({some.shape[1:] for some in there}) > 1:
        return jnp.stack([cosine_LB[np.array(layer)].mean(0) for layer in layers])
    states_V = jnp.concatenate(there)
    pairs = (states_V[:-1], states_V[1:])
    whole_UB = lax.map(lambda h: _cosine(h[1] - h[0], h[0], mask, tokens), pairs)
    sums_UB = jnp.stack([cosine_LB[np.array(layer)].sum(0) for layer in layers])
    counts_U = np.array([len(layer) for layer in layers])
    several_U1 = (counts_U > 1)[:, None]
    return (sums_UB + several_U1 * whole_UB) / (counts_U[:, None] + several_U1)


def _cosine(branch, skip, mask, tokens: bool):
    """(B,) of an example as it is, or the mean over its tokens (B, T, ...)."""
    pair = (branch, skip)
    if tokens:
        pair = (a.reshape(len(a), -1, a.shape[-1]) for a in pair)
    else:
        pair = (depth_use.counted(a, mask) for a in pair)
    one, other = (influence.directions(a, 2 if tokens else 1) for a in pair)
    return depth_use.over_tokens((one * other).sum(-1), mask)
