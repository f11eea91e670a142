"""Every workdir is taken by its name, whatever characters it has, or refused before training."""

import os
import pathlib

import numpy as np
import pytest
import saved_steps

from resnet_dyn import errors
from resnet_dyn.training import checkpoints, items, runs

NAMES = [
    'with spaces ',
    '[16,16]',
    'width=[16,16]',
    '[!a]',
    '*',
    '?',
    '{a,b}',
    '~',
    '~root',
    '%41',
    '$HOME',
    'ü漢',
    'dots...',
    'a\\b',
    'gs:',
    'file:',
    '#a&b;c|d',
    '\'q\' and "q"',
    'new\nline',
    'x' * 255,
]
TREES = {'params': {'w': np.arange(6, dtype=np.float32).reshape(2, 3)}}


def save(workdir, step=1):
    saved_steps.save(workdir, {step: TREES}, {})


def assert_there(workdir, beside):
    assert checkpoints.sound(workdir, 1)
    assert checkpoints.steps(workdir) == [1]
    np.testing.assert_array_equal(
        checkpoints.restore(workdir)[1]['params']['w'], TREES['params']['w']
    )
    assert os.listdir(workdir / 'checkpoints') == ['1']
    assert os.listdir(beside) == [workdir.name]


@pytest.mark.parametrize('name', NAMES)
def test_a_folder_of_any_name_gets_its_checkpoints_back(tmp_path, name):
    save(tmp_path / name)
    assert_there(tmp_path / name, tmp_path)


@pytest.mark.parametrize('name', ['[16,16]', 'a\\b', 'gs:'])
def test_without_descriptors_in_the_file_system_a_link_does_it(tmp_path, monkeypatch, name):
    place = tmp_path / 'tmp'
    place.mkdir()
    monkeypatch.setattr(items, '_DESCRIPTORS', tmp_path / 'nowhere')
    monkeypatch.setattr(items, '_TEMPORARY', place)
    (tmp_path / 'runs').mkdir()
    save(tmp_path / 'runs' / name)
    assert_there(tmp_path / 'runs' / name, tmp_path / 'runs')
    assert os.listdir(place) == []


def test_any_folder_on_the_way_may_have_such_a_name(tmp_path):
    workdir = tmp_path / 'sweep[1]' / 'a\\b' / 'run'
    save(workdir)
    assert checkpoints.sound(workdir, 1)
    assert os.listdir(tmp_path) == ['sweep[1]']


def test_two_dots_behind_a_link_are_those_of_where_it_leads(tmp_path):
    (tmp_path / 'nest' / 'deep').mkdir(parents=True)
    (tmp_path / 'link').symlink_to('nest/deep')
    save(tmp_path / 'link' / '..' / 'run')
    (tmp_path / 'nest' / 'deep').rmdir()
    assert_there(tmp_path / 'nest' / 'run', tmp_path / 'nest')
    (tmp_path / 'nest' / 'deep').mkdir()
    assert checkpoints.sound(tmp_path / 'link' / '..' / 'run', 1)
    assert sorted(os.listdir(tmp_path)) == ['link', 'nest']


def test_a_pattern_does_not_touch_the_neighbours_that_it_would_match(tmp_path):
    save(tmp_path / 'run-1')
    unfinished = tmp_path / 'run-1' / 'checkpoints' / f'.tmp-1{items.UNFINISHED}' / 'params'
    (unfinished / 'ocdbt.process_0').mkdir(parents=True)
    save(tmp_path / 'run-*')
    assert checkpoints.sound(tmp_path / 'run-1', 1)
    assert checkpoints.sound(tmp_path / 'run-*', 1)
    assert (unfinished / 'ocdbt.process_0').is_dir()


@pytest.mark.parametrize('name', ['a\0b', os.fsdecode(b'\xff')])
def test_a_name_that_cannot_be_is_refused_before_training(tmp_path, tiny, name):
    with pytest.raises(errors.RunError, match='rename that folder, or name another'):
        runs.look(tmp_path / name, tiny())
    assert os.listdir(tmp_path) == []


def test_a_user_s_folder_is_one_folder_for_readers_and_writers(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    writer = checkpoints.Writer(pathlib.Path('~/run'), keep=1)
    for step in (1, 2):
        writer.save(step, TREES, {})
    writer.close()
    assert checkpoints.steps('~/run') == checkpoints.steps(tmp_path / 'run') == [2]
