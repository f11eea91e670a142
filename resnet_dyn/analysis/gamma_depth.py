"""The depth law that the gammas of a network alone predict: `theory.network_depth`, no example.

    r = 1 + sum_l Bernoulli(q_l),  q_l = b_l^2 / (1 + b_l^2),  b_l^2 = gamma_l^2 / sigma_l^2

gamma_l is the root mean square over channels of the last norm of branch l, the one whose scale the
branch leaves with. sigma is either recomputed, as these gammas make it in a network whose weights
are those of the start, or frozen at what it was with all gammas 1 (what Theorem 3 assumes). The
gradient's gains, so that the law is that of path energies (`path_spectra`), not of the powers of
the signal (`depth_measures`): where norms centre these differ from the start. An approximation
once weights are trained, and for convolutions and skips that change the shape; a gamma can be
folded into the next weights, so that gammas alone prove nothing.
"""

from typing import NamedTuple

import numpy as np

from resnet_dyn.analysis import effort as effort_lib
from resnet_dyn.analysis import subjects
from resnet_dyn.models import builders, gammas
from resnet_dyn.theory import batch_norm_depth, network_depth


class GammaDepth(NamedTuple):
    """Both laws of S networks at one checkpoint; P(r) at index r - 1, R = L + 1."""

    step: np.ndarray  # ()
    gamma_SL: np.ndarray  # root mean square over channels
    recomputed_SR: np.ndarray
    frozen_SR: np.ndarray
    recomputed_mean_S: np.ndarray  # E[r]
    frozen_mean_S: np.ndarray


def measure(subject: subjects.Subject, effort=None, options=None) -> GammaDepth:
    """The laws of S networks from the collections `gammas` of their parameters."""
    gamma_SL, found = [], {sigma: [] for sigma in batch_norm_depth.SIGMAS}
    for stack in subject.stacks:
        style, collection = builders.style(stack), gammas.of_stack(stack)
        norms = [gammas.norms(block) for block in gammas.by_block(collection)]
        gamma_L = np.array([_root_mean_square(block[-1]) for block in norms])
        first = collection.get('stem', {}).get('norm')
        first = 1.0 if first is None else _root_mean_square(first['gamma'])
        for sigma, laws in found.items():
            q_L = network_depth.branch_probabilities(
                style.block, style.norm, gamma_L, first, layers=len(norms[0]), sigma=sigma
            )
            laws.append(batch_norm_depth.depth_law(q_L))
        gamma_SL.append(gamma_L)
    lengths_R = np.arange(1, subject.blocks + 2)
    laws = {sigma: np.array(laws) for sigma, laws in found.items()}
    return GammaDepth(
        step=np.array(subject.origin.step),
        gamma_SL=np.array(gamma_SL),
        **{f'{sigma}_SR': law_SR for sigma, law_SR in laws.items()},
        **{f'{sigma}_mean_S': law_SR @ lengths_R for sigma, law_SR in laws.items()},
    )


def cost(L: int, options=None) -> effort_lib.Cost:
    """Nothing: no example is looked at."""
    return effort_lib.Cost()


def _root_mean_square(gamma_C) -> float:
    return float(np.sqrt((np.asarray(gamma_C, np.float64) ** 2).mean()))
