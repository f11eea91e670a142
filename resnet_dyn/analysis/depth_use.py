"""How deep networks are by the measures of language models (`kernels.depth_use`), in blocks.

    sign change       the last l with cos(branch_l, skip_l) < 0 and >= 0 in block l + 1: l + 1
    divergence depth  blocks passed, from which on KL(lens || output) is below half of its largest
    overlap depth     ... from which on the overlap o is above 0.3: (o - n/K) / (1 - n/K) > 0.3
    later change      RMS change of the branches behind a block that is skipped, over their RMS

The thresholds are those of the code of Hu et al. 2025 (arXiv 2512.14064), with two mends: the depth
from which on, not the first one, and the overlap beyond that of chance. Depths are linear between
blocks (`curve_depths` says why, and how `effective_depth` differs). The changes are root mean
squares over examples, where Csordas et al. 2025 (arXiv 2505.13898) take the largest.
"""

from typing import NamedTuple

import numpy as np

from resnet_dyn.analysis import curve_depths, subjects, summaries
from resnet_dyn.analysis import effort as effort_lib
from resnet_dyn.kernels import depth_use

DIVERGENCE, OVERLAP = 0.5, 0.3  # shares of the largest divergence, and of what is above chance


class DepthUse(NamedTuple):
    """Means over examples of S networks; N = L + 1 depths, depth l the input of block l."""

    step: np.ndarray  # ()
    cosine_SL: np.ndarray
    divergence_SN: np.ndarray  # nats; NaN where the head does not take h_l
    overlap_SN: np.ndarray  # likewise
    chance: np.ndarray  # () of the overlap, n / K
    change_SLL: np.ndarray  # without block l (row) of branch m; NaN for m <= l and branches of 0
    later_change_SL: np.ndarray  # its mean over m; NaN for the last block
    sign_change_S: np.ndarray  # blocks; NaN where there is none
    divergence_depth_S: np.ndarray
    overlap_depth_S: np.ndarray


def measure(subject: subjects.Subject, effort: effort_lib.Effort, options=None) -> DepthUse:
    """L + 1 forward passes."""
    sums = effort_lib.totals(_sums, subject, effort, masked=True)
    cosine_SL, divergence_SN, overlap_SN = (
        (total / subject.examples.number).astype(np.float32) for total in sums[:3]
    )
    chance = depth_use.top(subject.outputs) / subject.outputs
    change_SLL = _ratios(sums.change_LL, sums.branch_L)
    beyond_SN = curve_depths.beyond_chance(overlap_SN, chance)
    halves_S = [curve_depths.share_of_largest(curve_N, DIVERGENCE) for curve_N in divergence_SN]
    return DepthUse(
        step=np.array(subject.origin.step),
        cosine_SL=cosine_SL,
        divergence_SN=divergence_SN,
        overlap_SN=overlap_SN,
        chance=np.array(chance),
        change_SLL=change_SLL,
        later_change_SL=np.array([summaries.mean_of_there(rows_LL) for rows_LL in change_SLL]),
        sign_change_S=np.array([sign_change(cosine_L) for cosine_L in cosine_SL]),
        divergence_depth_S=_depths(divergence_SN, halves_S),
        overlap_depth_S=_depths(-beyond_SN, [-OVERLAP] * len(beyond_SN)),
    )


def cost(L: int, options=None) -> effort_lib.Cost:
    """A forward pass of the whole network, one without each block, and the head at every depth."""
    return effort_lib.Cost(L + 1, heads=L + 1)


def sign_change(cosine_L) -> float:
    """Blocks before the last one whose cosine is 0 or more behind one of below 0; NaN for none."""
    changes = np.flatnonzero((cosine_L[:-1] < 0) & (cosine_L[1:] >= 0))
    return float(changes[-1] + 1) if changes.size else np.nan


def _sums(stack, inputs, labels, mask) -> depth_use.Sums:
    return depth_use.sums(stack, inputs, mask)


def _depths(curves_SN, thresholds_S) -> np.ndarray:
    pairs = zip(curves_SN, thresholds_S, strict=True)
    return np.array([curve_depths.from_on(*pair, between=True) for pair in pairs])


def _ratios(change_SLL, branch_SL) -> np.ndarray:
    """Root mean squares over those of the whole network, above the diagonal."""
    behind_LL = np.triu(np.ones(change_SLL.shape[1:], bool), 1)
    there_SLL = behind_LL & (branch_SL > 0)[:, None]
    shares_SLL = change_SLL / np.where(branch_SL > 0, branch_SL, 1)[:, None]
    return np.where(there_SLL, np.sqrt(shares_SLL), np.nan).astype(np.float32)
