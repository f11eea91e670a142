"""Records go to disk and back with their provenance, at once or not at all."""

from typing import NamedTuple

import ml_dtypes
import numpy as np
import pytest

from resnet_dyn import config, errors, records


class Lengths(NamedTuple):
    VERSION = 2
    weights_LR: np.ndarray
    name: str


def sample():
    return Lengths(np.arange(6.0, dtype=np.float32).reshape(2, 3), 'paper')


def test_a_record_and_its_provenance_come_back(tmp_path):
    path = records.save(tmp_path / 'deep' / 'a.npz', sample(), {'seed': 3})
    record, provenance = records.load(path, Lengths)
    assert isinstance(record, Lengths)
    np.testing.assert_array_equal(record.weights_LR, sample().weights_LR)
    assert record.weights_LR.dtype == np.float32
    assert str(record.name) == 'paper'
    assert provenance == {'seed': 3}


def test_without_its_class_a_record_has_the_names_of_the_file(tmp_path):
    record, _ = records.load(records.save(tmp_path / 'a.npz', sample(), {}))
    assert type(record).__name__ == 'Lengths'
    assert record._fields == ('weights_LR', 'name')


def test_another_version_or_class_is_refused(tmp_path):
    path = records.save(tmp_path / 'a.npz', sample(), {})
    newer = type('Lengths', (Lengths,), {'VERSION': 3})
    with pytest.raises(errors.RecordError, match=r'version 2 .* version 3'):
        records.load(path, newer)
    with pytest.raises(errors.RecordError, match='Lengths'):
        records.load(path, NamedTuple('Other', [('x', int)]))


@pytest.mark.parametrize('value', [np.array([None]), np.ones(2, ml_dtypes.bfloat16)])
def test_what_npz_cannot_hold_is_refused_by_name(tmp_path, value):
    with pytest.raises(errors.RecordError, match='weights_LR'):
        records.save(tmp_path / 'a.npz', Lengths(value, ''), {})
    assert not list(tmp_path.iterdir())


def test_a_damaged_a_missing_and_a_misnamed_file_are_said(tmp_path):
    path = records.save(tmp_path / 'a.npz', sample(), {})
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(errors.RecordError, match='damaged'):
        records.load(path)
    with pytest.raises(errors.RecordError, match='does not exist'):
        records.load(tmp_path / 'b.npz')
    with pytest.raises(errors.RecordError, match=r'\.npz'):
        records.save(tmp_path / 'a.json', sample(), {})


def test_a_record_replaces_an_older_one_and_leaves_nothing_beside_it(tmp_path):
    for version in (1, 2):
        path = records.save(tmp_path / 'a.npz', sample(), {'n': version})
    assert records.load(path)[1] == {'n': 2}
    assert list(tmp_path.iterdir()) == [path]


def test_provenance_says_config_code_seed_device_time_and_command(tmp_path):
    found = records.provenance(config.parse({'seed': 7}), seed=7, wall_time=1.5)
    assert found['config']['model']['family'] == 'fully_connected'
    assert found['seed'] == 7
    assert found['wall_time'] == 1.5
    assert found['device']['platform'] == 'cpu'
    assert found['code']['version']
    assert 'pytest' in found['command']
    records.save(tmp_path / 'a.npz', sample(), found)
