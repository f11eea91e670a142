"""The figure of the transformer at toy size, from nothing to the files and the README's rows."""

import csv

import numpy as np
import pytest

from experiments import readme_rows, study, transformer
from resnet_dyn import errors, records
from resnet_dyn.analysis import archive
from resnet_dyn.reports import measures

TINY = {'data.length': 6, 'model.width': 8, 'train.steps': 4, 'checkpoint.every': 4}


@pytest.mark.slow
def test_it_is_made_from_nothing_and_its_rows_are_of_the_records(tmp_path, sketched):
    workdir = tmp_path / 'transformer'
    result = transformer.run(workdir, True, TINY, report=lambda line: None)
    assert result.finished and not result.diverged
    suffixes = ('npz', 'csv', 'png', 'pdf')
    assert [path.name for path in result.files] == [f'transformer_fast.{s}' for s in suffixes]
    record, origin = records.load(workdir / 'transformer_fast.npz', transformer.Transformer)
    assert set(origin['config']) == set(transformer.RUNS)
    assert record.predicted_NST.shape == (2, 2, len(record.steps_T))
    for n, name in enumerate(transformer.RUNS):
        folder = workdir / 'runs' / f'{name}_fast'
        last = archive.read(folder, 'depth', measures.MEASURES['depth'].record)[-1].record
        np.testing.assert_array_equal(record.predicted_NST[n, :, -1], last.incoherent_mean_S)
        scores = study.final_metrics(folder)['test_accuracy']
        np.testing.assert_allclose(record.final_error_NS[n], 1 - scores)
    with open(workdir / 'transformer_fast.csv', newline='') as file:
        assert {row['run'] for row in csv.DictReader(file)} == set(transformer.RUNS)
    (workdir / 'transformer_fast.npz').rename(workdir / 'transformer.npz')
    rows = readme_rows.read('transformer', tmp_path)
    assert [row.n for row in rows] == ['2'] * 5 and 'pre-LN; with LayerNorm scaling' in rows[
        0
    ].claim
    assert [f'{row.claim}: {row.number}' for row in rows] == list(result.findings)


def test_other_networks_are_refused_and_a_stop_is_heard(tmp_path):
    with pytest.raises(errors.ConfigError, match='does not go with'):
        transformer.trainings(changes={'model.family': 'fully_connected'})
    assert not transformer.run(tmp_path, True, stop=lambda: True, report=lambda line: None).finished


def test_one_pair_of_networks_has_a_difference_without_an_interval():
    assert transformer._difference(np.array([[1.0], [3.0]])) == '+2 (n = 1, no interval)'
    assert transformer._difference(np.array([[np.nan], [3.0]])) == 'not finite'
    assert transformer._difference(np.array([[1.0, 2.0], [3.0, 4.0]])) == '+2 [+2, +2]'
