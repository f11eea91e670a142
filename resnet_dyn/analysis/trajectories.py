"""A run followed over its checkpoints: one record a checkpoint and measure, made once and kept.

`follow` visits step 0 (rebuilt from the seeds) and every checkpoint, or those asked for, and writes
what is missing to `workdir/records/`; a record of the same settings and the same checkpoint is
left alone, so a stopped analysis goes on where it was. `current` gives these records back, `read`
all there are, `dynamics` what the training recorded of itself, `stages` three moments of a curve.
"""

import json
import pathlib
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from resnet_dyn import errors, records
from resnet_dyn.training import checkpoints, metrics, runs


class Measure(NamedTuple):
    """What is measured at a checkpoint, and all that its numbers depend on beside the checkpoint.

    function(step, variables led by S) -> a record of class `kind`; `only` is the one collection
    that it reads, None for all; `settings` is what JSON can say.
    """

    kind: type
    function: Callable[[int, Mapping[str, Any]], NamedTuple]
    settings: Mapping[str, Any]
    only: str | None = None


class Visit(NamedTuple):
    """What came of one checkpoint: measures made now, those already there, or why it was lost."""

    step: int
    made: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    damage: str = ''


class Stages(NamedTuple):
    """A curve of S networks at the start, at an early moment and at the end of training."""

    start_S: np.ndarray
    early_S: np.ndarray
    end_S: np.ndarray


def steps(workdir) -> list[int]:
    """Step 0 and the steps of all checkpoint folders, whole or not, in order.

    Raises AnalysisError where there is no checkpoint.
    """
    numbers = checkpoints.folders(workdir)
    if not numbers:
        raise errors.AnalysisError(
            f'{workdir}/checkpoints has no checkpoint to analyse: train first, by python -m '
            f'launch.train --workdir={workdir}, or start that run again if it was stopped before '
            'its first'
        )
    return sorted({0, *numbers})


def choose(workdir, which: str = 'all') -> list[int]:
    """The steps that `which` names: 'all', 'last', or whole numbers with commas between them.

    Raises AnalysisError, with the steps that are there, for others.
    """
    there = steps(workdir)
    if which in ('all', 'last'):
        return there if which == 'all' else there[-1:]
    names = {str(step): step for step in there}
    wanted = [word.strip().replace('_', '') for word in which.split(',')]
    if missing := [word for word in wanted if word not in names]:
        raise errors.AnalysisError(
            f'no step {missing[0]!r} in {workdir}: take all, last, or some of '
            f'{",".join(names)}, with commas between them'
        )
    return sorted({names[word] for word in wanted})


def path(workdir, name: str, step: int, seed: int | None = None) -> pathlib.Path:
    """Where the record of a measure stands: of all networks, or of the one at index `seed`."""
    which = '' if seed is None else f'-network{seed}'
    return pathlib.Path(workdir) / 'records' / f'{name}{which}-{step:08d}.npz'


def follow(
    workdir,
    measures: Mapping[str, Measure],
    seed: int | None = None,
    at: Sequence[int] | None = None,
) -> Iterator[Visit]:
    """Visits the checkpoints in order and writes the records that are missing; yields each visit.

    `at` are the steps to visit, all unless given. A damaged checkpoint is a visit with its damage,
    and the next one follows.
    """
    run_config = runs.read_config(workdir)
    for step in steps(workdir) if at is None else at:
        try:
            fingerprint = _fingerprint(workdir, step)
            due = {
                name: measure
                for name, measure in measures.items()
                if _current(path(workdir, name, step, seed), measure, fingerprint) is None
            }
            variables = _variables(workdir, step, due, seed) if due else {}
        except errors.CheckpointError as error:
            yield Visit(step, damage=str(error))
            continue
        for name, measure in due.items():
            started = time.monotonic()
            record = measure.function(step, variables)
            origin = records.provenance(run_config, seed=seed, wall_time=time.monotonic() - started)
            origin['settings'] = _settings(measure, fingerprint)
            records.save(path(workdir, name, step, seed), record, origin)
        yield Visit(step, tuple(due), tuple(name for name in measures if name not in due))


def current(workdir, name: str, measure: Measure, seed: int | None = None) -> list:
    """The records that `follow` would keep, in the order of their steps."""
    found = []
    for step in steps(workdir):
        here = path(workdir, name, step, seed)
        try:
            record = _current(here, measure, _fingerprint(workdir, step))
        except errors.CheckpointError:
            continue
        if record is not None:
            found.append(record)
    return found


def read(workdir, name: str, kind: type, seed: int | None = None) -> list:
    """All records of a measure in the order of their steps, whatever their settings."""
    paths = [path(workdir, name, step, seed) for step in steps(workdir)]
    return [records.load(here, kind)[0] for here in paths if here.exists()]


def dynamics(workdir) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """What a run recorded of itself: the steps (T,), and arrays (S, T, ...) by name.

    The names are those of `training.dynamics.record`; values by norm are left out.
    """
    lines = metrics.read(pathlib.Path(workdir) / 'dynamics.jsonl')
    if not lines:
        raise errors.AnalysisError(
            f'{workdir}/dynamics.jsonl has no record: start the training again, or train anew '
            'with config.log.record below the length of the run'
        )
    names = [name for name, value in lines[0].items() if isinstance(value, list)]
    series = {name: np.array([line[name] for line in lines], float) for name in names}
    steps_T = np.array([line['step'] for line in lines])
    return steps_T, {name: np.swapaxes(values, 0, 1) for name, values in series.items()}


def stages(steps_T, values_ST, early: float = 0.25) -> Stages:
    """The values at the first step, at the one nearest to `early` of the run, and at the last."""
    steps_T = np.asarray(steps_T)
    index = np.abs(steps_T - early * steps_T[-1]).argmin()
    return Stages(values_ST[:, 0], values_ST[:, index], values_ST[:, -1])


def _variables(workdir, step: int, due: Mapping[str, Measure], seed: int | None):
    only = {measure.only for measure in due.values()}
    if step == 0:
        variables = runs.initial(workdir)
    else:
        wanted = None if None in only else tuple(only)
        _, variables, _ = checkpoints.restore(workdir, step, only=wanted)
    if seed is None:
        return variables
    return jax.tree.map(lambda leaf: leaf[seed : seed + 1], variables)


def _fingerprint(workdir, step: int) -> int:
    """A number that changes with any array of the checkpoint; 0 at step 0, which has no file."""
    if step == 0:
        return 0
    _, _, meta = checkpoints.restore(workdir, step, only=())
    return zlib.crc32(json.dumps(meta['leaves'], sort_keys=True).encode())


def _settings(measure: Measure, fingerprint: int) -> dict[str, Any]:
    return {**measure.settings, 'checkpoint': fingerprint}


def _current(file: pathlib.Path, measure: Measure, fingerprint: int) -> tuple | None:
    """The record in the file if it is of these settings and this checkpoint."""
    try:
        record, origin = records.load(file, measure.kind)
    except errors.RecordError:
        return None
    return record if origin.get('settings') == _settings(measure, fingerprint) else None
