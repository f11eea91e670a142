"""Two-dimensional convolution with a choice of gradients, and the layers that multiply by weights.

    y[b, i, j, d] = sum_{u, v, c} x[b, s i + u - lo, s j + v - lo, c] kernel[u, v, c, d]

XLA:CPU runs the gradients that JAX derives from a convolution 10 to 180 times slower in a loop
body (scan, map, while) than outside one. The `plain` gradients are the same sums written as
convolutions in plain form (NHWC, HWIO, transposes spelled out), which are fast everywhere on the
CPU. Accelerators keep XLA's own. A `custom_vjp` has no forward derivative: what needs `jax.jvp`
takes the `xla` form, whose numbers are the same.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

_FORM = ('NHWC', 'HWIO', 'NHWC')

Padding = tuple[tuple[int, int], tuple[int, int]]


def convolve(x, kernel, stride: int = 1, padding: Padding | None = None, gradients: str = 'xla'):
    """The convolution above: x (B, H, W, C), kernel (k, k, C, D) -> (B, H', W', D).

    `padding` is (low, high) for each axis; None is (k - 1) // 2 on both sides, as in He et al.
    `gradients` is `xla` or `plain` (see the module); both give the same numbers.
    """
    if padding is None:
        padding = tuple(((k - 1) // 2, (k - 1) // 2) for k in kernel.shape[:2])
    if gradients == 'plain':
        return _plain(x, kernel, stride, padding)
    if gradients == 'xla':
        return _forward(x, kernel, stride, padding)
    raise ValueError(f'gradients={gradients!r} is neither plain nor xla')


def resolve_gradients(choice: str) -> str:
    """`plain` or `xla` for the config's `auto`: plain on the CPU, where it is faster."""
    if choice != 'auto':
        return choice
    return 'plain' if jax.default_backend() == 'cpu' else 'xla'


def initial_weights(gain: float = 1.0):
    """The initialiser of He et al., a truncated normal of variance gain^2 2 / fan_in."""
    return nn.initializers.variance_scaling(2.0 * gain**2, 'fan_in', 'truncated_normal')


class Convolution(nn.Module):
    """A k x k convolution without bias; He et al.'s initial weights, N(0, gain^2 2 / fan_in)."""

    features: int
    kernel: int = 3
    stride: int = 1
    gradients: str = 'auto'
    dtype: jnp.dtype = jnp.float32
    gain: float = 1.0

    @nn.compact
    def __call__(self, x):
        shape = (self.kernel, self.kernel, x.shape[-1], self.features)
        kernel = self.param('kernel', initial_weights(self.gain), shape, jnp.float32)
        gradients = resolve_gradients(self.gradients)
        return convolve(x, kernel.astype(self.dtype), self.stride, gradients=gradients)


def _forward(x, kernel, stride, padding):
    return lax.conv_general_dilated(x, kernel, (stride, stride), padding, dimension_numbers=_FORM)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _plain(x, kernel, stride, padding):
    return _forward(x, kernel, stride, padding)


def _plain_forward(x, kernel, stride, padding):
    return _forward(x, kernel, stride, padding), (x, kernel)


def _plain_backward(stride, padding, residuals, cotangent):
    x, kernel = residuals
    return (
        _input_gradient(x.shape, kernel, cotangent, stride, padding),
        _kernel_gradient(x, kernel.shape, cotangent, stride, padding),
    )


_plain.defvjp(_plain_forward, _plain_backward)


def _span(out: int, stride: int) -> int:
    return (out - 1) * stride + 1


def _input_gradient(shape, kernel, cotangent, stride, padding):
    """The cotangent, zeros between its pixels if strided, convolved with the turned kernel."""
    pads = [
        (k - 1 - low, n - _span(out, stride) + low)
        for k, n, out, (low, _) in zip(
            kernel.shape, shape[1:3], cotangent.shape[1:3], padding, strict=False
        )
    ]
    turned = kernel[::-1, ::-1].transpose(0, 1, 3, 2)
    return lax.conv_general_dilated(
        cotangent, turned, (1, 1), pads, lhs_dilation=(stride, stride), dimension_numbers=_FORM
    )


def _kernel_gradient(x, shape, cotangent, stride, padding):
    """Channels play the batch and images the channels: x as (C, H, W, B), cotangent as kernel."""
    pads = []
    for axis, (k, (low, _)) in enumerate(zip(shape[:2], padding, strict=True), start=1):
        n, span = x.shape[axis], _span(cotangent.shape[axis], stride)
        high = k - 1 + span - n - low
        if high < 0:  # pixels at the far edge that no window reads
            x = lax.slice_in_dim(x, 0, n + high, axis=axis)
        pads.append((low, max(high, 0)))
    gradient = lax.conv_general_dilated(
        x.transpose(3, 1, 2, 0),
        cotangent.transpose(1, 2, 0, 3),
        (1, 1),
        pads,
        rhs_dilation=(stride, stride),
        dimension_numbers=_FORM,
    )
    return gradient.transpose(1, 2, 0, 3)
