"""A study: named runs whose configs differ in stated fields, trained and measured into one table.

    gammas = study.Study(
        base={'seeds': 10, 'train.steps': 3000},
        variants={'trained': {}, 'no-norm': {'model.norm': 'none', 'train.learning_rate': 3e-4}},
    )
    found = study.run(gammas, 'build/gammas', measure=lambda workdir: {'depth': ...})
    print(study.table(found.rows))

Every run is a workdir of its own, W/runs/<name>, as `launch.train` makes it. A row of the table is
a run: its name, the fields in which the runs of the study differ (found, not typed), its metrics at
the end, and what `measure` says of it. Started again, a study goes on where it was stopped: runs
that are finished are left as they are, the one that was cut goes on from its last checkpoint.
"""

import contextlib
import csv
import io
import pathlib
import queue
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent import futures
from typing import Any, NamedTuple

import numpy as np

from experiments import side_by_side, words
from resnet_dyn import config, errors, fields, records
from resnet_dyn.models import placement
from resnet_dyn.training import loop, metrics, runs

Row = dict[str, Any]  # a word, a number, or an array over the networks (S,), by column
Measure = Callable[[pathlib.Path], Mapping[str, Any] | None]

LEFT_OUT = 'left out'  # the column of rows of which networks diverged
_NAME = re.compile(r'\w[\w.=+-]*')


class Study(NamedTuple):
    """What all runs have in common, and what each changes; values by dotted path of the config."""

    base: Mapping[str, Any]
    variants: Mapping[str, Mapping[str, Any]]


class Result(NamedTuple):
    """What came of it: whether all is done, a row a run that is done, and where the runs are."""

    finished: bool
    rows: tuple[Row, ...]
    workdirs: dict[str, pathlib.Path]
    diverged: dict[str, str]  # runs of which networks diverged: which
    failed: dict[str, str]  # runs of which all did, so that there is nothing to measure: the reason


def configs(study: Study) -> dict[str, config.Config]:
    """The config of each run by name; ConfigError, naming the run, for one that cannot be."""
    made = {}
    for name, own in study.variants.items():
        if not _NAME.fullmatch(name):
            raise ValueError(f'{name!r} is no name of a run, which is that of its folder: a word')
        try:
            made[name] = config.parse({**study.base, **own})
        except errors.ConfigError as error:
            raise errors.ConfigError(f'{name}: {error}') from error
    for number, (name, one) in enumerate(made.items()):
        for other, another in list(made.items())[:number]:
            if one == another:
                raise ValueError(f'{name} and {other} have one config: leave one of them out')
    return made


def differing(made: Mapping[str, config.Config]) -> list[str]:
    """The dotted paths of the fields in which the configs differ, in the config's order."""
    paths = [leaf.path for leaf in config.leaves()]
    return [path for path in paths if len({fields.get(one, path) for one in made.values()}) > 1]


def run(
    study: Study,
    workdir,
    measure: Measure = lambda workdir: {},
    stop: Callable[[], bool] = lambda: False,
    report: Callable[[str], None] = print,
    jobs: int = 1,
    threads: int = 1,
) -> Result:
    """Trains the runs that are not trained yet, one after the other, and measures each.

    Args:
      study: the runs.
      workdir: the folder of the study; the runs are in `workdir/runs/<name>`.
      measure: a run's workdir -> numbers, or arrays of a number for each network, by name; called
        again at every start, so that what takes long is kept by itself (as `launch.analyze` keeps
        its records). None where it was stopped.
      stop: asked between runs and every few seconds within; once it is true, all is saved and the
        result says that it is not finished.
      report: takes lines for people.
      jobs: with more than one, so many trainings at a time, each a process of its own whose lines
        go to `workdir/runs/<name>.log`.
      threads: so many runs at a time in this process, each trained and measured: it pays where
        compiling, which is of one core, is much of the time. What a training says then begins
        with the name of its run.

    A network that diverges is left out, a run of which all do has a row with the reason alone, and
    the others go on.
    Raises a UserError before anything is trained where one of the runs cannot start or go on.
    """
    made, halted = configs(study), threading.Event()
    workdirs = {name: pathlib.Path(workdir) / 'runs' / name for name in made}
    differ = differing(made)

    portions = queue.SimpleQueue()
    for devices in placement.portions(threads) if threads > 1 else [None]:
        portions.put(devices)

    def stopped() -> bool:
        return halted.is_set() or stop()

    def finish(name: str) -> _Outcome | None:
        outcome = None
        try:
            if not stopped():
                say = report if threads == 1 else lambda line: report(f'{name}: {line}')
                one, where = made[name], workdirs[name]
                devices = portions.get()
                outcome = _outcome(name, one, differ, where, measure, stopped, say, devices)
                portions.put(devices)
        finally:  # a run that was stopped, or that raised, stops the others
            if outcome is None:
                halted.set()
        return outcome

    for name, one in made.items():
        runs.look(workdirs[name], one)
    if jobs > 1 and not side_by_side.train(made, workdirs, jobs, stop, report):
        return Result(False, (), workdirs, {}, {})
    with contextlib.ExitStack() as stack:  # one thread: this one, which a second signal ends
        pool = stack.enter_context(futures.ThreadPoolExecutor(threads)) if threads > 1 else None
        outcomes = pool.map(finish, made) if pool else map(finish, made)
        found = dict(zip(made, outcomes, strict=True))
    done = {name: outcome for name, outcome in found.items() if outcome is not None}
    return Result(
        len(done) == len(made),
        tuple(outcome.row for outcome in done.values()),
        workdirs,
        {name: outcome.diverged for name, outcome in done.items() if outcome.diverged},
        {name: outcome.failed for name, outcome in done.items() if outcome.failed},
    )


def final_metrics(workdir) -> dict[str, Any]:
    """What metrics.jsonl says of its last step: the step, and all that is by network (S,)."""
    lines = metrics.read(pathlib.Path(workdir) / runs.METRICS)
    if not lines:
        raise errors.RunError(f'{workdir} has no {runs.METRICS}: train the run first')
    last = {}
    for line in lines:
        last = last | line if line['step'] == last.get('step') else line
    return {
        name: np.array(value, np.float64) if isinstance(value, list) else value
        for name, value in last.items()
        if name == 'step' or isinstance(value, list)
    }


def table(rows: Sequence[Row]) -> str:
    """The rows as lines for people: mean ± standard deviation over networks."""
    columns = _columns(rows)
    cells = [columns, *([_text(row.get(name)) for name in columns] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        '  '.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    ]
    return '\n'.join(lines)


def write_csv(path, rows: Sequence[Row]) -> pathlib.Path:
    """The rows as a file; of what is an array over networks, the mean, `_std` and `_n`."""
    flat = [dict(flat_row(row)) for row in rows]
    writer = csv.DictWriter(lines := io.StringIO(), _columns(flat), restval='')
    writer.writeheader()
    writer.writerows(flat)
    return records.write_text(path, lines.getvalue())


def flat_row(row: Row) -> Iterator[tuple[str, Any]]:
    """The columns of a row with, of what is an array over networks, the mean, `_std` and `_n`."""
    for name, value in row.items():
        if np.ndim(value) == 0:
            yield name, value
            continue
        mean, std, n = words.over_networks(value)
        yield from ((name, mean), (f'{name}_std', std), (f'{name}_n', n))


class _Outcome(NamedTuple):
    row: Row
    diverged: str = ''
    failed: str = ''


def _outcome(name, one, differ, workdir, measure, stop, report, devices) -> _Outcome | None:
    """Trains one run on `devices` and measures it; None where it was stopped."""
    row = {'run': name} | {path: fields.get(one, path) for path in differ}
    try:
        trained = loop.train(one, workdir, stop=stop, report=report, devices=devices)
        measured = measure(workdir) if trained.finished else None
    except errors.NotFiniteError as error:
        report(f'{name} is left out: {error}')
        return _Outcome(row | {LEFT_OUT: str(error)}, failed=str(error))
    if measured is None:
        return None
    row |= final_metrics(workdir) | dict(measured)
    if not trained.diverged:
        return _Outcome(row)
    which = f'diverged: network {", ".join(map(str, trained.diverged))}'
    return _Outcome(row | {LEFT_OUT: which}, diverged=which)


def _columns(rows: Sequence[Row]) -> list[str]:
    names = dict.fromkeys(name for row in rows for name in row)
    return sorted(names, key=LEFT_OUT.__eq__)  # it is long: last


def _text(value: Any) -> str:
    if np.ndim(value):
        return words.plus_minus(value)
    return f'{value:.6g}' if isinstance(value, float) else str('' if value is None else value)
