"""What is known of a run, as series over its steps: every column of every measure, by network.

    read(workdir).series['depth', 'E[r] incoherent'].values_ST

Nothing is computed that the records do not hold: `launch.analyze` makes them. Where records of
several settings stand at a step, the dearest is taken (`analysis.archive`). What training wrote of
itself is the measure `training`.
"""

import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from resnet_dyn import config
from resnet_dyn.analysis import archive, depth_measures
from resnet_dyn.analysis.measure import Column
from resnet_dyn.reports import measures
from resnet_dyn.training import metrics, runs

TRAINING = 'training'  # the measure of what training wrote itself

_METRICS = {
    'test_accuracy': ('test accuracy', '.4f', 'share of the test set, norms as training averaged'),
    'test_loss': ('test loss', '.4f', 'mean over the test set, norms as training averaged'),
    'train_accuracy': ('training accuracy', '.4f', 'mean over the steps since the line before'),
    'loss': ('training loss', '.4f', 'mean over the steps since the line before'),
}
_DYNAMICS: Mapping[str, tuple[str, str, str]] = {
    'weight_norm': ('weight norm', '.4g', 'sqrt of the sum of squares over all kernels'),
    'gamma_mean': (
        'mean |gamma|',
        '.4f',
        "mean over channels and blocks of |gamma| of each branch's last scale",
    ),
    'stem_gamma_mean': ('|gamma| of the first layer', '.4f', 'mean over channels, of the stem'),
}
_PROBE_DEPTH = (
    'E[r] incoherent, on the probe',
    '.3f',
    'mean path length r predicted from the power gains that training recorded on its probe batch, '
    'if paths are uncorrelated',
)


class Series(NamedTuple):
    """One number over the steps of a run; NaN for a network that is left out there."""

    measure: str  # a row of the table of measures, or 'training'
    title: str
    meaning: str
    form: str  # as in format(mean, form)
    steps_T: np.ndarray
    values_ST: np.ndarray  # float64

    def at(self, step: int) -> np.ndarray:
        """The values (S,) at a step; KeyError where it has none."""
        found = np.flatnonzero(self.steps_T == step)
        if not len(found):
            raise KeyError(f'{self.measure}, {self.title}: no step {step}')
        return self.values_ST[:, found[0]]


class RunSeries(NamedTuple):
    """A run as it stands on disk."""

    workdir: pathlib.Path
    name: str  # of the folder
    config: config.Config
    series: dict[tuple[str, str], Series]  # by measure and title, in the order of the tables
    records: dict[str, list[tuple[int, NamedTuple, dict[str, Any]]]]  # step, record, provenance
    total_steps: int = 0  # 0 where nobody asked

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of the networks, in their order."""
        return tuple(self.config.seed + s for s in range(self.config.seeds))


def read(workdir) -> RunSeries:
    """Whatever is on disk of the run in a workdir; RunError where there is none.

    Records of all its networks alone, of the data that it was trained on.
    """
    workdir = pathlib.Path(workdir).absolute()
    known = runs.read(workdir)
    like = {'source': known.identity['data.digest']}
    found, series = {}, []
    for name, measure in measures.MEASURES.items():
        found_T = archive.read(workdir, name, measure.record, like=like)
        found_T = [one for one in found_T if one.origin.get('network') is None]
        if found_T:
            found[name] = [(int(one.record.step), *one) for one in found_T]
            series += [_of_column(name, column, found[name]) for column in measure.columns]
    series = [*_of_training(workdir), *series]
    by_name = {(one.measure, one.title): one for one in series}
    return RunSeries(workdir, workdir.name, known.config, by_name, found)


def _of_column(name: str, column: Column, records_T: Sequence[tuple]) -> Series:
    values = [np.atleast_1d(np.asarray(column.value(record), float)) for _, record, _ in records_T]
    steps_T = np.array([step for step, *_ in records_T])
    return Series(name, column.title, column.meaning, column.form, steps_T, np.stack(values, 1))


def _of_training(workdir: pathlib.Path) -> Iterator[Series]:
    for kept, file in ((_METRICS, runs.METRICS), (_DYNAMICS, runs.DYNAMICS)):
        lines = metrics.read(workdir / file)
        for field, (title, form, meaning) in kept.items():
            steps_T, values_TS = _of_lines(lines, field)
            if len(steps_T):
                values_ST = values_TS.reshape(*values_TS.shape[:2], -1).mean(-1).T
                yield Series(TRAINING, title, meaning, form, steps_T, values_ST)
    steps_T, branch_TSL = _of_lines(lines, 'branch_moment')
    if len(steps_T):
        with np.errstate(divide='ignore', invalid='ignore'):  # blocks without a skip
            powers_TSL = branch_TSL / _of_lines(lines, 'skip_moment')[1]
        depths_ST = _depths(powers_TSL).T
        title, form, meaning = _PROBE_DEPTH
        yield Series(TRAINING, title, meaning, form, steps_T, depths_ST)


def _of_lines(lines: Sequence[Mapping[str, Any]], field: str) -> tuple[np.ndarray, np.ndarray]:
    """(steps, values by network) of a field: the last line of a step that has it."""
    by_step = {line['step']: line[field] for line in lines if field in line}
    steps_T = np.array(sorted(by_step), int)
    return steps_T, np.array([by_step[step] for step in steps_T], float)


def _depths(powers_TSL) -> np.ndarray:
    """E[r] (T, S) of measured power gains; NaN where those of a network are not finite."""
    finite_TS = np.isfinite(powers_TSL).all(-1)
    gains_TSL = np.sqrt(np.where(finite_TS[..., None], powers_TSL, 1.0))
    law = depth_measures.from_gains(0, gains_TSL.reshape(-1, gains_TSL.shape[-1]))
    return np.where(finite_TS, law.incoherent_mean_S.reshape(finite_TS.shape), np.nan)
