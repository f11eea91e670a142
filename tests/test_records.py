"""Records go to disk and back with their provenance, at once or not at all."""

import errno
import os
import pathlib
import shlex
import sys
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
    found = records.provenance(config.parse({'seed': 7}), seed=7, network=2, wall_time=1.5)
    assert found['config']['model']['family'] == 'fully_connected'
    assert (found['seed'], found['network']) == (7, 2)
    assert found['wall_time'] == 1.5
    assert found['device']['platform'] == 'cpu'
    assert found['code']['version']
    assert shlex.split(found['command']) == sys.orig_argv
    records.save(tmp_path / 'a.npz', sample(), found)


def raises(error):
    def call(*args, **kwargs):
        raise error

    return call


@pytest.mark.parametrize(
    'owner, name', [(pathlib.Path, 'mkdir'), (pathlib.Path, 'write_bytes'), (os, 'replace')]
)
def test_a_full_disk_is_said_with_the_path_and_leaves_the_older_record(
    tmp_path, monkeypatch, owner, name
):
    path = records.save(tmp_path / 'a.npz', sample(), {'n': 1})
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, raises(OSError(errno.ENOSPC, 'No space left on device')))
        with pytest.raises(errors.RecordError, match=r'a\.npz cannot be written .*No space left'):
            records.save(path, sample(), {'n': 2})
    assert records.load(path)[1] == {'n': 1}
    assert list(tmp_path.iterdir()) == [path]


def test_a_disk_that_does_not_answer_is_not_called_damage(tmp_path, monkeypatch):
    path = records.save(tmp_path / 'a.npz', sample(), {})
    broken = OSError(errno.EIO, 'Input/output error')
    monkeypatch.setattr(pathlib.Path, 'read_bytes', raises(broken))
    with pytest.raises(errors.RecordError, match=r'cannot be read .*Input/output error'):
        records.load(path)


def test_every_byte_flipped_is_a_record_error_or_the_same_record(tmp_path):
    path = records.save(tmp_path / 'a.npz', sample(), {'seed': 3})
    data, refused = path.read_bytes(), 0
    for place in range(len(data)):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :])
        try:
            record, origin = records.load(path)
        except errors.RecordError:
            refused += 1
            continue
        assert (record.weights_LR == sample().weights_LR).all() and origin == {'seed': 3}
    assert refused > len(data) / 2


def test_a_folder_that_can_be_written_is_as_it_was_after_the_question(tmp_path):
    (tmp_path / 'records').mkdir()
    records.check_writable(tmp_path / 'records')
    records.check_writable(tmp_path / 'new' / 'records')
    assert [path.name for path in tmp_path.rglob('*')] == ['records']


@pytest.mark.parametrize('number', [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_a_folder_that_cannot_be_written_is_said_before_anything_is_computed(
    tmp_path, monkeypatch, number
):
    with monkeypatch.context() as patch:
        patch.setattr(pathlib.Path, 'write_bytes', raises(OSError(number, os.strerror(number))))
        with pytest.raises(
            errors.RecordError, match=f'cannot be written to .*{os.strerror(number)}'
        ):
            records.check_writable(tmp_path / 'records')
    assert not list(tmp_path.iterdir())
    (tmp_path / 'file').write_text('mine')
    with pytest.raises(errors.RecordError, match='records cannot be written to'):
        records.check_writable(tmp_path / 'file')
    assert (tmp_path / 'file').read_text() == 'mine'


def test_text_is_written_as_utf_8_with_its_own_ends_of_lines(tmp_path):
    path = records.write_text(tmp_path / 'new' / 'a.csv', 'a → b\r\n± 1\n')
    assert path.read_bytes() == b'a \xe2\x86\x92 b\r\n\xc2\xb1 1\n'
    assert list(path.parent.iterdir()) == [path]


def test_of_two_that_write_a_file_at_once_each_writes_all_of_it(tmp_path, monkeypatch):
    path, replace = tmp_path / 'table', os.replace

    def overtaken(*names):
        monkeypatch.setattr(os, 'replace', replace)
        with monkeypatch.context() as machine:
            machine.setattr(records, '_OWN', 'another')
            records.write_text(path, 'of another machine')
        assert path.read_text() == 'of another machine'
        replace(*names)

    monkeypatch.setattr(os, 'replace', overtaken)
    records.write_text(path, 'ours')
    assert path.read_text() == 'ours' and os.listdir(tmp_path) == ['table']
