"""The numbers of the page as CSV, a line a number: of each network, and over networks.

    run, measure, number, step, x, seed, value, low, high, n

`x` is what a curve is over (path length, block, number of deleted blocks), empty for numbers.
`seed` is that of the network, or `mean` of a line that has the mean over `n` finite networks and
its 95 % interval; of curves these lines alone are written.
"""

import csv
import io
import pathlib
from collections.abc import Iterator

import numpy as np

from resnet_dyn import records
from resnet_dyn.analysis import intervals
from resnet_dyn.reports import series
from resnet_dyn.reports.html import comparison, curves

HEAD = ('run', 'measure', 'number', 'step', 'x', 'seed', 'value', 'low', 'high', 'n')


def write(path, runs: comparison.Runs) -> pathlib.Path:
    """Writes the file; returns its absolute path."""
    writer = csv.writer(lines := io.StringIO())
    writer.writerow(HEAD)
    for name, run in runs.items():
        for row in (*_numbers(run), *_curves(run)):
            writer.writerow((name, *(_said(cell) for cell in row)))
    return records.write_text(path, lines.getvalue())


def _numbers(run: series.RunSeries) -> Iterator[tuple]:
    for (measure, title), one in run.series.items():
        means = zip(*intervals.means(one.values_ST), strict=True)
        for step, values_S, found in zip(one.steps_T, one.values_ST.T, means, strict=True):
            where = (measure, title, int(step), '')
            for seed, value in zip(run.seeds, values_S, strict=True):
                yield *where, seed, float(value), '', '', ''
            yield *where, 'mean', *_interval(*found)


def _curves(run: series.RunSeries) -> Iterator[tuple]:
    for curve in curves.ROWS:
        for band in curves.of(run, curve):
            found = zip(band.x_X, band.mean_X, band.half_X, band.n_X, strict=True)
            for x, *numbers in found:
                yield curve.measure, curve.title, band.step, int(x), 'mean', *_interval(*numbers)


def _interval(mean, half, n) -> tuple[float, float, float, int]:
    return float(mean), float(mean - half), float(mean + half), int(n)


def _said(cell) -> str:
    if isinstance(cell, float):
        return f'{cell:.8g}' if np.isfinite(cell) else ''
    return str(cell)
