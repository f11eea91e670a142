"""A folder of runs where a run is expected: analysed one after the other, reported side by side."""

import csv
import json
import shutil

import numpy as np
import pytest

from launch import main, many
from resnet_dyn.training import run_folders

pytestmark = pytest.mark.usefixtures('sketched')


@pytest.fixture
def folder(tiny_run, tmp_path):
    """Two runs, a damaged one between them, and what is none."""
    leave = shutil.ignore_patterns('records', 'pictures', 'tables')
    for name in ('a', 'b', 'c'):
        shutil.copytree(tiny_run, tmp_path / 'W' / name, ignore=leave)
    (tmp_path / 'W' / 'b' / 'config.json').write_text('{}')
    (tmp_path / 'W' / 'logs').mkdir()
    (tmp_path / 'W' / 'begun').mkdir()  # a run that has written nothing yet
    return tmp_path / 'W'


def test_runs_are_found_in_a_folder_and_below_it(folder, tmp_path):
    runs = [folder / name for name in ('a', 'b', 'c')]
    assert run_folders.runs_of(folder) == runs
    assert run_folders.runs_of(folder / 'a') == [folder / 'a']
    assert run_folders.runs_of(folder / 'begun') == run_folders.runs_of(tmp_path / 'none') == []
    study = tmp_path / 'study'
    study.mkdir()
    folder.rename(study / 'runs')
    assert [run.name for run in run_folders.runs_of(study)] == ['a', 'b', 'c']


def test_every_run_is_analysed_and_the_one_that_cannot_be_is_said(called, folder):
    command = ('analyze', f'--workdir={folder}', '--what=gammas', '--steps=last')
    status, out, err = called(*command)
    assert (status, err) == (1, '')
    assert f'{folder / "b"} (run 2 of 3)\nFAILED: ' in out and 'is damaged' in out
    assert out.splitlines()[-1] == 'failed: b'
    for name, there in (('a', True), ('b', False), ('c', True)):
        assert bool(list((folder / name).glob('records/gammas-*.npz'))) == there
    status, _, err = called(*command, '--what=gamas')
    assert status == 1 and err.count("did you mean 'gammas'?") == 1


def test_an_analysis_of_a_sweep_brings_its_table_up_to_date(called, folder):
    rows = [{'run': name, 'state': state, 'why': ''} for name, state in (('a', 'done'), ('d', 'x'))]
    (folder / 'table.jsonl').write_text('\n'.join(map(json.dumps, rows)))
    called('analyze', f'--workdir={folder}', '--what=gammas', '--steps=last')
    first, waiting = map(json.loads, (folder / 'table.jsonl').read_text().splitlines())
    assert waiting == rows[1] and first['state'] == 'done'
    with open(folder / 'a' / 'tables' / 'gammas.csv', newline='') as file:
        written = [row for row in csv.DictReader(file) if row['number'] == 'mean |gamma|']
    assert (first['gammas/step'], first['config.model.depth']) == (6, 4)
    values_S = [float(row['value']) for row in written]
    np.testing.assert_allclose(first['gammas/mean |gamma|_networks'], values_S, rtol=1e-6)
    np.testing.assert_allclose(first['gammas/mean |gamma|'], np.mean(values_S), rtol=1e-6)
    assert 'gammas/mean |gamma|_std' in (folder / 'table.csv').read_text().splitlines()[0]
    (folder / 'table.jsonl').write_text('[]')
    status, _, err = called('analyze', f'--workdir={folder}', '--what=gammas', '--steps=last')
    assert status == 1 and 'table.jsonl is damaged' in err


def test_a_report_of_a_folder_is_that_of_its_runs(loaded, folder, tmp_path):
    with loaded('report') as report:
        named = [str(folder), str(folder / 'begun')]
        assert report._folders(named) == [*run_folders.runs_of(folder), folder / 'begun']


def test_the_worst_status_counts_and_a_stop_ends_all(tmp_path, capsys):
    names = 'abcd'
    folders = [tmp_path / name for name in names]

    def each(*statuses, stop=lambda: False):
        found = dict(zip(names, statuses, strict=False))
        return many.each(folders[: len(statuses)], lambda folder: found[folder.name], stop)

    assert each(0, 0) == main.DONE
    assert each(0, 3, 0) == main.DIVERGED
    assert each(3, 1, 0, 1) == main.FAILED and capsys.readouterr().out.endswith('failed: b, d\n')
    assert each(1, 42, 0) == main.STOPPED and f'{tmp_path / "c"}' not in capsys.readouterr().out
    assert each(0, stop=lambda: True) == main.STOPPED

    def fails(folder):
        raise ValueError('a bug')

    with pytest.raises(ValueError, match='a bug'):
        many.each(folders, fails, lambda: False)
