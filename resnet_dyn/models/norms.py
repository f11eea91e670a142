"""Norms whose scale gamma is a variable of the collection `gammas`, apart from the params.

    batch: y = gamma (x - E[x]) / sqrt(Var[x] + eps) + bias       batch normalisation
    rms:   y = gamma x / sqrt(E[x^2] + eps)                       eq 20, sigma uncentred
    none:  y = x

per channel (last axis), the moments over all other axes of the batch in training, running
averages at inference. The variance is two-pass: E[x^2] - E[x]^2 is noise where the mean is large.
`rms` is not the per-example RMSNorm of language models.
"""

import flax.linen as nn
import jax.numpy as jnp
from jax import lax

EPSILON = 1e-5
MOMENTUM = 0.9


class Norm(nn.Module):
    """One norm: `kind` as above; `gamma` is the initial scale, the same for every channel."""

    kind: str = 'batch'
    gamma: float = 1.0

    @nn.compact
    def __call__(self, x, train: bool):
        """x (..., C) -> the same shape and dtype; statistics and gammas are float32."""
        if self.kind == 'none':
            return x
        channels = x.shape[-1]
        gamma = self.variable('gammas', 'gamma', jnp.full, (channels,), self.gamma, jnp.float32)
        dtype, x = x.dtype, x.astype(jnp.promote_types(x.dtype, jnp.float32))
        axes = tuple(range(x.ndim - 1))
        if self.kind == 'rms':
            square = self._running(
                'mean_square', jnp.ones, channels, train, lambda: (x**2).mean(axes)
            )
            factor = gamma.value * lax.rsqrt(square + EPSILON)
            return (x * _lift(factor, x)).astype(dtype)
        bias = self.param('bias', nn.initializers.zeros, (channels,), jnp.float32)
        mean = self._running('mean', jnp.zeros, channels, train, lambda: x.mean(axes))
        centred = x - _lift(mean, x)
        variance = self._running(
            'variance', jnp.ones, channels, train, lambda: (centred**2).mean(axes)
        )
        factor = gamma.value * lax.rsqrt(variance + EPSILON)
        return (centred * _lift(factor, x) + _lift(bias, x)).astype(dtype)

    def _running(self, name, initial, channels, train, moment):
        """The moment of this batch, folded into its running average, or the running average."""
        average = self.variable('batch_stats', name, initial, (channels,), jnp.float32)
        if not train:
            return average.value
        value = moment()
        if not self.is_initializing() and self.is_mutable_collection('batch_stats'):
            average.value = MOMENTUM * average.value + (1 - MOMENTUM) * value
        return value


def _lift(per_channel, x):
    return per_channel.reshape((1,) * (x.ndim - 1) + (-1,))
