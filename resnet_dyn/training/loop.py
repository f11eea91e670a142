"""Trains the networks of a run from its workdir's last checkpoint, or from step 0, to its end.

    while step < total:  advance to the next step at which anything is due; do what is due

The host comes back at multiples of the cadences of the config, and every few seconds in between,
so that it hears a signal; none of this changes a bit of the result. The lines of a step are
written before its checkpoint is saved: a run that goes on from a checkpoint has all lines up to it.
"""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np

from resnet_dyn import config, errors
from resnet_dyn.data import datasets
from resnet_dyn.models import presets, seed_axis
from resnet_dyn.training import checkpoints, metrics, program, progress, recorder, runs

CHUNK_SECONDS = 2.0


class Result(NamedTuple):
    """How a call of `train` ended."""

    step: int
    finished: bool  # False: left because of `stop`, all saved; the same call goes on with it
    test_accuracy: list[float]  # a fraction a network, of the last evaluation; [] if none yet


def train(
    cfg: config.Config,
    workdir,
    report: progress.Report = print,
    stop: Callable[[], bool] = lambda: False,
    bar: bool = False,
    devices: Sequence[jax.Device] | None = None,
) -> Result:
    """Trains the `cfg.seeds` networks of a run in `workdir` and returns when it is done.

    `report` takes lines for people; `bar` keeps a progress bar below them; once `stop()`, asked
    every few seconds, is true, the run is saved and left. `devices` are all of JAX's unless given.
    A finished run is left as it is. Raises ValueErrors that say what to mend: for a config or a
    workdir that will not do, absent data, damaged checkpoints; and NotFiniteError where the loss
    of a network becomes NaN or Inf.
    """
    runs.check(workdir, cfg)
    dataset = datasets.load(cfg.data)
    _check_batch(cfg, dataset)
    with runs.prepare(workdir, cfg, dataset) as run:
        if run.finished:
            step = run.total_steps
            report(f'the run in {run.workdir} is finished: nothing to do')
        else:
            step = _train(run, dataset, report, stop, bar, devices)
    accuracy = _report_end(run, dataset, step, report)
    return Result(step, step == run.total_steps, accuracy)


def next_stop(step: int, total_steps: int, every: recorder.Cadence, limit: int) -> int:
    """The next step at which something is due, at most `limit` steps ahead."""
    return min(total_steps, step + limit, *(step - step % n + n for n in every))


def _train(run: runs.Run, dataset, report, stop, bar, devices) -> int:
    """Trains until the end or until `stop()`; returns the step."""
    mesh = seed_axis.mesh(run.config.seeds, devices)
    model = presets.from_config(run.config.model, dataset.classes)
    identity = runs.identity(run.config, dataset.source.digest)
    step, trees, _ = checkpoints.restore_training(run.workdir, identity) or (None, None, None)
    if step is None:
        recorder.keep_lost_lines(run, report)
    report(_opening(run, dataset, step, mesh))
    programs = program.Program(run.config, model, dataset, run.total_steps, mesh)
    networks = programs.begin() if step is None else programs.restore(step, trees)
    with (
        progress.Progress(report, step or 0, run.total_steps, bar) as said,
        recorder.Recorder(run, dataset, programs, said) as record,
    ):
        networks = record.begin(networks, step)
        step = step or 0
        networks = programs.advance(networks, step, step)  # compiles
        said.begin()
        limit = 1
        while step < run.total_steps and not stop():
            target = next_stop(step, run.total_steps, record.every, limit)
            began = time.perf_counter()
            networks = jax.block_until_ready(programs.advance(networks, step, target))
            seconds = time.perf_counter() - began
            _check_finite(run, networks.totals, record.last_line)
            record.trained(target - step, seconds)
            limit = max(1, int(CHUNK_SECONDS * (target - step) / seconds))
            step = target
            networks = record.due(step, networks)
            said.at(step)
        record.stopped(step, networks)
    return step


def _check_batch(cfg: config.Config, dataset: datasets.Dataset) -> None:
    size = len(dataset.train.labels)
    if cfg.train.batch_size > size:
        raise errors.ConfigError(
            f'config.train.batch_size={cfg.train.batch_size} is larger than the {size} training '
            f'examples of {dataset.source.name}: lower it to {size} or less'
        )


def _check_finite(run: runs.Run, totals: program.Totals, last_line: dict | None) -> None:
    first_bad_S = np.asarray(totals.first_bad)
    s = int(first_bad_S.argmin())
    if first_bad_S[s] == program.NEVER:
        return
    step = int(first_bad_S[s]) + 1
    last_finite = float(totals.last_finite[s])
    before = f'the last finite one is {last_finite:.4g}'
    if not np.isfinite(last_finite):
        before = 'none was finite since this start'
    if last_line is not None:
        before += (
            f', and the last line, at step {last_line["step"]}, has for it the loss '
            f'{last_line["loss"][s]:.4g} and the accuracy {last_line["train_accuracy"][s]:.4f}'
        )
    raise errors.NotFiniteError(
        f'the loss of network {s} (seed {run.config.seed + s}) became NaN or Inf at step {step}; '
        f'{before}. Take a lower config.train.learning_rate (it is '
        f'{run.config.train.learning_rate}) or a config.train.warmup, in another workdir; what was '
        f'saved before stays in {run.workdir}'
    )


def _opening(run: runs.Run, dataset, restored: int | None, mesh) -> str:
    cfg = run.config
    what = f'{cfg.seeds} network{"s" if cfg.seeds > 1 else ""} ({cfg.model.family}, '
    what += f'depth {cfg.model.depth}, {cfg.model.block}, norm {cfg.model.norm})'
    where = f'{mesh.size} {mesh.devices.flat[0].platform} device{"s" if mesh.size > 1 else ""}'
    start = 'from step 0' if restored is None else f'restored at step {restored}'
    return (
        f'{what} on {_named(dataset)}, {len(dataset.train.labels)} training and '
        f'{len(dataset.test.labels)} test examples; {run.total_steps} steps of '
        f'{cfg.train.batch_size}, {start}; {where}, {cfg.train.seed_axis}; in {run.workdir}'
    )


def _report_end(run: runs.Run, dataset, step: int, report) -> list[float]:
    """Says how the run stands, from its metrics; returns the accuracies of its last evaluation."""
    if step < run.total_steps:
        report(f'stopped at step {step} of {run.total_steps}, all saved: start again to go on')
    lines = metrics.read(run.workdir / runs.METRICS)
    accuracy = [line['test_accuracy'] for line in lines if 'test_accuracy' in line]
    speed = [line['images_per_second'] for line in lines if 'images_per_second' in line]
    if step == run.total_steps:
        rate = f'; {np.median(speed):.0f} images/s' if speed else ''
        report(
            f'test accuracy {progress.over_seeds(accuracy[-1])} on {_named(dataset)} after step '
            f'{step}{rate}; {runs.METRICS}, {runs.DYNAMICS} and checkpoints are in {run.workdir}'
        )
    return accuracy[-1] if accuracy else []


def _named(dataset: datasets.Dataset) -> str:
    source = dataset.source
    return f'{source.name} ({source.note})' if source.note else source.name
