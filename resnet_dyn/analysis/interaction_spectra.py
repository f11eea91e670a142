"""How the blocks of a network act together, from all 2^L sub-networks at one checkpoint.

    walsh_k     sum_{|S| = k} F_S^2      moebius_k   sum_{|S| = k} a_S^2

of every logit of every example, summed over classes and averaged over examples: F_S are the Walsh
and a_S the Moebius coefficients of the logit as a function of the set of kept blocks
(`kernels.interactions`). sum_{k > 0} walsh_k is the variance over sub-networks. Order k stands at
index k. Shapley values share the gain of the full net over the empty one out to the blocks.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from resnet_dyn.analysis import scope as scope_lib
from resnet_dyn.kernels import interactions, lesions, masks

TABLES = 4  # of all logits that a transform holds at once, in float64


class Interactions(NamedTuple):
    """Spectra of S networks by order 0..L, and Shapley values of their blocks."""

    step: np.ndarray  # ()
    walsh_SR: np.ndarray
    moebius_SR: np.ndarray
    variance_S: np.ndarray  # of the logits over all masks, summed over classes
    shapley_loss_SL: np.ndarray  # they sum to loss(full) - loss(empty), in nats
    shapley_error_SL: np.ndarray


def measure(step: int, stacks: Sequence, scope: scope_lib.Scope) -> Interactions:
    """All masks on all examples; only `at_once` of them have their logits in memory together."""
    L = stacks[0].num_blocks
    masks_ML = masks.all_masks(L)
    walsh_SR, moebius_SR = np.zeros((2, len(stacks), L + 1))
    variance_S = np.zeros(len(stacks))
    scores_2SM = np.zeros((2, len(stacks), 2**L))
    for walk in scope_lib.walks(stacks, scope._replace(how='map')):
        found = lesions.score(
            stacks[walk.rows.start],
            walk.inputs,
            walk.labels,
            masks_ML,
            ('loss', 'error', 'logits'),
            budget=scope.budget,
            progress=walk.progress,
        )
        share = len(walk.labels) / scope.examples
        scores_2SM[:, walk.rows.start] += share * np.stack([found['loss'], found['error']])
        logits_MN = found['logits'].reshape(2**L, -1).astype(np.float64)
        walsh_SR[walk.rows] += _spectrum(interactions.walsh(logits_MN)) / scope.examples
        moebius_SR[walk.rows] += _spectrum(interactions.moebius(logits_MN)) / scope.examples
        variance_S[walk.rows] += logits_MN.var(0).sum() / scope.examples
    shapley_L2S = interactions.shapley(np.moveaxis(scores_2SM, -1, 0))
    shapley_loss_SL, shapley_error_SL = np.moveaxis(shapley_L2S, 0, -1)
    return Interactions(
        np.array(step), walsh_SR, moebius_SR, variance_S, shapley_loss_SL, shapley_error_SL
    )


def cost(L: int, scope: scope_lib.Scope) -> scope_lib.Cost:
    """2^L - 1 block evaluations: one a sub-network."""
    return scope_lib.Cost((2**L - 1) / L)


def table_bytes(L: int, classes: int, scope: scope_lib.Scope) -> int:
    """Memory of the logits of all sub-networks on `at_once` examples, and of their transforms."""
    return TABLES * 8 * 2**L * min(scope.at_once, scope.examples) * classes


def _spectrum(coefficients_MN) -> np.ndarray:
    return interactions.by_order(coefficients_MN).sum(1)
