"""How much a network minds the order of its blocks: error after random swaps, by Kendall's tau.

`swaps` times two blocks of equal shape change places; tau is 1 for the order as trained and less
the more pairs of blocks are out of it (Veit et al. 2016, figure 5b). Orders are the same for all
networks and checkpoints.

Where few blocks can change places, swaps lead to few orders, and back to the one as trained: an
order counts once for each number of swaps that led to it, the one as trained not at all, and
`possible_orders` says how many there are.
"""

import dataclasses
import math
from typing import NamedTuple

import jax
import numpy as np

from resnet_dyn import fields
from resnet_dyn.analysis import effort as effort_lib
from resnet_dyn.analysis import subjects
from resnet_dyn.kernels import reorder


@dataclasses.dataclass(frozen=True)
class Options:
    """How much is drawn."""

    draws: int = fields.field(20, 'orders drawn for each number of swaps', low=1, serves='more')


class Reorders(NamedTuple):
    """Scores of S networks at one checkpoint under N orders, none of them the one as trained."""

    VERSION = 2

    step: np.ndarray  # ()
    full_loss_S: np.ndarray  # in the order as trained
    full_error_S: np.ndarray
    swaps_N: np.ndarray  # that led to the order; orders differ where their numbers are equal
    orders_N: np.ndarray  # 0, 1, ..: the same for rows of one order, to which several numbers led
    kendall_N: np.ndarray
    loss_SN: np.ndarray
    error_SN: np.ndarray
    possible_orders: np.ndarray  # () that blocks of equal shape can stand in, as trained included


def measure(subject: subjects.Subject, effort: effort_lib.Effort, options: Options) -> Reorders:
    """Raises ValueError where no two blocks have equal shapes."""
    stacks, L, examples = subject.stacks, subject.blocks, subject.examples
    groups = reorder.alike(stacks[0], examples.first(2))
    drawn = _drawn(subject, groups, options)
    distinct = list(dict.fromkeys(order for _, order in drawn))
    scores = [
        reorder.score(
            stack,
            examples.inputs,
            examples.labels,
            [tuple(range(L)), *distinct],
            **effort.turn(s, len(stacks)).kernel(subject),
        )
        for s, stack in enumerate(stacks)
    ]
    loss_SM, error_SM = (np.stack([score[name] for score in scores]) for name in ('loss', 'error'))
    rows_N = [1 + distinct.index(order) for _, order in drawn]
    return Reorders(
        step=np.array(subject.origin.step),
        full_loss_S=loss_SM[:, 0],
        full_error_S=error_SM[:, 0],
        swaps_N=np.array([swaps for swaps, _ in drawn]),
        orders_N=np.array(rows_N, int) - 1,
        kendall_N=np.array([reorder.kendall_tau(order) for _, order in drawn]),
        loss_SN=loss_SM[:, rows_N],
        error_SN=error_SM[:, rows_N],
        possible_orders=np.array(math.prod(math.factorial(len(group)) for group in groups), float),
    )


def numbers(L: int) -> np.ndarray:
    """Numbers of swaps: 1, 2, 4, ... up to L."""
    return 2 ** np.arange(L.bit_length())


def cost(L: int, options: Options) -> effort_lib.Cost:
    """An order is a forward pass, if it shared nothing with any other: an upper bound."""
    return effort_lib.Cost(len(numbers(L)) * options.draws + 1)


def _drawn(subject, groups, options: Options) -> list[tuple[int, tuple[int, ...]]]:
    """(swaps, order) of all draws, each pair once, without the order as trained."""
    swaps_J = numbers(subject.blocks)
    keys = jax.random.split(effort_lib.key(subject, 'reorder'), len(swaps_J))
    drawn = [
        (int(swaps), order)
        for key, swaps in zip(keys, swaps_J, strict=True)
        for order in reorder.random_swaps(key, subject.stacks[0], int(swaps), options.draws, groups)
    ]
    trained = tuple(range(subject.blocks))
    return [pair for pair in dict.fromkeys(drawn) if pair[1] != trained]
