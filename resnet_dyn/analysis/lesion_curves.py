"""How much a network misses its blocks: loss and error with some of them deleted.

    h_{l+1} = skip_l(h_l)  for a deleted block (gate 0), everything else as trained

one block (Veit et al. 2016, figure 3), any two, a random choice of j (figure 5a), or always the one
that is missed least (greedy). The norms keep the statistics that the networks came with.
"""

import dataclasses
import math
from typing import NamedTuple

import jax
import numpy as np

from resnet_dyn import fields
from resnet_dyn.analysis import effort as effort_lib
from resnet_dyn.analysis import subjects
from resnet_dyn.kernels import lesions, masks, prefix_tree

Cost, Effort, Subject = effort_lib.Cost, effort_lib.Effort, subjects.Subject

NUMBERS = 20  # different numbers of deleted blocks, at most, beside none


class SingleLesions(NamedTuple):
    """Scores of S networks at one checkpoint: the full nets, and each without one block."""

    VERSION = 2

    step: np.ndarray  # ()
    full_loss_S: np.ndarray  # mean cross-entropy in nats
    full_error_S: np.ndarray  # fraction of examples
    loss_SL: np.ndarray  # without block l
    error_SL: np.ndarray
    first_order_SL: np.ndarray  # -d loss / d g_l, a guess of loss_SL - full_loss_S


class PairLesions(NamedTuple):
    """Scores without the blocks l and m at [s, l, m] = [s, m, l]; on the diagonal l alone is."""

    step: np.ndarray
    full_loss_S: np.ndarray
    full_error_S: np.ndarray
    loss_SLL: np.ndarray
    error_SLL: np.ndarray


@dataclasses.dataclass(frozen=True)
class RandomOptions:
    """How much is drawn."""

    draws: int = fields.field(
        20, 'masks drawn for each number of deleted blocks', low=1, high=100_000, serves='more'
    )


class RandomLesions(NamedTuple):
    """Scores under M random choices of j deleted blocks, the same choices for all networks.

    What is said of them over networks and choices is not of S M independent values: average over
    networks first, then over choices (`summaries.over_choices`).
    """

    VERSION = 2

    step: np.ndarray
    deleted_J: np.ndarray  # j
    loss_SJM: np.ndarray
    error_SJM: np.ndarray


@dataclasses.dataclass(frozen=True)
class GreedyOptions:
    """What goes at a time."""

    of: str = fields.field(
        'blocks',
        'what is deleted at a time: a block, or all blocks of a layer, where networks say which '
        'belong together',
        choices=('blocks', 'layers'),
    )


class GreedyLesions(NamedTuple):
    """Blocks deleted one by one, each time the one without which the loss is smallest.

    Where whole layers are deleted, these stand in place of blocks, numbered from 0.
    """

    step: np.ndarray
    deleted_SL: np.ndarray  # the blocks in the order in which they go
    loss_SJ: np.ndarray  # with the first j of them deleted, j = 0..L
    error_SJ: np.ndarray


def single(subject: Subject, effort: Effort, options=None) -> SingleLesions:
    """Raises ValueError where a block has no skip (block kind plain), as all of these do."""
    loss_SM, error_SM = _scores(subject, masks.up_to(subject.blocks, 1), effort)
    slopes_SL = effort_lib.totals(_slopes, subject, effort._replace(progress=None))
    slopes_SL /= subject.examples.number
    return SingleLesions(
        step=np.array(subject.origin.step),
        full_loss_S=loss_SM[:, 0],
        full_error_S=error_SM[:, 0],
        loss_SL=loss_SM[:, 1:],
        error_SL=error_SM[:, 1:],
        first_order_SL=slopes_SL.astype(np.float32),
    )


def pairs(subject: Subject, effort: Effort, options=None) -> PairLesions:
    """All C(L, 2) pairs, and each block alone."""
    L = subject.blocks
    masks_ML = masks.up_to(L, min(L, 2))
    loss_SM, error_SM = _scores(subject, masks_ML, effort)
    ends = [np.flatnonzero(mask_L == 0)[[0, -1]] for mask_L in masks_ML[1:]]
    first_M, last_M = np.array(ends).T

    def square(values_SM):
        values_SLL = np.empty((len(values_SM), L, L), values_SM.dtype)
        values_SLL[:, first_M, last_M] = values_SLL[:, last_M, first_M] = values_SM[:, 1:]
        return values_SLL

    return PairLesions(
        np.array(subject.origin.step),
        loss_SM[:, 0],
        error_SM[:, 0],
        square(loss_SM),
        square(error_SM),
    )


def random(subject: Subject, effort: Effort, options: RandomOptions) -> RandomLesions:
    """`options.draws` masks for each number of deleted blocks, 0 and L included."""
    L = subject.blocks
    deleted_J = numbers(L)
    keys = jax.random.split(effort_lib.key(subject, 'random'), len(deleted_J))
    masks_JML = [
        masks.random(key, L, int(j), options.draws) for key, j in zip(keys, deleted_J, strict=True)
    ]
    scores = _scores(subject, np.concatenate(masks_JML), effort)
    shape = (len(subject.stacks), len(deleted_J), options.draws)
    loss_SJM, error_SJM = (values_SM.reshape(shape) for values_SM in scores)
    return RandomLesions(np.array(subject.origin.step), deleted_J, loss_SJM, error_SJM)


def greedy(subject: Subject, effort: Effort, options: GreedyOptions | None = None) -> GreedyLesions:
    """Down to no block at all; the choice is by the loss on the examples that are scored."""
    orders, scores, S = [], [], len(subject.stacks)
    units = subject.stacks[0].groups if options is not None and options.of == 'layers' else None
    for s in range(S):
        alone, turn = subject.some([s]), effort.turn(s, S)
        inputs, labels = alone.examples.inputs, alone.examples.labels
        found = lesions.greedy(alone.stacks[0], inputs, labels, groups=units, **turn.kernel(alone))
        orders.append(np.asarray(found.deleted_J))
        place_U = np.argsort(orders[-1])
        masks_JU = (place_U >= np.arange(len(place_U) + 1)[:, None]).astype(np.float32)
        masks_JL = masks_JU if units is None else masks.of_groups(masks_JU, units, alone.blocks)
        scores.append(_scores(alone, masks_JL, effort._replace(progress=None)))
    loss_SJ, error_SJ = (np.concatenate(values) for values in zip(*scores, strict=True))
    return GreedyLesions(np.array(subject.origin.step), np.stack(orders), loss_SJ, error_SJ)


def numbers(L: int) -> np.ndarray:
    """The numbers of blocks that `random` deletes: 0..L, or about 20 of them."""
    return np.unique(np.linspace(0, L, min(L, NUMBERS) + 1).round().astype(int))


def single_cost(L: int, options=None) -> Cost:
    """L (L + 1) / 2 block evaluations, the full net among them, and one gradient."""
    return Cost((L + 1) / 2 + 1, 1)


def pairs_cost(L: int, options=None) -> Cost:
    """sum_{z=0}^{2} C(L, z + 1) block evaluations."""
    return Cost(sum(math.comb(L, z + 1) for z in range(3)) / L)


def random_cost(L: int, options: RandomOptions) -> Cost:
    """Expected over the masks that might be drawn, if numbers share nothing with one another."""
    evaluations = [
        prefix_tree.expected_block_evaluations(L, int(j), options.draws) for j in numbers(L)
    ]
    return Cost(sum(evaluations) / L)


def greedy_cost(L: int, options=None) -> Cost:
    """All single lesions of nets of L, L - 1, ..., 1 blocks, then at most L (L + 1) / 2."""
    evaluations = sum((n - 1) * (n + 2) // 2 for n in range(1, L + 1))
    return Cost(evaluations / L + (L + 1) / 2)


def _scores(subject: Subject, masks_ML, effort: Effort):
    """Loss and error (S, M), each the mean over all examples."""
    total_2SM = np.zeros((2, len(subject.stacks), len(masks_ML)))
    for walk in effort_lib.walks(subject, effort):
        found = lesions.score_seeds(
            subject.stacks[walk.rows],
            walk.inputs,
            walk.labels,
            masks_ML,
            how=effort.how,
            budget=effort.budget,
            progress=walk.progress,
            mesh=effort.mesh,
        )
        share = len(walk.labels) / subject.examples.number
        total_2SM[:, walk.rows] += share * np.stack([found['loss'], found['error']])
    return total_2SM.astype(np.float32)


@jax.jit
def _slopes(stack, inputs, labels):
    return lesions.first_order(stack, inputs, labels) * len(labels)
