"""What is measured of each training, at which of its checkpoints; kept as records in its workdir.

Main and frozen at every checkpoint (at a few where `fast`), the other controls at a few; all
sub-networks at both ends of main alone and on few examples, since they cost 2^L. The records are
those of `launch.analyze`.
"""

import functools
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from resnet_dyn import errors, records
from resnet_dyn.analysis import effort as effort_lib
from resnet_dyn.analysis import run_subjects, trajectories
from resnet_dyn.reports import measures, notes, selection
from resnet_dyn.training import checkpoints, runs

EXAMPLES, IMAGES, FEWER = 200, 64, 50  # images cost more; the fewer for all sub-networks
FEW = 3  # checkpoints of a control
OFTEN = ('main', 'frozen')
EVERY = ('gammas', 'gamma_depth', 'depth', 'depth_use', 'paths', 'random', 'growth', 'singles')
SOME = ('gammas', 'gamma_depth', 'depth', 'paths')
ENDS = ('interactions',)
OPTIONS = {'paths': {'probes': 2}, 'random': {'draws': 8}}


class Look(NamedTuple):
    """Measures, the steps at which they are made, and on how many test examples."""

    what: tuple[str, ...]
    steps: tuple[int, ...]
    examples: int


class _Stopped(Exception):
    """Work was left in the middle; whole records are on disk."""


def planned(
    name: str, steps: Sequence[int], fast: bool = False, examples: int = EXAMPLES
) -> tuple[Look, ...]:
    """The looks at a run of this name that has checkpoints at these steps."""
    control = name.partition('-')[2] or name
    ends = (steps[0], steps[-1])
    here = tuple(steps) if control in OFTEN and not fast else few(steps)
    looks = [Look(EVERY if control == 'main' else SOME, here, examples)]
    return (*looks, Look(ENDS, ends, FEWER)) if control == 'main' else tuple(looks)


def few(steps: Sequence[int], number: int = FEW) -> tuple[int, ...]:
    """The first, the last and some between them, about as far apart in place: early ones count."""
    places = np.unique(np.linspace(0, len(steps) - 1, number).round().astype(int))
    return tuple(steps[place] for place in places)


def take(
    workdir: pathlib.Path,
    fast: bool = False,
    stop: Callable[[], bool] = lambda: False,
    report: Callable[[str], None] = print,
) -> Mapping[str, Any] | None:
    """Makes the records of a run that are not there yet; None where it was stopped."""
    flat = runs.read_config(workdir).model.family == 'fully_connected'
    looks = planned(workdir.name, checkpoints.folders(workdir), fast, EXAMPLES if flat else IMAGES)
    return take_all(workdir, looks, stop, report)


def take_all(
    workdir: pathlib.Path,
    looks: Sequence[Look],
    stop: Callable[[], bool] = lambda: False,
    report: Callable[[str], None] = print,
) -> Mapping[str, Any] | None:
    """Makes the records of these looks at a run that are not there; None where it was stopped."""
    known = runs.read(workdir)
    try:
        for look in looks:
            settings = effort_lib.Settings(examples=look.examples, examples_at_once=look.examples)
            run = run_subjects.Run(workdir, settings, known=known)
            _follow(run, look, effort_lib.of_settings(settings, run.how), stop, report)
    except _Stopped:
        return None
    return {}


def _follow(run: run_subjects.Run, look: Look, effort, stop, report) -> None:
    def watch(what: str, done: int, total: int) -> None:
        if stop():
            raise _Stopped

    what = [name for name in look.what if name in measures.MEASURES]
    first = run.first(look.steps, selection.looks(what))
    options = {name: values for name, values in OPTIONS.items() if name in what}
    try:
        chosen = selection.choose(what, first, effort, options)
    except errors.AnalysisError as error:
        report(f'{run.workdir.name}: {error}')
        return
    made = 0
    for visit in trajectories.follow(
        run,
        chosen.requests,
        effort,
        look.steps,
        run.workdir,
        origin=functools.partial(records.provenance, run.config, seed=run.config.seed),
        watch=watch,
    ):
        made += len(visit.made)
        if visit.damage or visit.left_out:
            report(f'{run.workdir.name}, {notes.visit(visit)}')
        if visit.unsaved:
            raise errors.RecordError(visit.unsaved)
        if stop():
            raise _Stopped
    if made:
        steps = f'steps {", ".join(map(str, look.steps))}'
        report(f'{run.workdir.name}: {", ".join(chosen.requests)} at {steps}')
