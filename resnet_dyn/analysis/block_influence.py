"""What each block does to the signal at one checkpoint, without deleting anything.

    |branch| / |skip|,  1 - cos(skip, output),  cos(branch, d loss / d total),  angle(h_i, h_j) / pi

each for every example by itself, of every token, or of the last token, then averaged
(`kernels.influence` has sources and conventions).
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from resnet_dyn import fields
from resnet_dyn.analysis import effort as effort_lib
from resnet_dyn.analysis import subjects
from resnet_dyn.kernels import influence, metrics


@dataclasses.dataclass(frozen=True)
class Options:
    """What is a vector."""

    over: str = fields.field(
        'auto',
        'what a vector is: an example as it is; each token, as in ShortGPT; the last token, as '
        'Gromov et al. have it; auto: tokens where the inputs are',
        choices=('auto', *influence.OVER),
    )


class Influences(NamedTuple):
    """Means over examples or tokens of S networks; N = L + 1 depths, depth l block l's input."""

    step: np.ndarray  # ()
    branch_over_skip_SL: np.ndarray
    block_influence_SL: np.ndarray
    gradient_cosine_SL: np.ndarray  # < 0 where the branch goes down the loss
    angular_distance_SNN: np.ndarray  # in units of pi; NaN where the shapes of h differ


def measure(
    subject: subjects.Subject, effort: effort_lib.Effort, options: Options | None = None
) -> Influences:
    """One forward and one backward pass."""
    over = 'auto' if options is None else options.over
    if over == 'auto':
        over = 'token' if subject.examples.tokens else 'example'
    *sums, count_S = effort_lib.totals(_sums, subject, effort, masked=True, over=over)
    arrays = [(total.T / count_S).T.astype(np.float32) for total in sums]
    return Influences(np.array(subject.origin.step), *arrays)


def cost(L: int, options=None) -> effort_lib.Cost:
    """A forward and a backward pass, whatever L."""
    return effort_lib.Cost(1, 1)


@functools.partial(jax.jit, static_argnames='over')
def _sums(stack, inputs, labels, mask, over):
    """Sums of all means by their weights, and the weight."""

    def loss(logits):
        return metrics.cross_entropy(logits, labels).sum()

    found = influence.measure(stack, inputs, loss, over, mask)
    count = influence.count(len(labels), over, mask)
    return *(mean * count for mean in found), jnp.asarray(count, float)
