"""Trains the networks of a run from its workdir's last checkpoint, or from step 0, to its end.

    while step < total:  advance to the next step at which anything is due; do what is due

The host comes back at multiples of the cadences of the config, and every few seconds in between,
so that it hears a signal; none of this changes a bit of the result. The lines of a step are
written before its checkpoint is saved: a run that goes on from a checkpoint has all lines up to it,
but for one that says itself that what is due at its step is not done, and is done after it.
Compiling, and what is due, may take long: steps that are nowhere else are `unsaved`, and can be
saved while their evaluation goes on.
"""

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from resnet_dyn import config, errors, processes, unsaved
from resnet_dyn.data import datasets
from resnet_dyn.models import placement, presets
from resnet_dyn.training import (
    metrics,
    program,
    progress,
    recorder,
    runs,
    state,
    summary,
    together,
    totals,
)

CHUNK_SECONDS = 1.0


class Result(NamedTuple):
    """How a call of `train` ended."""

    step: int
    finished: bool  # False: left because of `stop`, all saved; the same call goes on with it
    test_accuracy: list[float]  # a fraction a network, of the last evaluation; [] if none yet
    diverged: dict[int, int]  # the step at which networks diverged, by index; they are NaN since


def train(
    cfg: config.Config | None,
    workdir,
    report: progress.Report = print,
    stop: Callable[[], bool] = lambda: False,
    bar: bool = False,
    devices: Sequence[jax.Device] | None = None,
    changes: Mapping[str, Any] | None = None,
    mesh: Mapping[str, int] | None = None,
) -> Result:
    """Trains the `cfg.seeds` networks of a run in `workdir` and returns when it is done.

    Without a `cfg` it is that of the run in `workdir`, or the default where there is none, with
    `changes` by dotted path, as in {'train.steps': 100}, of fields that a run may change.
    `report` takes lines for people; `bar` keeps a progress bar below them; once `stop()`, asked
    every few seconds, is true, the run is saved and left. `devices` are all of JAX's unless given,
    `mesh` how many of them lie along each axis, as in {'seed': 2, 'data': 4}, the rule of
    `placement.mesh` unless given.
    A finished run is left as it is, and its data are not looked for. A network whose loss becomes
    NaN or Inf is said and taken out, and the others go on. Raises UserErrors that say what to
    mend: for a config or a workdir that will not do, absent data, damaged checkpoints; and
    NotFiniteError where all networks have diverged.
    """
    report, stop = together.by_lead_alone(report), together.any_stops(stop)
    bar = bar and processes.is_lead()
    start = together.look(workdir, cfg, changes)
    if cfg is None:
        report(_whose_config(start, changes or {}))
    if start.finished:
        step = total = start.stored.total_steps
        report(f'the run in {start.workdir} is finished: nothing to do')
        return _end(start, start.stored.data['source'], step, total, report)
    dataset = datasets.load(start.config.data)
    datasets.check_family(dataset, start.config.model.family)
    _check_batch(start.config, dataset)
    train = start.config.train
    model = presets.from_config(start.config.model, dataset.classes, train.survival)
    places = placement.mesh(start.config.seeds, train.batch_size, devices, mesh)
    where = placement.words(places, devices, _why_idle(start.config) if mesh is None else '')
    shape = dataset.train.inputs.shape[1:]
    values = state.trainable_values(model, train.gammas, shape)  # through the net
    with together.prepare(start, dataset) as run:
        step = run.total_steps
        if not run.finished:
            step = _train(run, model, values, dataset, report, stop, bar, places, where)
        return _end(run, dataset.source._asdict(), step, run.total_steps, report)


def _train(run: runs.Run, model, values, dataset, report, stop, bar, mesh, where) -> int:
    """Trains until the end or until `stop()`; returns the step."""
    identity = runs.identity(run.config, dataset.source.digest)
    examples = datasets.examples_of(run.config.data.name)
    newest = together.restore(run, identity)
    restored, trees, meta = newest or (None, None, {})
    step = restored or 0
    if restored is None:
        together.by_lead(lambda: recorder.keep_lost_lines(run, report))
    report(summary.opening(run, dataset, values, restored, where))
    if warning := summary.extension(run, step):
        report(warning)
    programs = program.Program(run.config, model, dataset, run.total_steps, mesh)
    networks = _networks(programs, restored, trees, meta)
    del newest, trees
    together.by_lead(lambda: runs.begin(run, dataset, step))
    with (
        contextlib.closing(programs),
        progress.Progress(report, step, run.total_steps, bar, examples) as said,
        recorder.Recorder(run, dataset, programs, said, step) as record,
    ):
        networks = record.begin(networks, restored, meta)
        if step < run.total_steps and not stop():
            processes.doing('compiling the training', processes.LONG)
            networks = programs.advance(networks, step, step)  # compiles
        said.begin()
        limit = 1
        with unsaved.work():
            while step < run.total_steps and not stop():
                target = min(run.total_steps, step + limit, record.every.next_stop(step))
                processes.doing(f'training from step {step}', processes.SHORT)
                began = time.perf_counter()
                networks = jax.block_until_ready(programs.advance(networks, step, target))
                seconds = time.perf_counter() - began
                networks = record.trained(networks, target - step, seconds)
                limit = together.agreed(max(1, int(CHUNK_SECONDS * (target - step) / seconds)))
                step = target
                networks = record.due(step, networks)
                said.at(step)
            record.stopped(step, networks)
    return step


def _whose_config(start: runs.Start, changes: Mapping[str, Any]) -> str:
    """Whose fields are taken where none that decides a step is given."""
    names = ', '.join(f'config.{path}' for path in changes)
    if start.stored is None:
        but = f', but for {names},' if names else ''
        return f"no run in {start.workdir}: the default run (the paper's){but} is trained"
    but = f' but {names}' if names else ''
    return f'no field of the config{but} is given: those of the run in {start.workdir} are taken'


def _why_idle(cfg: config.Config) -> str:
    networks = f'{cfg.seeds} network{"s" if cfg.seeds > 1 else ""}'
    return f'{networks} and batches of {cfg.train.batch_size} do not divide over more'


def _check_batch(cfg: config.Config, dataset: datasets.Dataset) -> None:
    size = len(dataset.train.labels)
    if cfg.train.batch_size > size:
        raise errors.ConfigError(
            f'config.train.batch_size={cfg.train.batch_size} is larger than the {size} training '
            f'examples of {dataset.source.name}: lower it to {size} or less'
        )
    total = config.total_steps(cfg, size)
    if total and cfg.train.warmup >= total:
        raise errors.ConfigError(
            f'config.train.warmup={cfg.train.warmup} steps are the whole run of {total}, which '
            'would never reach its rate: lower it, or train longer'
        )


def _networks(programs: program.Program, restored: int | None, trees, meta) -> program.Networks:
    """The networks of a checkpoint, or those of step 0."""
    if restored is None:
        return programs.begin()
    since = meta.get(totals.META)  # not there in checkpoints of earlier versions
    return programs.restore(restored, trees, since and totals.from_json(since))


def _end(run: runs.Run | runs.Start, source, step: int, total: int, report) -> Result:
    """Says how the run stands."""

    def standing():
        lines = metrics.read(run.workdir / runs.METRICS)
        diverged = summary.diverged_networks(run.workdir, step)
        if step < total:
            report(summary.stopped(step, total))
        else:
            for line in summary.closing(run, source, lines, diverged):
                report(line)
        accuracy = [line['test_accuracy'] for line in lines if 'test_accuracy' in line]
        last = np.array(accuracy[-1], float).tolist() if accuracy else []  # None, of JSON, is NaN
        return last, list(diverged.items())

    accuracy, diverged = together.by_lead(standing)
    return Result(step, step == total, accuracy, dict(diverged))
