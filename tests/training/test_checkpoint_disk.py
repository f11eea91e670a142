"""Disks that do not answer, are full or shared: nothing is lost for it, and the cause is said."""

import errno
import os
import pathlib
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest
import saved_steps

from resnet_dyn import errors
from resnet_dyn.training import checkpoints, items, manifest, soundness


def trees_of(step):
    return {name: {'w': np.full((2, 3), step, np.float32)} for name in ('params', 'optimizer')}


def save(workdir, *steps, keep=None):
    saved_steps.save(workdir, {step: trees_of(step) for step in steps}, {}, keep)


@pytest.fixture(scope='module')
def saved(tmp_path_factory):
    """A run with the steps 10 and 20."""
    folder = tmp_path_factory.mktemp('saved')
    save(folder, 10, 20)
    return folder


@pytest.fixture
def workdir(saved, tmp_path, monkeypatch):
    """A copy of it, read without long pauses."""
    monkeypatch.setattr(soundness, '_PAUSES', (0.0, 0.0, 0.0))
    return shutil.copytree(saved, tmp_path / 'run')


def fail(monkeypatch, owner, name, error, times, path=''):
    """The next `times` calls whose first argument ends in `path` raise `error`."""
    original, calls = getattr(owner, name), []

    def call(*args, **kwargs):
        if str(args[0]).endswith(path) and len(calls) < times:
            calls.append(args)
            raise error
        return original(*args, **kwargs)

    monkeypatch.setattr(owner, name, call)
    return calls


READS = {
    'the list of steps': (os, 'listdir', 'checkpoints'),
    'the manifest': (pathlib.Path, 'read_bytes', manifest.NAME),
    'a size': (pathlib.Path, 'stat', items.META_FILE),
    'the bytes of a file': (manifest, '_crc32', ''),
    'meta': (pathlib.Path, 'read_bytes', items.META_FILE),
    'orbax': (items.ocp.Checkpointer, 'restore', ''),
}
ERRORS = [
    OSError(errno.EIO, 'Input/output error'),
    OSError(errno.ESTALE, 'Stale file handle'),
    PermissionError(errno.EACCES, 'Permission denied'),
]


@pytest.mark.parametrize('error', ERRORS, ids=lambda error: errno.errorcode[error.errno])
@pytest.mark.parametrize('read', READS)
def test_a_disk_that_fails_once_is_asked_again(workdir, monkeypatch, capfd, read, error):
    owner, name, path = READS[read]
    calls = fail(monkeypatch, owner, name, error, 1, path)
    assert checkpoints.restore_training(workdir)[0] == 20
    assert len(calls) == 1
    assert capfd.readouterr().err == ''


@pytest.mark.parametrize('read', READS)
def test_a_disk_that_goes_on_failing_is_an_error_and_no_older_step_is_taken(
    workdir, monkeypatch, capfd, read
):
    owner, name, path = READS[read]
    fail(monkeypatch, owner, name, ERRORS[0], 99, path)
    for look in (
        lambda: checkpoints.restore_training(workdir),
        lambda: checkpoints.restore(workdir),
        lambda: checkpoints.restore(workdir, 20),
    ):
        with pytest.raises(errors.CheckpointError, match=r'could not be read .*Input/output error'):
            look()
    assert capfd.readouterr().err == ''


def test_what_orbax_cannot_read_though_its_bytes_agree_is_no_damage(workdir, monkeypatch):
    fail(monkeypatch, items.ocp.Checkpointer, 'restore', RuntimeError('INTERNAL: oops\nmore'), 99)
    with pytest.raises(errors.CheckpointError, match=r'could not be read .*INTERNAL: oops\)'):
        checkpoints.restore_training(workdir)


def test_an_error_of_the_program_in_reading_is_not_taken_for_the_disk_s(workdir, monkeypatch):
    fail(monkeypatch, manifest, 'damaged', NameError('typing mistake'), 1)
    with pytest.raises(NameError):
        checkpoints.restore_training(workdir)


WRITES = {
    'orbax': (items.ocp.Checkpointer, 'save'),
    'the manifest': (manifest, 'write'),
    'the rename': (pathlib.Path, 'rename'),
}


@pytest.mark.parametrize('write', WRITES)
def test_a_full_disk_is_one_error_that_names_it_and_leaves_no_litter(workdir, monkeypatch, write):
    full = OSError(errno.ENOSPC, 'No space left on device')
    writer = checkpoints.Writer(workdir)
    with monkeypatch.context() as patch:
        fail(patch, *WRITES[write], full, 1)
        writer.save(30, trees_of(30), {})
        with pytest.raises(errors.CheckpointError, match=r'step 30 .*No space left on device'):
            writer.wait()
    assert sorted(os.listdir(workdir / 'checkpoints')) == ['10', '20']
    writer.save(30, trees_of(30), {})
    writer.close()
    assert checkpoints.steps(workdir) == [10, 20, 30]


LIMITED = """
import resource, sys
sys.path.insert(0, {tests!r})
import test_checkpoint_disk as shared
resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))
writer = shared.checkpoints.Writer(sys.argv[1])
draw = shared.np.random.default_rng(0).standard_normal
for step, size in ((1, 3), (2, 3000)):
    writer.save(step, {{n: {{str(i): draw((2, size)) for i in range(9)}} for n in 'abc'}}, {{}})
    try:
        writer.wait()
    except shared.errors.CheckpointError as error:
        print(step, error)
print(shared.checkpoints.steps(sys.argv[1]))
"""


def test_files_that_may_not_grow_are_one_error_and_no_traceback_of_a_library(tmp_path):
    done = subprocess.run(
        [
            sys.executable,
            '-c',
            LIMITED.format(tests=str(pathlib.Path(__file__).parent)),
            str(tmp_path),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said, whole = done.stdout.splitlines()
    assert said.startswith('2 the checkpoint of step 2 could not be written')
    assert 'File too large' in said
    assert (whole, done.stderr, done.returncode) == ('[1]', '', 0)


def test_a_save_that_lost_a_file_is_not_called_done(tmp_path, monkeypatch):
    original = items.save

    def careless(folder, *args):
        original(folder, *args)
        shutil.rmtree(folder / 'params' / 'd')

    monkeypatch.setattr(items, 'save', careless)
    monkeypatch.setattr(soundness, '_PAUSES', ())
    writer = checkpoints.Writer(tmp_path)
    writer.save(10, trees_of(10), {})
    with pytest.raises(errors.CheckpointError):
        writer.close()
    assert checkpoints.steps(tmp_path) == []


def test_a_folder_that_may_not_be_made_is_said(tmp_path):
    (tmp_path / 'checkpoints').write_text('a file')
    with pytest.raises(errors.CheckpointError, match='cannot be written to'):
        checkpoints.Writer(tmp_path)


def archive(workdir, step):
    """Puts a step elsewhere and a link in its place."""
    place = workdir.parent / 'archive' / str(step)
    place.parent.mkdir(exist_ok=True)
    shutil.move(workdir / 'checkpoints' / str(step), place)
    (workdir / 'checkpoints' / str(step)).symlink_to(place)
    return place


def test_of_an_old_checkpoint_that_is_a_link_only_the_link_goes(workdir, capfd):
    place = archive(workdir, 10)
    before = sorted(place.rglob('*'))
    save(workdir, 30, keep=1)
    save(workdir, 40, keep=1)
    assert os.listdir(workdir / 'checkpoints') == ['40']
    assert before and sorted(place.rglob('*')) == before
    assert capfd.readouterr().err == ''


def test_links_and_files_among_the_rubbish_of_killed_saves_go_alone(tmp_path):
    precious = tmp_path / 'precious'
    precious.mkdir()
    (precious / 'file').touch()
    folder = tmp_path / 'run' / 'checkpoints'
    folder.mkdir(parents=True)
    (folder / '.tmp-old-4').symlink_to(precious)
    (folder / f'.tmp-8{items.UNFINISHED}').symlink_to(tmp_path / 'nowhere')
    (folder / '.tmp-9').touch()
    checkpoints.Writer(tmp_path / 'run').close()
    assert os.listdir(folder) == []
    assert os.listdir(precious) == ['file']


def test_an_old_step_that_cannot_be_removed_does_not_undo_the_save(workdir, monkeypatch, capfd):
    fail(monkeypatch, shutil, 'rmtree', PermissionError(errno.EACCES, 'Permission denied'), 1)
    save(workdir, 30, keep=2)
    assert checkpoints.steps(workdir) == [20, 30]
    assert 'cannot be removed' in capfd.readouterr().err
    save(workdir, 40, keep=2)
    assert sorted(os.listdir(workdir / 'checkpoints')) == ['30', '40']


def test_a_reader_beside_a_fast_writer_that_keeps_one_always_finds_one(tmp_path):
    save(tmp_path, 0)
    over = threading.Event()

    def write():
        writer, step = checkpoints.Writer(tmp_path, keep=1), 0
        while not over.is_set():
            step += 1
            writer.save(step, trees_of(step), {})
        writer.close()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        newest = 0
        for _ in range(30):
            step, variables, _ = checkpoints.restore(tmp_path, only='params')
            assert step >= newest and (variables['params']['w'] == step).all()
            assert checkpoints.steps(tmp_path)
            newest = step
    finally:
        over.set()
        thread.join()


def test_a_step_that_goes_while_it_is_read_gives_way_to_the_newer_one(tmp_path, monkeypatch):
    save(tmp_path, 10)
    original, times = manifest.damaged, []

    def replaced(folder, below):
        if not times:
            times.append(below)
            save(tmp_path, 20, keep=1)
        return original(folder, below)

    monkeypatch.setattr(manifest, 'damaged', replaced)
    assert checkpoints.restore(tmp_path)[0] == 20


def test_steps_that_always_go_are_not_read_for_ever(tmp_path, monkeypatch):
    save(tmp_path, 10)
    monkeypatch.setattr(os, 'listdir', lambda _: ['10', '11'])
    with pytest.raises(errors.CheckpointError, match='changes faster than it can be read'):
        checkpoints.restore(tmp_path)
