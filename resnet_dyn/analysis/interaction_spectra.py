"""How the blocks of a network act together, from all 2^L sub-networks at one checkpoint.

    walsh_k     sum_{|S| = k} F_S^2      moebius_k   sum_{|S| = k} a_S^2

of every logit of every example, summed over classes and averaged over examples: F_S are the Walsh
and a_S the Moebius coefficients of the logit as a function of the set of kept blocks
(`kernels.interactions`). sum_{k > 0} walsh_k is the variance over sub-networks. Order k stands at
index k. Shapley values share the gain of the full net over the empty one out to the blocks.

The logits of every token of a text do not fit into a memory 2^L times: there the spectra are those
of the loss of each example.
"""

import dataclasses
from typing import NamedTuple

import numpy as np

from resnet_dyn import fields
from resnet_dyn.analysis import effort as effort_lib
from resnet_dyn.analysis import subjects
from resnet_dyn.kernels import interactions, lesions, masks
from resnet_dyn.kernels import metrics as metrics_lib


@dataclasses.dataclass(frozen=True)
class Options:
    """How far to go."""

    exhaustive: int = fields.field(
        14,
        'the largest L of which all 2^L sub-networks are scored',
        low=1,
        high=20,
        serves='any',
    )
    of: str = fields.field(
        'auto',
        'what spectra are of: the logits of each example, or its loss; auto: the loss where '
        'outputs are of tokens',
        choices=('auto', 'logits', 'losses'),
    )


class Interactions(NamedTuple):
    """Spectra of S networks by order 0..L, and Shapley values of their blocks."""

    step: np.ndarray  # ()
    walsh_SR: np.ndarray
    moebius_SR: np.ndarray
    variance_S: np.ndarray  # over all masks, of the logits summed over classes or of the loss
    shapley_loss_SL: np.ndarray  # they sum to loss(full) - loss(empty), in nats
    shapley_error_SL: np.ndarray


def measure(subject: subjects.Subject, effort: effort_lib.Effort, options: Options) -> Interactions:
    """All masks on all examples; only `at_once` of them have their logits in memory together."""
    metrics = LOSSES if of_losses(subject, options) else ('loss', 'error', 'logits')
    stacks, L, examples = subject.stacks, subject.blocks, subject.examples.number
    masks_ML = masks.all_masks(L)
    walsh_SR, moebius_SR = np.zeros((2, len(stacks), L + 1))
    variance_S = np.zeros(len(stacks))
    scores_2SM = np.zeros((2, len(stacks), 2**L))
    for walk in effort_lib.walks(subject, effort._replace(how='map')):
        found = lesions.score(
            stacks[walk.rows.start],
            walk.inputs,
            walk.labels,
            masks_ML,
            metrics,
            budget=effort.budget,
            progress=walk.progress,
            mesh=effort.mesh,
        )
        share = len(walk.labels) / examples
        scores_2SM[:, walk.rows.start] += share * np.stack([found['loss'], found['error']])
        values = found['losses' if 'losses' in found else 'logits']
        values_MN = values.reshape(2**L, -1).astype(np.float64)
        walsh_SR[walk.rows] += _spectrum(interactions.walsh(values_MN)) / examples
        moebius_SR[walk.rows] += _spectrum(interactions.moebius(values_MN)) / examples
        variance_S[walk.rows] += values_MN.var(0).sum() / examples
    shapley_L2S = interactions.shapley(np.moveaxis(scores_2SM, -1, 0))
    shapley_loss_SL, shapley_error_SL = np.moveaxis(shapley_L2S, 0, -1)
    return Interactions(
        np.array(subject.origin.step),
        walsh_SR,
        moebius_SR,
        variance_S,
        shapley_loss_SL,
        shapley_error_SL,
    )


def cost(L: int, options: Options) -> effort_lib.Cost:
    """2^L - 1 block evaluations: one a sub-network."""
    return effort_lib.Cost((2**L - 1) / L)


def of_losses(subject: subjects.Subject, options: Options) -> bool:
    """Whether spectra are of losses."""
    if options.of == 'auto':
        return subject.examples.tokens and np.ndim(subject.examples.labels) > 1
    return options.of == 'losses'


def _losses(output, labels):
    """The loss of each example, as it is: no mean is taken of what is not (B,)."""
    return metrics_lib.cross_entropy(output, labels)[:, None]


LOSSES = {'loss': metrics_lib.cross_entropy, 'error': metrics_lib.wrong, 'losses': _losses}


def _spectrum(coefficients_MN) -> np.ndarray:
    return interactions.by_order(coefficients_MN).sum(1)
