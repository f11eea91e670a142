"""Norms whose scale gamma is a variable of the collection `gammas`, apart from the params.

    batch: y = gamma (x - E[x]) / sqrt(Var[x] + eps) + bias       batch normalisation
    rms:   y = gamma x / sqrt(E[x^2] + eps)                       eq 20, sigma uncentred
    none:  y = x

per channel (last axis), the moments over all other axes of the batch in training, running
averages at inference. The variance is two-pass: E[x^2] - E[x]^2 is noise where the mean is large.
`rms` is not the per-example RMSNorm of language models.

Like the convolution, a norm has a choice of gradients (`conv.resolve_gradients`): `xla`, as JAX
derives them, and `plain`, the same formula in two passes with sums that XLA:CPU vectorises, 2 to
3 times faster there. `plain` has no forward derivative.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from resnet_dyn.models import conv

EPSILON = 1e-5
MOMENTUM = 0.9


class Norm(nn.Module):
    """One norm: `kind` as above; `gamma` is the initial scale, the same for every channel."""

    kind: str = 'batch'
    gamma: float = 1.0
    gradients: str = 'auto'

    @nn.compact
    def __call__(self, x, train: bool):
        """x (..., C) -> the same shape and dtype; statistics and gammas are float32."""
        if self.kind == 'none':
            return x
        channels, centred = x.shape[-1], self.kind == 'batch'
        gamma = self.variable('gammas', 'gamma', jnp.full, (channels,), self.gamma, jnp.float32)
        bias, running_mean = jnp.zeros(channels, jnp.float32), None
        if centred:
            bias = self.param('bias', nn.initializers.zeros, (channels,), jnp.float32)
            running_mean = self.variable('batch_stats', 'mean', jnp.zeros, (channels,), jnp.float32)
        name = 'variance' if centred else 'mean_square'
        running_square = self.variable('batch_stats', name, jnp.ones, (channels,), jnp.float32)
        dtype, x = x.dtype, x.astype(jnp.promote_types(x.dtype, jnp.float32))
        if not train:
            factor = gamma.value * lax.rsqrt(running_square.value + EPSILON)
            x = x - _lift(running_mean.value, x) if centred else x
            return (x * _lift(factor, x) + _lift(bias, x)).astype(dtype)
        standardise = _GRADIENTS[conv.resolve_gradients(self.gradients)]
        y, mean, square = standardise(x, gamma.value, bias, centred)
        if not self.is_initializing() and self.is_mutable_collection('batch_stats'):
            _fold(running_square, square)
            if centred:
                _fold(running_mean, mean)
        return y.astype(dtype)


def standardise(x, gamma, bias, centred: bool):
    """(y, mean, variance or mean square) of one batch x (..., C) by its own moments."""
    axes = tuple(range(x.ndim - 1))
    mean = x.mean(axes) if centred else jnp.zeros_like(gamma)
    x = x - _lift(mean, x)
    square = (x**2).mean(axes)
    return x * _lift(gamma * lax.rsqrt(square + EPSILON), x) + _lift(bias, x), mean, square


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def standardise_plain(x, gamma, bias, centred: bool):
    """As `standardise`, its gradient written out; the moments that it returns carry no gradient.

    With z = (x - mean) r, r = 1 / sqrt(square + eps), and g the cotangent of y:
    dx = gamma r (g - [E g] - z E[g z]), the bracket only where centred; dgamma = sum g z.
    """
    return _standardise_plain(x, gamma, bias, centred)[0]


def _standardise_plain(x, gamma, bias, centred):
    count = x.size // x.shape[-1]
    mean = _sum(x) / count if centred else jnp.zeros_like(gamma)
    z = x - _lift(mean, x)
    square = _sum(z**2) / count
    r = lax.rsqrt(square + EPSILON)
    return (z * _lift(gamma * r, x) + _lift(bias, x), mean, square), (x, gamma, mean, r)


def _standardise_backward(centred, residuals, cotangents):
    x, gamma, mean, r = residuals
    g, _, _ = cotangents
    count = x.size // x.shape[-1]
    z = (x - _lift(mean, x)) * _lift(r, x)
    sum_g, sum_gz = _sum(g), _sum(g * z)
    inner = g - z * _lift(sum_gz / count, x)
    if centred:
        inner = inner - _lift(sum_g / count, x)
    return inner * _lift(gamma * r, x), sum_gz, sum_g


standardise_plain.defvjp(_standardise_plain, _standardise_backward)

_GRADIENTS = {'xla': standardise, 'plain': standardise_plain}


def _sum(x):
    """Sum over all axes but the last, the long rows first: several times faster on XLA:CPU."""
    if x.ndim > 2:
        rows, channels = x.shape[-2:]
        x = x.reshape(-1, rows * channels).sum(0).reshape(rows, channels)
    return x.sum(0)


def _fold(average, value) -> None:
    average.value = MOMENTUM * average.value + (1 - MOMENTUM) * value


def _lift(per_channel, x):
    return per_channel.reshape((1,) * (x.ndim - 1) + (-1,))
