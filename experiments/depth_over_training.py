"""Does the virtual ensemble get deeper while it trains, and is it the scales that do it?

    make dynamics                                       gaussians and digits (FAST=1: a rough look)
    python -m launch.dynamics --workdir=build/dynamics_cifar --data=cifar10 --config.data.dir=DATA

Littwin & Wolf (2016): "at the start short paths dominate; the scales grow; they pull the ensemble
deeper". Three tasks, each a main run and its controls, all from one set of seeds:
  gaussians  the paper's: 50 Gaussians, p = 10 (L = 9), width 100, BN after the ReLU; 20 networks
  digits     8x8 images, ResNet-14 (preact, L = 6), no weight decay; 10 networks
  cifar10    10,000 of its images, ResNet-20 (preact, L = 9), weight decay 5e-4; 3 networks

The rules below were written, and committed, before the first full run; what they find is in
claims.csv, not here.

What is taken for depth, one number a network and checkpoint, as the mean k = r - 1 of the number of
branches on a path, of at most L:
  gamma_depth   predicted from gammas alone, sigma recomputed   where the theory has the block
  depth         predicted from measured power gains, incoherent, and coherent
  paths         exact gradient paths: by |G_k|^2 (norm of the sum), by S_k (energies); forward paths
                by |u_k|^2
  interactions  mean order of the variance of the logits over all 2^L sub-networks   where L <= 10
For claim 2 alone also, in blocks: depth_use (the depth from which the head agrees with the output
in KL, in top-5; last sign change of cos(branch, h)). Half-error lesions are shown and not judged:
at step 0 the error is chance, which cannot double.

Every rule reads a 95 % interval over networks (Student's t; the unit is a network, never an example
or a mask, which networks share). Outcome of one interval: `holds` where it lies on the side that
the claim says, `fails` where on the other, `undecided` where 0 is in it, `not measured` for fewer
than two networks. Outcome of a claim on a task: that of its intervals where all that were measured
agree, else `depends on the measure`. Intervals are 95 % each, one by one; they are not corrected
for their number, which is said with them.

  1 initial depth below half   E[k] - L/2 at step 0, by each measure of depth: below 0 holds
  2 depth grows                E[k] at the last step less that at step 0 of the same network, by
                               each measure: above 0 holds
  3 gammas grow                mean |gamma| of the branches' last scales, last step less step 0:
                               above 0 holds
  4 the first layer differs    mean |gamma| of the stem less that of the branches' last scales at
                               the last step: an interval without 0 holds, on either side. It never
                               fails: to show two means equal takes a margin, and the paper has none
  5 frozen gammas deepen less  (change of E[k] in main) - (change of E[k] with gammas frozen),
                               networks paired by seed, by each measure: above 0 holds
  6 weights grow without norm  norm of all weights, last step over step 0, less 1, in each run of
                               norm none: above 0 holds
  7 branch/skip falls as 1/l   slope of log(E|branch_l|^2 / E|skip_l|^2) by log l, least squares
                               over l = 1..L in each network at step 0 (De & Smith 2020 say -1):
                               within [-1.5, -0.5] holds, wholly outside it fails, else undecided
  8 short paths carry it       share of the gradient, by S_k and by |G_k|^2, at the last step, in
                               paths of k <= L/2, less the share of all 2^L paths that are that
                               short (Veit et al. 2016): above 0 holds

Each is judged on the main run of each task (5 and 6: on the runs that they name). The same numbers
of 2, 3 and 8, of every control and paired by seed with main, are in controls.csv: numbers without a
verdict, to see what makes a difference.

What a control is, and why its rate: norm none takes 0.0003 (larger ones diverge), none with a
branch scale that starts at the identity 0.01 (gaussians) or 0.05 (images).
`gamma-0` starts the last gamma of each branch at 0, `gamma-0.1` all gammas at 0.1.
`decay-kernels` is the twin of decay-branch, -other and -all: 5e-4 on kernels, and on no gamma, on
those of each branch's last norm, on the others, on all. Where main decays its kernels (cifar10), it
is the twin itself.
"""

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from experiments import study
from experiments.dynamics import looks, rules, tables, trainings
from resnet_dyn import errors, fields
from resnet_dyn.reports import claims, series

DATA = ('gaussians', 'digits')
STUDIES: Mapping[str, study.Study] = {task: trainings.study_of(task) for task in trainings.TASKS}

CLAIMS = (
    claims.Claim(
        'initial-depth-below-half',
        'At the start the ensemble is shallower than half of its blocks',
        'E[k] - L/2 at step 0, by each measure of depth; holds where the interval is below 0',
        rules.initial,
    ),
    claims.Claim(
        'depth-grows',
        'Depth grows in training',
        'E[k] at the last step less that at step 0 of the same network; holds above 0',
        rules.grows,
    ),
    claims.Claim(
        'gammas-grow',
        'Gammas grow in training',
        "mean |gamma| of the branches' last scales, last step less step 0; holds above 0",
        rules.gammas_grow,
    ),
    claims.Claim(
        'first-layer-differs',
        'The first layer differs from the others',
        "mean |gamma| of the stem less that of the branches' last scales, at the last step; holds "
        'where the interval excludes 0 on either side; never fails, since no margin is given '
        'within which they would be equal',
        rules.first_layer,
    ),
    claims.Claim(
        'frozen-deepens-less',
        'With gammas frozen depth grows less',
        'change of E[k] in the main run less that with gammas frozen, paired by seed; holds '
        'above 0',
        rules.frozen_less,
    ),
    claims.Claim(
        'weights-grow-without-norm',
        'Without normalisation weights grow',
        'norm of all weights, last step over step 0, less 1, of runs of norm none; holds above 0',
        rules.weights_grow,
    ),
    claims.Claim(
        'branch-falls-as-1-over-l',
        'At the start the variance of branch over skip falls like 1/l',
        'slope of log(branch/skip second moment) by log l at step 0; holds within [-1.5, -0.5], '
        'fails wholly outside',
        rules.slope,
    ),
    claims.Claim(
        'short-paths-carry-gradient',
        'After training short paths carry the gradient',
        'share of the gradient in paths of k <= L/2 at the last step, less the share of all 2^L '
        'paths there; holds above 0',
        rules.short_carry,
    ),
)


class Result(NamedTuple):
    """What came of it: whether all is done, the runs, the files, the verdicts."""

    finished: bool
    runs: tuple[pathlib.Path, ...] = ()
    files: tuple[pathlib.Path, ...] = ()
    verdicts: tuple[claims.Verdict, ...] = ()
    diverged: tuple[str, ...] = ()  # runs of which networks are left out


def run(
    workdir,
    data: Sequence[str] = DATA,
    fast: bool = False,
    changes: Mapping[str, Any] | None = None,
    stop: Callable[[], bool] = lambda: False,
    report: Callable[[str], None] = print,
    threads: int = 1,
) -> Result:
    """Trains, measures and judges what is not there yet in `workdir/runs/<task>-<control>`.

    Files: claims.csv, controls.csv, trajectories.csv, correlations.csv and runs.csv. `changes` by
    dotted path are made to all runs, `threads` of which go at a time. Started again, it goes on
    where it was: finished runs and records are left as they are. Raises ConfigError for a task that
    is none.
    """
    workdir, data = pathlib.Path(workdir), list(dict.fromkeys(data))
    if not data:
        raise errors.ConfigError(f'no task is named: take some of {", ".join(STUDIES)}')
    for task in data:
        if task not in STUDIES:
            hint = fields.nearest(task, STUDIES)
            raise errors.ConfigError(f'no task {task!r}: take some of {", ".join(STUDIES)}{hint}')
    found, rows, diverged = [], [], {}
    for task in data:
        trained = study.run(
            trainings.study_of(task, fast, changes),
            workdir,
            lambda folder: looks.take(folder, fast, stop, report),
            stop,
            report,
            threads=threads,
        )
        if not trained.finished:
            return Result(False)
        found += [folder for name, folder in trained.workdirs.items() if name not in trained.failed]
        rows += trained.rows
        diverged |= trained.diverged | trained.failed
    runs = {folder.name: series.read(folder) for folder in found}
    verdicts = tuple(claims.judge(CLAIMS, runs))
    files = (
        claims.write_csv(workdir / 'claims.csv', verdicts),
        tables.write_controls(workdir / 'controls.csv', runs),
        tables.write_trajectories(workdir / 'trajectories.csv', runs),
        tables.write_correlations(workdir / 'correlations.csv', runs),
        study.write_csv(workdir / 'runs.csv', rows),
    )
    said = tuple(f'{name}: {why}' for name, why in diverged.items())
    return Result(True, tuple(found), files, verdicts, said)
