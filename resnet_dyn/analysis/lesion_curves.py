"""How much a network misses each of its blocks: loss and error with one block deleted.

    h_{l+1} = skip_l(h_l)  for the deleted block (gate 0), everything else as trained

after Veit et al. 2016, figure 3. The norms keep their running statistics.
"""

from typing import NamedTuple

import numpy as np

from resnet_dyn.kernels import lesions, masks
from resnet_dyn.models import stack as stack_lib

EXAMPLES_A_CALL = 4_000  # examples times masks in one compiled call: bounds the memory


class SingleLesions(NamedTuple):
    """Scores of S networks at one checkpoint: the full nets, and each without one block."""

    step: np.ndarray  # ()
    full_loss_S: np.ndarray  # mean cross-entropy in nats
    full_error_S: np.ndarray  # fraction of examples
    loss_SL: np.ndarray  # without block l
    error_SL: np.ndarray


def measure_single(step: int, stacks, inputs, labels) -> SingleLesions:
    """Scores the networks `stacks` (S of them) on normalised inputs (B, ...), labels (B,).

    Raises ValueError where a block has no skip (block kind plain).
    """
    scores = [_scores(stack, inputs, labels) for stack in stacks]
    loss_SM, error_SM = (np.stack([score[name] for score in scores]) for name in ('loss', 'error'))
    return SingleLesions(
        step=np.array(step),
        full_loss_S=loss_SM[:, 0],
        full_error_S=error_SM[:, 0],
        loss_SL=loss_SM[:, 1:],
        error_SL=error_SM[:, 1:],
    )


def forward_passes(blocks: int) -> int:
    """What `measure_single` costs for one network, in forward passes of the whole set."""
    return blocks + 1


def _scores(stack, inputs, labels):
    blocks = stack_lib.num_blocks(stack)
    masks_ML = np.concatenate([np.ones((1, blocks), np.float32), masks.single(blocks)])
    chunk = max(1, min(lesions.CHUNK, EXAMPLES_A_CALL // len(labels)))
    return lesions.score(stack, inputs, labels, masks_ML, chunk=chunk)
