"""What people read is written at once: a full disk leaves what stood there, and is said."""

import errno
import os

import matplotlib.figure
import pytest

from experiments import figures, readme, study, verify_theorems
from experiments.benchmarks import results
from resnet_dyn import errors, records
from resnet_dyn.plots import style
from resnet_dyn.reports import closing, pictures, tables


def _closing(folder):
    closing._write(folder, 'singles', [], closing.Analysis(None, (), None))


WRITERS = {
    'README.md': lambda folder: readme.write({}, folder / 'build', str, folder),
    'docs/counts.png': lambda folder: readme._copy_pictures(folder / 'build', folder / 'docs'),
    'benchmark_train.json': lambda folder: results.write(folder, 'train', {}, seconds=1.0),
    'theorems.txt': lambda folder: verify_theorems._write_table(folder, [], {}),
    'table.csv': lambda folder: tables.write_csv(folder / 'table.csv', {}, ()),
    'tables/singles.txt': _closing,
    'study.csv': lambda folder: study.write_csv(folder / 'study.csv', []),
    'figure1.csv': lambda folder: figures.write_csv(folder / 'figure1.csv', ()),
    'small.png': lambda folder: style.save(matplotlib.figure.Figure(), folder / 'small'),
}


@pytest.mark.parametrize('name', WRITERS)
def test_a_full_disk_leaves_what_stood_there_and_is_said_with_the_file(tmp_path, monkeypatch, name):
    old = '\n'.join(['old', *(line for table in readme.TABLES for line in table.markers), ''])
    for path in (tmp_path / name, tmp_path / 'build' / 'theorems' / 'counts.png'):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(old)
    before = sorted(tmp_path.rglob('*'))
    monkeypatch.setattr(pictures, 'which', lambda *_: '')
    monkeypatch.setattr(closing, '_note', lambda *_: '')
    monkeypatch.setattr(closing, '_lines', lambda *_: [])
    monkeypatch.setattr(records, 'provenance', lambda **_: {})
    if name == 'tables/singles.txt':  # written after its .csv
        monkeypatch.setattr(tables, 'write_csv', lambda *_: None)

    def full(*_):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(os, 'replace', full)
    with pytest.raises(errors.RecordError, match=f'{name} cannot be written .*No space left'):
        WRITERS[name](tmp_path)
    assert (tmp_path / name).read_text() == old
    assert sorted(tmp_path.rglob('*')) == before
