"""Intervals over networks, each with the name of its method beside it.

The unit is one network: examples, masks and draws are shared by the networks of a run, and are no
further evidence. Networks that are NaN are left out. Fewer than two give an estimate and no
interval (NaN, NaN).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

LEVEL = 0.95


class Interval(NamedTuple):
    """An estimate and its confidence interval; `low` and `high` are NaN where n < 2."""

    estimate: float
    low: float
    high: float
    n: int  # networks, or pairs of them
    method: str

    @property
    def known(self) -> bool:
        """Whether there is an interval at all."""
        return bool(np.isfinite([self.low, self.high]).all())


def mean(values_S, level: float = LEVEL) -> Interval:
    """The mean over networks, values (S,):

        mean ± t_{(1 + level) / 2, n - 1} s / sqrt(n)

    Source: Student 1908, by scipy.stats.t. Where all values are equal it has no width.
    """
    return _student(_finite(values_S), "Student's t over networks (scipy.stats.t)", level)


def means(values_SX, level: float = LEVEL) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`mean` of many numbers at once, values (S, X): estimates, half widths and n, each (X,)."""
    values_SX = np.asarray(values_SX, np.float64)
    finite_SX = np.isfinite(values_SX)
    n_X = finite_SX.sum(0)
    some_X, most_X = np.maximum(n_X, 1), np.maximum(n_X - 1, 1)
    centre_X = np.where(finite_SX, values_SX, 0).sum(0) / some_X
    squares_X = np.where(finite_SX, (values_SX - centre_X) ** 2, 0).sum(0)
    half_X = stats.t.ppf((1 + level) / 2, most_X) * np.sqrt(squares_X / most_X / some_X)
    return np.where(n_X > 0, centre_X, np.nan), np.where(n_X > 1, half_X, np.nan), n_X


def difference(
    first_S, second_S, seeds: Sequence[int], other_seeds: Sequence[int], level: float = LEVEL
) -> Interval:
    """The mean of the first less that of the second, each by network (S,).

    Networks of one seed are a pair, wherever they stand in their runs: Student's t of the
    differences. Where no seed is shared, Welch's t, of unequal variances. Networks without a
    partner are left out where others have one.

    Raises ValueError where values and seeds are not as many.
    """
    first, second = _by_seed(first_S, seeds), _by_seed(second_S, other_seeds)
    shared = [seed for seed in first if seed in second]
    if set(seeds) & set(other_seeds):
        differences = np.array([first[seed] - second[seed] for seed in shared])
        method = "Student's t of differences, networks paired by seed (scipy.stats.t)"
        return _student(differences, method, level)
    return _welch(np.array([*first.values()]), np.array([*second.values()]), level)


def correlation(first_ST, second_ST, level: float = LEVEL) -> Interval:
    """The correlation in time of two series (S, T), steps alike:

        rho_s = Spearman's of network s over its T steps;   tanh(interval of arctanh rho_s)

    Steps of one network are no independent draws: each network gives one rho, and the interval is
    Student's t over networks on Fisher's scale. |rho| is at most 1 - 6 / (T^3 - T), half of the
    smallest step below 1, or 1 would be infinite there. A series that does not move has no rho.

    Raises ValueError for series of other shapes, or of fewer than 3 steps.
    """
    first_ST, second_ST = np.asarray(first_ST, float), np.asarray(second_ST, float)
    if first_ST.shape != second_ST.shape or first_ST.ndim != 2 or first_ST.shape[1] < 3:
        raise ValueError(
            f'series of shapes {first_ST.shape} and {second_ST.shape}: expected both (S, T), T >= 3'
        )
    T = first_ST.shape[1]
    most = 1 - 6 / (T**3 - T)
    rho_S = [_spearman(x_T, y_T) for x_T, y_T in zip(first_ST, second_ST, strict=True)]
    method = "Spearman's over steps in each network, Student's t over networks of Fisher's z"
    found = _student(_finite(np.arctanh(np.clip(rho_S, -most, most))), method, level)
    return found._replace(
        estimate=float(np.tanh(found.estimate)),
        low=float(np.tanh(found.low)),
        high=float(np.tanh(found.high)),
    )


def _student(values: np.ndarray, method: str, level: float) -> Interval:
    n = len(values)
    centre = float(values.mean()) if n else float('nan')
    if n < 2:
        return Interval(centre, float('nan'), float('nan'), n, f'no interval: n = {n}')
    half = stats.t.ppf((1 + level) / 2, n - 1) * values.std(ddof=1) / n**0.5
    return Interval(centre, float(centre - half), float(centre + half), n, method)


def _welch(first: np.ndarray, second: np.ndarray, level: float) -> Interval:
    """n is the smaller number of networks."""
    n = min(len(first), len(second))
    centre = float(first.mean() - second.mean()) if n else float('nan')
    if n < 2:
        return Interval(centre, float('nan'), float('nan'), n, f'no interval: n = {n}')
    method = "Welch's t, no seed is shared (scipy.stats.ttest_ind)"
    if first.std() == second.std() == 0:
        return Interval(centre, centre, centre, n, method)
    found = stats.ttest_ind(first, second, equal_var=False).confidence_interval(level)
    return Interval(centre, float(found.low), float(found.high), n, method)


def _finite(values_S) -> np.ndarray:
    values_S = np.asarray(values_S, np.float64)
    return values_S[np.isfinite(values_S)]


def _by_seed(values_S, seeds: Sequence[int]) -> dict[int, float]:
    pairs = zip(seeds, np.asarray(values_S, np.float64), strict=True)
    return {seed: float(value) for seed, value in pairs if np.isfinite(value)}


def _spearman(x_T: np.ndarray, y_T: np.ndarray) -> float:
    there = np.isfinite(x_T) & np.isfinite(y_T)
    x, y = x_T[there], y_T[there]
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float('nan')
    return float(stats.spearmanr(x, y).statistic)
