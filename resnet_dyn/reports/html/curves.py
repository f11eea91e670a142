"""What records hold as curves: y over path length, block or number of deleted blocks, by network.

A new curve is a row of `LAWS` or `CURVES`; the slider over checkpoints, the bands over networks and
the CSV follow. k = 0..L counts the branches of a path (the paper's r = k + 1).
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from resnet_dyn.analysis import intervals, summaries
from resnet_dyn.reports import series

Values = tuple[np.ndarray, np.ndarray]  # x (X,) and y (S, X)


class Curve(NamedTuple):
    """One curve of the records of a measure."""

    measure: str
    title: str
    x: str  # what stands below the axis
    values: Callable[[Any], Values]
    fixed: bool = False  # the same at all steps


class Band(NamedTuple):
    """A curve of one run at one step, over networks: mean, half of its interval, n; each (X,)."""

    step: int
    x_X: np.ndarray
    mean_X: np.ndarray
    half_X: np.ndarray
    n_X: np.ndarray


def _from(first: int, field: str, factor: float = 1.0) -> Callable[[Any], Values]:
    """The values of a field (S, X) over first, first + 1, ..."""

    def values(record) -> Values:
        y_SX = factor * np.asarray(getattr(record, field), np.float64)
        return first + np.arange(y_SX.shape[1]), y_SX

    return values


def _shares(of: Callable[[Any], np.ndarray]) -> Callable[[Any], Values]:
    """Shares (S, R) of path lengths k = 0..L."""

    def values(record) -> Values:
        y_SR = np.asarray(of(record), np.float64)
        return np.arange(y_SR.shape[1]), y_SR

    return values


def _all_paths(record) -> Values:
    """C(L, k) / 2^L: the shares if every path counted the same."""
    L = record.gains_SL.shape[1]
    return np.arange(L + 1), stats.binom.pmf(np.arange(L + 1), L, 0.5)[None]


def _random(record) -> Values:
    """The error over the number of deleted blocks, mean over the draws."""
    return record.deleted_J, 100 * record.error_SJM.mean(-1, dtype=np.float64)


def _swapped(record) -> Values:
    """The error over the number of swaps, mean over the orders that they led to."""
    swaps_J = np.unique(record.swaps_N)
    errors = [100 * summaries.swapped_error(record, int(swaps)) for swaps in swaps_J]
    return swaps_J, np.stack(errors, 1) if errors else np.zeros((len(record.error_SN), 0))


def _walsh(record) -> Values:
    """Shares of the variance over all sub-networks by order 1..L."""
    walsh_SR = np.asarray(record.walsh_SR[:, 1:], np.float64)
    total_S1 = walsh_SR.sum(1, keepdims=True)
    orders_R = 1 + np.arange(walsh_SR.shape[1])
    return orders_R, walsh_SR / np.where(total_S1 == 0, 1, total_S1)


def _squared(gains_SL) -> Values:
    return 1 + np.arange(gains_SL.shape[1]), np.asarray(gains_SL, np.float64) ** 2


_LENGTH, _BLOCK = 'branches used, k', 'block'
_DELETED, _PASSED = 'blocks deleted', 'blocks passed'

LAWS = (
    Curve('paths', 'gradient, |G_k|²', _LENGTH, _shares(summaries.sum_shares)),
    Curve('paths', 'gradient, energies S_k', _LENGTH, _shares(summaries.energy_shares)),
    Curve('paths', 'signal, |u_k|²', _LENGTH, _shares(summaries.forward_shares)),
    Curve('depth', 'predicted, incoherent', _LENGTH, _shares(lambda r: r.incoherent_SR)),
    Curve('depth', 'predicted, coherent', _LENGTH, _shares(lambda r: r.coherent_SR)),
    Curve('gamma_depth', 'from gammas alone', _LENGTH, _shares(lambda r: r.recomputed_SR)),
    Curve('depth', 'all paths alike', _LENGTH, _all_paths, fixed=True),
)

CURVES = (
    Curve('random', 'error (%) without blocks drawn at random', _DELETED, _random),
    Curve(
        'greedy',
        'error (%) without the blocks missed least',
        _DELETED,
        _from(0, 'error_SJ', 100),
    ),
    Curve('singles', 'error (%) without one block', _BLOCK, _from(1, 'error_SL', 100)),
    Curve('singles', 'loss without one block', _BLOCK, _from(1, 'loss_SL')),
    Curve('reorder', 'error (%) after random swaps of blocks', 'swaps', _swapped),
    Curve('depth', 'power gain b² of a block', _BLOCK, lambda r: _squared(r.gains_SL)),
    Curve('depth_use', 'KL of the head at h_l and the output', _PASSED, _from(0, 'divergence_SN')),
    Curve('depth_use', 'top-5 overlap of the two', _PASSED, _from(0, 'overlap_SN')),
    Curve('depth_use', 'cos(branch, skip)', _BLOCK, _from(1, 'cosine_SL')),
    Curve('depth_use', 'change of later branches without it', _BLOCK, _from(1, 'later_change_SL')),
    Curve('growth', "Theorem 3's condition, 0 where it holds", _BLOCK, _from(1, 'condition_SL')),
    Curve('growth', 'drive of the scale: above 0 it grows', _BLOCK, _from(1, 'drive_SL')),
    Curve('interactions', 'share of the variance by order of interaction', 'order', _walsh),
    Curve('interactions', 'Shapley value of a block, loss', _BLOCK, _from(1, 'shapley_loss_SL')),
    Curve('influence', '|branch| / |skip|', _BLOCK, _from(1, 'branch_over_skip_SL')),
    Curve('influence', 'influence 1 − cos(skip, output)', _BLOCK, _from(1, 'block_influence_SL')),
)

ROWS = LAWS + CURVES


def of(run: series.RunSeries, curve: Curve) -> Iterator[Band]:
    """The curve at each step of the run that has a record of its measure."""
    found = run.records.get(curve.measure, ())
    for step, record, _ in found[:1] if curve.fixed else found:
        x_X, y_SX = curve.values(record)
        if not y_SX.size:
            continue
        yield Band(step, x_X, *intervals.means(y_SX))


def gammas(run: series.RunSeries) -> Iterator[tuple[int, int, int, float]]:
    """(step, block, scale, mean |gamma| over channels and networks) of all scales that are there.

    Blocks are 1..L, and 0 the stem; scales are counted from the end of the branch, 0 its last.
    """
    for step, record, _ in run.records.get('gammas', ()):
        yield step, 0, 0, float(intervals.means(record.stem_mean_S[:, None])[0][0])
        S, L, N = record.mean_SLN.shape
        mean_LN = intervals.means(record.mean_SLN.reshape(S, L * N))[0].reshape(L, N)
        for (block, place), value in np.ndenumerate(mean_LN):
            yield step, 1 + block, N - 1 - place, float(value)
