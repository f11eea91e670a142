"""Numbers without a verdict: controls beside main, trajectories, correlations in time."""

import csv
import io
import pathlib
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from experiments.dynamics import rules
from resnet_dyn import records
from resnet_dyn.analysis import intervals
from resnet_dyn.reports import claims, series

Runs = Mapping[str, series.RunSeries]
_INTERVAL = ('estimate', 'low', 'high', 'n', 'method')


def write_controls(path, runs: Runs) -> pathlib.Path:
    """A line a control and number: its own interval, and that of main less it, paired by seed."""
    names = [f'difference_{name}' for name in _INTERVAL]
    head = ('task', 'main', 'control', 'claim', 'measure', 'number', *_INTERVAL, *names)
    return _write(path, head, _controls(runs))


def _controls(runs: Runs) -> Iterator[tuple]:
    quantities = (
        *(('depth-grows', number, rules.change) for number in (*rules.DEPTHS, *rules.USES)),
        ('gammas-grow', rules.GAMMA, rules.change),
        *(('short-paths-carry-gradient', number, rules.end) for number in rules.SHORT),
    )
    for task, some in claims.tasks(runs).items():
        for main, run in claims.mains(some).items():
            for name, control in some.items():
                for claim, number, of in quantities if name != main else ():
                    own = rules.interval(of(control, number))
                    if own.n:
                        between = rules.versus(run, control, number, of)
                        what = (task, main, name, claim, number.measure, number.title)
                        yield (*what, *own, *between)


def write_trajectories(path, runs: Runs) -> pathlib.Path:
    """A line a run, number and step: mean over networks and its interval."""
    head = ('run', 'measure', 'number', 'step', *_INTERVAL)
    return _write(path, head, _trajectories(runs))


def _trajectories(runs: Runs) -> Iterator[tuple]:
    for name, run in runs.items():
        for one in run.series.values():
            for step, values_S in zip(one.steps_T, one.values_ST.T, strict=True):
                yield name, one.measure, one.title, int(step), *intervals.mean(values_S)


def write_correlations(path, runs: Runs) -> pathlib.Path:
    """A line a run and measure of depth: its correlation in time with log mean |gamma|."""
    return _write(path, ('run', 'measure', 'number', 'steps', *_INTERVAL), _correlations(runs))


def _correlations(runs: Runs) -> Iterator[tuple]:
    gammas = rules.column('gammas', 'mean |gamma|', 'mean |gamma|')
    for name, run in runs.items():
        one = gammas.of(run)
        for number in rules.DEPTHS if one is not None else ():
            other = number.of(run)
            if other is None:
                continue
            steps, here, there = np.intersect1d(one[0], other[0], return_indices=True)
            if len(steps) > 2:
                with np.errstate(divide='ignore'):
                    log_ST = np.log(one[1][:, here])
                found = intervals.correlation(log_ST, other[1][:, there])
                yield name, number.measure, number.title, len(steps), *found


def _write(path, head: Iterable[str], rows: Iterable[tuple]) -> pathlib.Path:
    writer = csv.writer(lines := io.StringIO())
    writer.writerow(head)
    for row in rows:
        writer.writerow(f'{cell:.8g}' if isinstance(cell, float) else cell for cell in row)
    return records.write_text(path, lines.getvalue())
