"""The gammas of networks by block and scale: the scales that Figure 1(d) follows.

mean_SLN = mean over channels of |gamma|,   spread_SLN = its standard deviation over channels
"""

from typing import NamedTuple

import jax
import numpy as np

from resnet_dyn.analysis import effort as effort_lib
from resnet_dyn.analysis import subjects
from resnet_dyn.models import gammas


class Gammas(NamedTuple):
    """|gamma| at one checkpoint, over channels, by block and scale; N scales in a branch.

    NaN where a block lacks a scale, or the stem has none (preact nets). A branch's own scale is one
    number, so that its spread is 0.
    """

    step: np.ndarray  # ()
    norms_N: np.ndarray  # their names, in the order of the forward pass
    mean_SLN: np.ndarray
    spread_SLN: np.ndarray
    stem_mean_S: np.ndarray
    stem_spread_S: np.ndarray


def measure(subject: subjects.Subject, effort=None, options=None) -> Gammas:
    """The profile of S networks from the collections `gammas` of their parameters."""
    networks = [jax.tree.map(np.asarray, gammas.of_stack(stack)) for stack in subject.stacks]
    blocks_SL = [gammas.by_block(network) for network in networks]
    norms = gammas.in_order({name for block in blocks_SL[0] for name in block})
    absolute = [
        [[np.abs(block[n]) if n in block else None for n in norms] for block in blocks_L]
        for blocks_L in blocks_SL
    ]
    stems = [
        np.abs(n['stem']['norm']['gamma']) if 'norm' in n.get('stem', {}) else None
        for n in networks
    ]
    return Gammas(
        step=np.array(subject.origin.step),
        norms_N=np.array(norms),
        mean_SLN=_over_channels(np.mean, absolute),
        spread_SLN=_over_channels(np.std, absolute),
        stem_mean_S=_over_channels(np.mean, stems),
        stem_spread_S=_over_channels(np.std, stems),
    )


def cost(L: int, options=None) -> effort_lib.Cost:
    """Nothing: no example is looked at."""
    return effort_lib.Cost()


def _over_channels(statistic, tree) -> np.ndarray:
    if isinstance(tree, list):
        return np.array([_over_channels(statistic, branch) for branch in tree])
    return np.float32(np.nan) if tree is None else statistic(tree)
