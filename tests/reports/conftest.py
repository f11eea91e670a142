"""Runs with records of made-up numbers, for reports to be made of: nothing is measured."""

import functools
import pathlib
import shutil

import numpy as np
import pytest

from resnet_dyn import records
from resnet_dyn.analysis import (
    archive,
    depth_measures,
    gamma_profiles,
    interaction_spectra,
    lesion_curves,
    path_spectra,
)
from resnet_dyn.training import runs

STEPS = (0, 2, 6)
S, L, M = 2, 3, 4  # of the tiny run; draws


@pytest.fixture
def reported(report_in, tmp_path):
    """reported('batch', seed=1): a copy of the tiny run in tmp_path/batch, with records."""
    return functools.partial(report_in, tmp_path)


@pytest.fixture(scope='session')
def report_in(tiny_run):
    """report_in(folder, 'batch', seed=1): a copy of the tiny run in folder/batch, with records."""

    def make(parent: pathlib.Path, name: str, seed: int = 0, lost: bool = False):
        folder = shutil.copytree(tiny_run, parent / name, ignore=_without_records)
        settings = {'source': runs.read(folder).identity['data.digest'], 'examples': 30}
        for step in STEPS:
            for measure, record in made_up(step, np.random.default_rng([seed, step])).items():
                if lost and step == STEPS[-1]:
                    record = record._replace(**_rows_of_nan(record))
                origin = {
                    'settings': settings,
                    'command': f'python -m launch.analyze --what={measure}',
                    'date': '2026-01-01T00:00:00+00:00',
                    'wall_time': 1.0,
                    'code': {'version': '0.2.0', 'commit': None},
                    'versions': {'jax': '0.10'},
                    'left_out': {'network 1 (seed 1)': 'NaN'} if lost else {},
                }
                records.save(archive.path(folder, measure, step, settings), record, origin)
        return folder

    return make


def made_up(step: int, draw: np.random.Generator):
    """A record of each measure that has curves or laws, its numbers between 0.1 and 1."""

    def some(*shape):
        return draw.uniform(0.1, 1.0, shape).astype(np.float32)

    def law():
        weights = some(S, L + 1)
        return weights / weights.sum(1, keepdims=True)

    at = np.array(step)
    return {
        'gammas': gamma_profiles.Gammas(
            at, np.array(['norm']), some(S, L, 1), some(S, L, 1), some(S), some(S)
        ),
        'depth': depth_measures.DepthLaw(at, some(S, L), law(), law(), *(some(S) for _ in '1234')),
        'paths': path_spectra.PathSpectrum(
            at, *(some(S, L + 1) for _ in '1234'), np.array([1.0, 3, 3, 1]), some(S), np.array(2)
        ),
        'random': lesion_curves.RandomLesions(
            at, np.arange(L + 1), some(S, L + 1, M), some(S, L + 1, M)
        ),
        'singles': lesion_curves.SingleLesions(
            at, some(S), some(S), some(S, L), some(S, L), some(S, L)
        ),
        'interactions': interaction_spectra.Interactions(
            at, some(S, L + 1), some(S, L + 1), some(S), some(S, L), some(S, L)
        ),
    }


def _without_records(folder, names):
    return {'records', 'pictures', 'tables'} & set(names)


def _rows_of_nan(record):
    """The fields by network with the second network lost."""
    found = {}
    for field, values in record._asdict().items():
        if records.is_by_network(field):
            found[field] = values.copy()
            found[field][1] = np.nan
    return found
