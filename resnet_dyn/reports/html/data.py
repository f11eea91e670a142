"""The numbers of the page, as its script reads them: by column and rounded, each of them once.

Four significant digits of a mean, two of its interval; what is not finite is null. Steps stand by
their place in `grids`, which many series share; an x that counts up from somewhere is its start.
"""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from resnet_dyn.analysis import intervals
from resnet_dyn.reports.html import comparison, curves

MEAN_DIGITS, HALF_DIGITS = 4, 2


def of(runs: comparison.Runs) -> dict[str, Any]:
    """Everything that the charts draw.

    runs      names, in their order         numbers    [[measure, title, meaning]]
    curves    [[title, x]], laws first      laws       how many these are
    steps     of the curves, of all runs together
    series    [[run, number, grid, means, halves, n]]
    bands     [[run, curve, step, x, means, halves, n]]
    gammas    [[run, block, scale, grid, means]]
    grids     [steps]
    """
    numbers, grids = comparison.numbers(runs), _Grids()
    bands = [
        [r, c, band.step, _x(band.x_X), *_band(band.mean_X, band.half_X, band.n_X)]
        for r, run in enumerate(runs.values())
        for c, curve in enumerate(curves.ROWS)
        for band in curves.of(run, curve)
    ]
    return {
        'runs': list(runs),
        'numbers': [[one.measure, one.title, one.meaning] for one in numbers.values()],
        'curves': [[curve.title, curve.x] for curve in curves.ROWS],
        'laws': len(curves.LAWS),
        'steps': sorted({band[2] for band in bands}),
        'series': list(_series(runs, list(numbers), grids)),
        'bands': bands,
        'gammas': list(_gammas(runs, grids)),
        'grids': list(map(list, grids)),
    }


def rounded(values: Iterable[float], digits: int = MEAN_DIGITS) -> list[float | int | None]:
    """The values as JSON has them in few characters; None for what is not finite."""
    return [_rounded(float(value), digits) for value in values]


class _Grids(dict[tuple[int, ...], int]):
    """The place of each grid of steps; a new one comes last."""

    def place(self, steps: Iterable[int]) -> int:
        return self.setdefault(tuple(map(int, steps)), len(self))


def _series(runs: comparison.Runs, keys: list[comparison.Key], grids: _Grids):
    for r, run in enumerate(runs.values()):
        for (measure, title), one in run.series.items():
            place = keys.index((measure, title))
            band = _band(*intervals.means(one.values_ST))
            yield [r, place, grids.place(one.steps_T), *band]


def _gammas(runs: comparison.Runs, grids: _Grids):
    for r, run in enumerate(runs.values()):
        lines: dict[tuple[int, int], list[tuple[int, float]]] = {}
        for step, block, scale, mean in curves.gammas(run):
            if np.isfinite(mean):
                lines.setdefault((block, scale), []).append((step, mean))
        for (block, scale), points in lines.items():
            steps, means = zip(*points, strict=True)
            yield [r, block, scale, grids.place(steps), rounded(means)]


def _band(mean_X, half_X, n_X) -> tuple[list, list | None, list | int]:
    """Means, halves (None where there is none at all), and n: one number where it is one."""
    halves = rounded(half_X, HALF_DIGITS) if np.isfinite(half_X).any() else None
    n = sorted(set(n_X.tolist()))
    return rounded(mean_X), halves, n[0] if len(n) == 1 else n_X.tolist()


def _x(values_X) -> list[int] | int:
    """The start of what counts up by 1, else all values."""
    values = [int(value) for value in values_X]
    return values[0] if values == list(range(values[0], values[0] + len(values))) else values


def _rounded(value: float, digits: int) -> float | int | None:
    if not math.isfinite(value):
        return None
    short = float(f'{value:.{digits}g}')
    return int(short) if short == int(short) and abs(short) < 1e6 else short
