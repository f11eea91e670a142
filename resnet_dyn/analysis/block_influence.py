"""What each block does to the signal at one checkpoint, without deleting anything.

    |branch| / |skip|,  1 - cos(skip, output),  cos(branch, d loss / d total),  angle(h_i, h_j) / pi

each for every example by itself, then averaged (`kernels.influence` has sources and conventions).
"""

from typing import NamedTuple

import jax
import numpy as np

from resnet_dyn.analysis import effort as effort_lib
from resnet_dyn.analysis import subjects
from resnet_dyn.kernels import influence, metrics


class Influences(NamedTuple):
    """Means over examples of S networks; N = L + 1 depths, depth l the input of block l."""

    step: np.ndarray  # ()
    branch_over_skip_SL: np.ndarray
    block_influence_SL: np.ndarray
    gradient_cosine_SL: np.ndarray  # < 0 where the branch goes down the loss
    angular_distance_SNN: np.ndarray  # in units of pi; NaN where the shapes of h differ


def measure(subject: subjects.Subject, effort: effort_lib.Effort, options=None) -> Influences:
    """One forward and one backward pass."""
    means = effort_lib.totals(_sums, subject, effort)
    examples = subject.examples.number
    arrays = jax.tree.map(lambda sums: (sums / examples).astype(np.float32), means)
    return Influences(np.array(subject.origin.step), *arrays)


def cost(L: int, options=None) -> effort_lib.Cost:
    """A forward and a backward pass, whatever L."""
    return effort_lib.Cost(1, 1)


@jax.jit
def _sums(stack, inputs, labels):
    def loss(logits):
        return metrics.cross_entropy(logits, labels).sum()

    found = influence.measure(stack, inputs, loss)
    return jax.tree.map(lambda mean: mean * len(labels), tuple(found))
