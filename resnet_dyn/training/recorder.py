"""What a run leaves behind while it trains: lines, records, TensorBoard events, checkpoints.

    metrics.jsonl    training lines    step, epoch, loss, train_accuracy, learning_rate,
                                       images_per_second: means since the line before; a list over
                                       the S networks, but for the rate and the images
                     evaluation lines  step, test_loss, test_loss_median, test_accuracy: lists over
                                       the S networks
    dynamics.jsonl   `dynamics.record` of each network, S first, at its step; step 0 too
    checkpoints/     step 0, then at the cadence of the config, and the last step; if the config
                     asks, also at 1, 2, 4, 8, ... below the first of the cadence

Evaluations take the running averages of the statistics of norms, which begin at 0 and 1 and still
hold a share of 0.9^t of these after t steps: in the first steps a test loss says little.

A network that has diverged has null in all of them, and NaN in checkpoints.

`images_per_second` counts those of all networks, sequences where the data are text, over the time
that went into training alone: neither compiling nor evaluating, recording and saving.
"""

import contextlib
import shutil
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from resnet_dyn import config, processes, unsaved
from resnet_dyn.data import datasets
from resnet_dyn.models import placement
from resnet_dyn.training import (
    checkpoints,
    description,
    divergence,
    metrics,
    optimizer,
    program,
    progress,
    runs,
    state,
    summary,
    together,
    totals,
)


class Cadence(NamedTuple):
    """Steps between what is done to a run while it trains; all of it is done at the last step."""

    log: int
    record: int
    evaluate: int
    checkpoint: int
    early: tuple[int, ...] = ()  # the steps of checkpoints before the first regular one

    def next_stop(self, step: int) -> int:
        """The next step at which anything is due."""
        regular = [step - step % every + every for every in self[:4]]
        return min(regular + [early for early in self.early if early > step])

    @property
    def first_saved(self) -> int:
        """The first step after 0 at which a checkpoint is due."""
        return min((*self.early, self.checkpoint))

    def saves(self, step: int) -> bool:
        """Whether a checkpoint is due."""
        return step % self.checkpoint == 0 or step in self.early


def cadence(cfg: config.Config, total_steps: int) -> Cadence:
    """The cadences of a config, where unset 1/50 or 1/10 of the run."""

    def share(given, parts):
        return given or max(1, round(total_steps / parts))

    regular = share(cfg.checkpoint.every, 10)
    return Cadence(
        log=share(cfg.log.every, 50),
        record=share(cfg.log.record, 50),
        evaluate=share(cfg.log.evaluate, 10),
        checkpoint=regular,
        early=tuple(_powers_of_two(below=regular)) if cfg.checkpoint.early else (),
    )


def early_steps(starts: Sequence[description.Start]) -> set[int]:
    """Those of all starts of a run, each up to where a later one began.

    They stay, whatever the cadence of a later start is.
    """
    found: set[int] = set()
    for start in starts:
        found = {step for step in found if step <= start.first}
        found.update(cadence(start.config, start.planned).early)
    return found


def keep_lost_lines(run: runs.Run, report: progress.Report) -> None:
    """Copies the lines of a run that begins anew because its checkpoints are gone, and says so.

    Lines past the first checkpoint mean that there was one; a run killed before it has none.
    """
    lines = metrics.read(run.workdir / runs.METRICS)
    if not lines or lines[-1]['step'] <= cadence(run.config, run.total_steps).first_saved:
        return
    number = 1
    while (run.workdir / f'{runs.METRICS}.lost-{number}').exists():
        number += 1
    with metrics.writing(run.workdir / f'{runs.METRICS}.lost-{number}'):
        for name in (runs.METRICS, runs.DYNAMICS):
            if (run.workdir / name).exists():
                run.check()
                shutil.copyfile(run.workdir / name, run.workdir / f'{name}.lost-{number}')
    report(
        f'WARNING: {run.workdir} has lines up to step {lines[-1]["step"]} and no checkpoint: '
        f'training starts at step 0, and the old lines are kept in {run.workdir}/*.lost-{number}'
    )


class Recorder:
    """Writes what is due at a step; `with` it, or close it, so that all is on disk.

    `step` is where this start of the run begins.
    """

    def __init__(
        self,
        run: runs.Run,
        dataset: datasets.Dataset,
        programs: program.Program,
        said: progress.Progress,
        step: int,
    ):
        cfg = run.config
        self.every = cadence(cfg, run.total_steps)
        self._run, self._programs, self._progress = run, programs, said
        self._watch = divergence.Watch(run, programs, said.say)
        self._last_line: dict | None = None
        self._rate = optimizer.learning_rate(cfg.train, run.total_steps)
        self._images_per_step = cfg.seeds * cfg.train.batch_size
        self._steps_per_epoch = len(dataset.train.labels) // cfg.train.batch_size
        self._steps, self._seconds = 0, 0.0
        self._meta = runs.meta(run, dataset)
        self._saved: int | None = None
        self._metrics = self._dynamics = self._checkpoints = together.Unwritten()
        if processes.is_lead():
            now = description.Start(cfg, step, run.total_steps)
            keep, early = cfg.checkpoint.keep, early_steps([*description.starts(run.stored), now])
            self._metrics = metrics.JsonLines(run.workdir / runs.METRICS, run.check)
            with contextlib.ExitStack() as opened:
                opened.callback(self._metrics.close)
                self._dynamics = metrics.JsonLines(run.workdir / runs.DYNAMICS, run.check)
                opened.callback(self._dynamics.close)
                self._checkpoints = checkpoints.Writer(run.workdir, keep, early, run.check)
                opened.pop_all()  # all are there, and closed when the run is left
        self._board: metrics.TensorBoard | None = None

    def __enter__(self):
        return self

    def __exit__(self, _, error, __):
        """Closes all; what goes wrong in that never takes the place of the `error` on its way."""
        opened = (self._checkpoints, self._metrics, self._dynamics, self._board)
        late = [failure for one in opened if (failure := _close(one)) is not None]
        for failure in late if error else late[1:]:
            print(f'warning: {failure}', file=sys.stderr, flush=True)
        if late and error is None:
            raise late[0]

    def begin(
        self, networks: program.Networks, restored: int | None, meta: dict[str, Any]
    ) -> program.Networks:
        """Cuts back what a killed run wrote after the step that is restored, None for none.

        What was due at that step is there; it is done (again) where none is restored, at the last
        one, and where the run was left before all of it was done.
        `meta` is that of the checkpoint: what the next line averages over began before it.
        """
        since = meta.get(totals.META, {})
        self._steps, self._seconds = since.get('steps', 0), since.get('seconds', 0.0)
        self._watch.begin(networks)
        step = restored or 0
        again = restored is None or step == self._run.total_steps or bool(meta.get(checkpoints.DUE))
        kept = step - 1 if again else step
        self._metrics.cut_after(kept)
        self._dynamics.cut_after(kept)
        if self._run.config.log.tensorboard and processes.is_lead():
            self._board = metrics.TensorBoard(self._run.workdir / runs.EVENTS, purge_step=kept + 1)
        self._saved = restored
        return self.due(step, networks) if again else networks

    def trained(self, networks: program.Networks, steps: int, seconds: float) -> program.Networks:
        """So many steps took so long; the networks without those that have diverged."""
        self._steps += steps
        self._seconds += seconds
        return self._watch.after_steps(networks, self._last_line)

    def due(self, step: int, networks: program.Networks) -> program.Networks:
        """Does what is due at `step`; after a training line the totals come back at zero.

        A process that is told to stop meanwhile saves the networks as they came, and what is due is
        done again when the run goes on.
        """
        self._run.check()
        last, first = step == self._run.total_steps, step == 0
        records = last or step % self.every.record == 0
        evaluates = last or (step % self.every.evaluate == 0 and not first)
        work = contextlib.nullcontext()
        if records or evaluates:
            work = self._saved_meanwhile(step, networks)
        with work:
            if self._steps and (last or step % self.every.log == 0):
                self._line(step, placement.gather(networks.totals))
                networks = self._programs.clear(networks)
            if records:
                self._record(step, networks)
            if evaluates:
                networks = self._evaluate(step, networks)
        if last or self.every.saves(step):
            self._save(step, networks)
        return networks

    def stopped(self, step: int, networks: program.Networks) -> None:
        """Saves, if it has not been saved, a run that is to go on later; waits for the disk."""
        if step != self._saved:
            self._save(step, networks)
        self._checkpoints.wait()

    def _saved_meanwhile(self, step: int, networks: program.Networks):
        """Within, the networks may be saved by another thread, with what is due not done."""
        trees, meta = self._snapshot(networks)

        def save() -> str:
            self._checkpoints.save(step, trees, meta | {checkpoints.DUE: True})
            self._checkpoints.wait()
            return summary.stopped(step, self._run.total_steps)

        return unsaved.work(save)

    def _line(self, step: int, sums: totals.Totals) -> None:
        line = {
            'epoch': step / self._steps_per_epoch,
            'loss': np.asarray(sums.loss) / self._steps,
            'train_accuracy': np.asarray(sums.accuracy) / self._steps,
            'learning_rate': float(self._rate(step - 1)),
            'images_per_second': self._images_per_step * self._steps / self._seconds,
        }
        self._steps, self._seconds = 0, 0.0
        self._last_line = {'step': step, **line}
        self._write(step, line)
        self._progress.trained(step, **line)

    def _evaluate(self, step: int, networks: program.Networks) -> program.Networks:
        processes.doing(f'evaluating at step {step}', processes.LONG)
        found = self._programs.evaluate(networks)
        networks = self._watch.after_evaluation(networks, step, found.loss)
        line = {'test_loss': found.loss, 'test_accuracy': found.accuracy}
        self._write(step, {**line, 'test_loss_median': found.median_loss})
        self._progress.evaluated(step, **line)
        return networks

    def _record(self, step: int, networks: program.Networks) -> None:
        processes.doing(f'recording at step {step}', processes.LONG)
        found = self._programs.record(networks)
        self._dynamics.write(step, **found)
        shown = ('weight_norm', 'gamma_mean', 'branch_moment', 'skip_moment')
        self._show(step, {name: found[name] for name in shown if name in found})

    def _write(self, step: int, line: dict) -> None:
        self._metrics.write(step, **line)
        self._show(step, line)

    def _show(self, step: int, values: dict) -> None:
        if self._board is not None:
            finite = {name: progress.finite(value) for name, value in values.items()}
            self._board.write(step, **{n: value for n, value in finite.items() if value.size})

    def _save(self, step: int, networks: program.Networks) -> None:
        self._checkpoints.save(step, *self._snapshot(networks))
        self._saved = step

    def _snapshot(self, networks: program.Networks) -> tuple[dict[str, Any], dict[str, Any]]:
        """(arrays on the host, meta) of a checkpoint of the networks as they are now."""
        trees, sums = placement.gather((state.to_trees(networks.state), networks.totals))
        since = {'steps': self._steps, 'seconds': self._seconds, **totals.to_json(sums)}
        return trees, self._meta | {totals.META: since}


def _powers_of_two(below: int) -> list[int]:
    return [2**n for n in range(below.bit_length()) if 2**n < below]


def _close(opened) -> Exception | None:
    """Closes what there is to close; returns what went wrong."""
    try:
        if opened is not None:
            opened.close()
    except Exception as error:
        return error
    return None
