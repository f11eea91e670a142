"""Theorem 3's condition and Theorem 4's bracket at one moment of a real training.

    condition_l = |sum_b slope_lb| / sum_b |slope_lb|     0 where Theorem 3 speaks of branch l
    drive_l     = (|g_p|^2 + g_p . g_m) / |g|^2           its scale then grows iff positive
    bracket     = g . sum_r r g_r / |g|^2                 eq 25 over all lengths r = k + 1
    scale       = 1 + w . H g / |g|^2                     the same for w -> C w, literally; C then
                                                          grows iff it is positive
    cosine      = w . g / (|w| |g|)                       0 where Theorem 4 speaks of C

for the mean cross-entropy on the examples (`kernels.growth` has the equations). w are the kernels
of the whole network, stem and head too; the norms are held at the statistics of the moment, as the
theorems hold sigma. What gammas and norms do then is in `gamma_profiles` and in what training
records.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from resnet_dyn.analysis import effort as effort_lib
from resnet_dyn.analysis import subjects
from resnet_dyn.kernels import growth as kernel
from resnet_dyn.kernels import metrics


class Growth(NamedTuple):
    """Of S networks at one checkpoint."""

    step: np.ndarray  # ()
    slope_SL: np.ndarray  # d loss / d gate_l, mean over examples
    condition_SL: np.ndarray  # in [0, 1]; NaN where no example has a slope
    drive_SL: np.ndarray
    first_condition_S: np.ndarray  # |sum_b v_b.Y_b| / sum_b |v_b.Y_b|: of scales no path skips
    bracket_S: np.ndarray
    scale_bracket_S: np.ndarray
    cosine_S: np.ndarray
    gradient_norm_S: np.ndarray  # |g|; 0 makes NaN of all that is over it
    weight_norm_S: np.ndarray  # |w|


def measure(subject: subjects.Subject, effort: effort_lib.Effort, options=None) -> Growth:
    """Two passes over the examples: the gradient, and what it does along itself."""
    rows = [_of_one(subject.some([s]), effort) for s in range(len(subject.stacks))]
    return Growth(np.array(subject.origin.step), *map(np.stack, zip(*rows, strict=True)))


def cost(L: int, options=None) -> effort_lib.Cost:
    """A forward and a backward pass for g, and their derivative, which takes twice as long."""
    return effort_lib.Cost(4, 3)


def _of_one(subject, effort) -> tuple:
    """The row of one network, in the order of the record's fields."""
    sums = effort_lib.totals(_gradient, subject, effort.turn(0, 2))
    g = [sum_1[0] / subject.examples.number for sum_1 in sums]
    weights = kernel.weights(subject.stacks[0])
    direction = [jnp.asarray(part, w.dtype) for part, w in zip(g, weights, strict=True)]

    sums = effort_lib.totals(_along, subject, effort.turn(1, 2), shared=(direction,))
    slope_L, size_L, drive_L, curvature, output, output_size = (
        sum_1[0] / subject.examples.number for sum_1 in sums
    )
    w = [np.asarray(part, np.float64) for part in weights]
    g2, w2, wg = _dot(g, g), _dot(w, w), _dot(w, g)
    return (
        slope_L,
        _over(np.abs(slope_L), size_L),
        _over(drive_L, g2),
        _over(abs(output), output_size),
        1 + _over(drive_L.sum(), g2),
        1 + _over(curvature, g2),
        _over(wg, np.sqrt(w2 * g2)),
        np.sqrt(g2),
        np.sqrt(w2),
    )


def _loss(labels):
    return lambda logits: metrics.cross_entropy(logits, labels).sum()


@jax.jit
def _gradient(stack, inputs, labels):
    return kernel.gradient(stack, inputs, _loss(labels))


@jax.jit
def _along(stack, inputs, labels, direction):
    """Sums over examples."""
    found = kernel.along(stack, inputs, _loss(labels), direction)
    slope_LB, output_B = found.slope_LB, found.output_B
    sizes_L = jnp.abs(slope_LB).sum(1)
    outputs = output_B.sum(), jnp.abs(output_B).sum()
    return slope_LB.sum(1), sizes_L, found.drive_L, found.curvature, *outputs


def _dot(a, b) -> float:
    return sum(float((one * other).sum()) for one, other in zip(a, b, strict=True))


def _over(a, b) -> np.ndarray:
    """a / b, NaN where b is 0."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return np.where(b == 0, np.nan, a / np.where(b == 0, 1, b))
