"""What goes wrong around a run: each is one paragraph, nothing is lost, and the run goes on.

Signals and kills: tests/launch/test_signals.py, test_killed_anywhere.py; a disk that is full, file
by file: tests/training/test_full_disk.py; locks: tests/training/test_locks.py.
"""

import errno
import fcntl
import json
import os
import shutil

import ends
import pytest

from resnet_dyn.training import items, living, locks, manifest, metrics

pytestmark = pytest.mark.usefixtures('shared_programs')


@pytest.fixture
def half(finished, tmp_path):
    """A copy of the short run as it was at step 10."""
    workdir = shutil.copytree(finished, tmp_path / 'half')
    for step in ('15', '20'):
        shutil.rmtree(workdir / 'checkpoints' / step)
    return workdir


@pytest.fixture
def without_locks(monkeypatch):
    def flock(*_):
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(fcntl, 'flock', flock)


def contents(folder):
    files = (path for path in folder.rglob('*') if path.is_file() and path.name != '.lock')
    return {path: path.read_bytes() for path in files}


def assert_refused(result, *words):
    status, _, err = result
    *warnings, err = err.splitlines()
    assert status == 1 and err.startswith('python -m launch.'), err
    assert all(line.startswith('warning: ') for line in warnings), warnings
    assert [word for word in words if word not in err] == []


def rewrite(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def sign(folder):
    (folder / manifest.NAME).unlink()
    manifest.write(folder)


def fills_up(patch, after):
    """From here on the disk has room for so many writes."""
    left = iter(range(after))

    def wrap(owner, name):
        write = getattr(owner, name)

        def call(*args, **options):
            if next(left, None) is None:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return write(*args, **options)

        patch.setattr(owner, name, call)

    for owner, name in ((metrics, '_write_all'), (items, 'save'), (json, 'dump')):
        wrap(owner, name)


def test_a_disk_that_fills_up_again_and_again(called, short, finished, tmp_path, monkeypatch):
    workdir = tmp_path / 'run'
    for after in (0, 1, 4, 12):
        with monkeypatch.context() as patch:
            fills_up(patch, after)
            refused = called('train', f'--workdir={workdir}', *short)
        assert_refused(refused, str(workdir), 'No space left on device', 'free space')
    assert called('train', f'--workdir={workdir}', *short)[0] == 0
    ends.assert_same(workdir, finished)


def test_a_workdir_that_may_only_be_read(called, half, finished, monkeypatch):
    opened, before = os.open, contents(half)

    def read_only(path, flags, *mode):
        if flags & (os.O_WRONLY | os.O_RDWR):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        return opened(path, flags, *mode)

    with monkeypatch.context() as patch:
        patch.setattr(os, 'open', read_only)
        refused = called('train', f'--workdir={half}')
        assert called('train', f'--workdir={finished}')[0] == 0  # it is there to be read
    assert_refused(refused, str(half), 'Read-only file system', 'get the right', 'name another')
    assert contents(half) == before


def test_two_trainings_in_one_workdir(called, half, finished, monkeypatch):
    monkeypatch.setattr(locks, 'TRIES', 1)
    before = contents(half)
    held = locks.take(half)
    refused = called('train', f'--workdir={half}')
    held.close()
    assert_refused(refused, 'another process', f'process {os.getpid()} on', 'stop it')
    assert contents(half) == before
    assert called('train', f'--workdir={half}')[0] == 0
    ends.assert_same(half, finished)


def test_a_lock_that_a_dead_process_left(called, half, finished):
    (half / '.lock').write_text('{"host": "node7", "pid": 1}')
    assert called('train', f'--workdir={half}')[::2] == (0, '')
    ends.assert_same(half, finished)


@pytest.mark.usefixtures('without_locks')
def test_a_file_system_without_locks(called, half, finished, monkeypatch):
    monkeypatch.setattr(locks, 'TRIES', 1)
    dead = json.loads(living.myself()) | {'started': 'before'}
    (half / '.holder').write_text(json.dumps(dead))
    with monkeypatch.context() as patch:
        patch.setattr(living, 'lives', lambda who: True)
        before = contents(half)
        assert_refused(called('train', f'--workdir={half}'), 'another process is training')
    assert contents(half) == before
    monkeypatch.setattr(locks, 'TRIES', 2)
    status, _, err = called('train', f'--workdir={half}')
    assert status == 0 and err.count('\n') == 2
    assert 'without locks (Operation not supported)' in err and 'is gone' in err
    assert not (half / '.holder').exists()
    ends.assert_same(half, finished)


def test_clocks_that_disagree(called, half, finished):
    for path in half.rglob('*'):
        at = 2e9 if 'checkpoints/5' in str(path) else 0
        os.utime(path, (at, at))
    status, out, err = called('train', f'--workdir={half}')
    assert (status, err) == (0, '') and 'restored at step 10' in out
    ends.assert_same(half, finished)


def test_files_of_a_newer_version(called, half, finished):
    begun = (half / 'config.json').read_text()
    newest = half / 'checkpoints' / '10'
    code = {'version': '9.1', 'commit': None}

    def both(*words):
        before = contents(half)
        for launcher in ('train', 'analyze'):
            assert_refused(called(launcher, f'--workdir={half}'), '9.1', 'pip install', *words)
        assert contents(half) == before

    rewrite(half / 'config.json', format=2, code=code, segments=7)
    both(str(half / 'config.json'))
    (half / 'config.json').write_text(begun)
    later = json.loads(begun)['segments']
    unknown = json.loads(begun)['config'] | {'colour': 'red'}
    rewrite(half / 'config.json', config=unknown, segments=[*later, {'code': code}])
    both(str(half / 'config.json'), 'colour')
    (half / 'config.json').write_text(begun)
    meta = newest / items.META_FILE
    kept, origin = meta.read_text(), json.loads(meta.read_text())['provenance']
    rewrite(meta, format=2, provenance=origin | {'code': code})
    sign(newest)
    before = contents(half)
    assert_refused(called('train', f'--workdir={half}'), str(newest), '9.1', 'pip install')
    assert contents(half) == before
    meta.write_text(kept)
    sign(newest)
    assert called('train', f'--workdir={half}')[0] == 0
    ends.assert_same(half, finished)
