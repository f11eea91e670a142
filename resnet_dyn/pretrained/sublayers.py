"""The mathematics that transformers share: norms, linear maps, attention, activations.

    attention(x) = W_o sum_s softmax_s(q_t . k_s / sqrt(d)) v_s        mlp(x) = W_d act(W_u x)

Sums over many numbers (norms, softmax) are taken in float32 or above, as the reference library
does; the rest is in the dtype of the parameters. Weights are (outputs, inputs), as PyTorch's.
Letters beside those of the package: T positions of queries, S of keys, G groups of heads that share
keys and values, R heads of a group, D width, d width of a head.
"""

import jax
import jax.numpy as jnp
from jax import lax

from resnet_dyn.models import stack


def gelu_tanh(x):
    """GELU by its approximation with tanh."""
    return jax.nn.gelu(x, approximate=True)


def gelu(x):
    """GELU by the error function."""
    return jax.nn.gelu(x, approximate=False)


def quick_gelu(x):
    """x sigmoid(1.702 x)."""
    return x * jax.nn.sigmoid(1.702 * x)


# By their names in config.json.
ACTIVATIONS = {
    'gelu': gelu,
    'gelu_python': gelu,
    'gelu_new': gelu_tanh,
    'gelu_fast': gelu_tanh,
    'gelu_pytorch_tanh': gelu_tanh,
    'quick_gelu': quick_gelu,
    'relu': jax.nn.relu,
    'silu': jax.nn.silu,
    'swish': jax.nn.silu,
    'tanh': jnp.tanh,
    'sigmoid': jax.nn.sigmoid,
}


def linear(p, x):
    """W x + b over the last axis; p has 'w' (outputs, inputs) and, if there is a bias, 'b'."""
    y = lax.dot_general(x, p['w'], (((x.ndim - 1,), (1,)), ((), ())))
    return y + p['b'].reshape((1,) * (y.ndim - 1) + (-1,)) if 'b' in p else y


def layer_norm(p, x, eps: float):
    """(x - mean) / sqrt(variance + eps) * w + b over the last axis."""
    wide = stack.precise(x)
    wide = wide - wide.mean(-1, keepdims=True)
    wide = wide * lax.rsqrt((wide**2).mean(-1, keepdims=True) + eps)
    return (wide * _along(p['w'], wide) + _along(p['b'], wide)).astype(x.dtype)


def rms_norm(p, x, eps: float):
    """x / sqrt(mean(x^2) + eps) * w over the last axis."""
    wide = stack.precise(x)
    wide = wide * lax.rsqrt((wide**2).mean(-1, keepdims=True) + eps)
    return wide.astype(x.dtype) * _along(p['w'], x)


NORMS = {'layer': layer_norm, 'rms': rms_norm}


def heads(x, number: int):
    """(B, T, number * d) -> (B, T, number, d)."""
    return x.reshape(*x.shape[:2], number, -1)


def attend(query_BTHd, key_BSGd, value_BSGd, visible, scale):
    """What each query sees, (B, T, H * d); `visible` broadcasts to (B, 1, T, S), heads share it.

    H is a multiple of G: head i has the keys of group i // (H / G). A query that sees nothing, at
    padding, gets the mean of all values, and no NaN.
    """
    B, T, H, d = query_BTHd.shape
    G = key_BSGd.shape[2]
    query = query_BTHd.reshape(B, T, G, H // G, d)
    scores = jnp.einsum('btgrd,bsgd->bgrts', query, key_BSGd)
    scores = stack.precise(scores) * scale
    visible = jnp.expand_dims(visible, 2)
    scores = jnp.where(visible, scores, jnp.finfo(scores.dtype).min)
    weights = jax.nn.softmax(scores, -1).astype(value_BSGd.dtype)
    return jnp.einsum('bgrts,bsgd->btgrd', weights, value_BSGd).reshape(B, T, H * d)


def _along(p, x):
    """A vector of parameters along the last axis of x, in the dtype of x."""
    return jnp.asarray(p, x.dtype).reshape((1,) * (x.ndim - 1) + (-1,))
