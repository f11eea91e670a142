"""How much a network minds the order of its blocks: error after random swaps, by Kendall's tau.

`swaps` times two blocks of equal shape change places; tau is 1 for the order as trained and less
the more pairs of blocks are out of it (Veit et al. 2016, figure 5b). Orders are the same for all
networks and checkpoints.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from resnet_dyn.analysis import scope as scope_lib
from resnet_dyn.kernels import reorder


class Reorders(NamedTuple):
    """Scores of S networks at one checkpoint, N orders for each number of swaps."""

    step: np.ndarray  # ()
    full_loss_S: np.ndarray  # in the order as trained
    full_error_S: np.ndarray
    swaps_J: np.ndarray
    kendall_JN: np.ndarray
    loss_SJN: np.ndarray
    error_SJN: np.ndarray


def measure(step: int, stacks: Sequence, scope: scope_lib.Scope) -> Reorders:
    """Raises ValueError where no two blocks have equal shapes."""
    L = stacks[0].num_blocks
    swaps_J = numbers(L)
    keys = jax.random.split(scope.key('reorder'), len(swaps_J))
    orders = [
        order
        for key, swaps in zip(keys, swaps_J, strict=True)
        for order in reorder.random_swaps(key, stacks[0], int(swaps), scope.random)
    ]
    scores = [
        reorder.score(
            stack,
            scope.inputs,
            scope.labels,
            [tuple(range(L)), *orders],
            **scope.turn(s, len(stacks)).kernel(),
        )
        for s, stack in enumerate(stacks)
    ]
    shape = (len(swaps_J), scope.random)
    loss_SM, error_SM = (np.stack([score[name] for score in scores]) for name in ('loss', 'error'))
    return Reorders(
        step=np.array(step),
        full_loss_S=loss_SM[:, 0],
        full_error_S=error_SM[:, 0],
        swaps_J=swaps_J,
        kendall_JN=np.array([reorder.kendall_tau(order) for order in orders]).reshape(shape),
        loss_SJN=loss_SM[:, 1:].reshape(-1, *shape),
        error_SJN=error_SM[:, 1:].reshape(-1, *shape),
    )


def numbers(L: int) -> np.ndarray:
    """Numbers of swaps: 1, 2, 4, ... up to L."""
    return 2 ** np.arange(L.bit_length())


def cost(L: int, scope: scope_lib.Scope) -> scope_lib.Cost:
    """An order is a forward pass, if it shared nothing with any other."""
    return scope_lib.Cost(len(numbers(L)) * scope.random + 1)
