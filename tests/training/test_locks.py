"""One process at a time in a workdir, on file systems with locks and without."""

import json
import os
import pathlib
import random
import subprocess
import sys
import threading
import time

import pytest

from resnet_dyn import errors
from resnet_dyn.training import living, locks


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    monkeypatch.setattr(locks, 'TRIES', 2)
    monkeypatch.setattr(locks, 'PAUSE', 0.01)
    monkeypatch.setattr(locks, 'BEAT', 0.05)
    monkeypatch.setattr(locks, 'SILENCE', 0.4)


@pytest.fixture
def elsewhere(monkeypatch):
    """Every process that left its name is of another machine."""
    monkeypatch.setattr(living, 'is_here', lambda who: False)


def gone(workdir, **changes):
    """The file of a holder that was killed, on this machine, or with other words in it."""
    child = subprocess.Popen([sys.executable, '-c', ''])
    child.wait()
    who = json.loads(living.myself()) | {'pid': child.pid, 'started': '1'} | changes
    (workdir / '.holder').write_text(json.dumps(who))


def test_the_kernel_s_lock_names_who_has_it_and_a_file_left_behind_keeps_nobody_out(tmp_path):
    (tmp_path / '.lock').write_text('{"pid": 1, "host": "gone"}')
    held = locks.take(tmp_path)
    with pytest.raises(errors.RunError, match=rf'process {os.getpid()} on .*stop it, or name'):
        locks.take(tmp_path)
    held.check()
    held.close()
    locks.take(tmp_path).close()


def taken_for_a_while(workdir):
    """Whether a workdir is said to be taken: before, while and after one has it, and killed."""
    before, held = locks.is_taken(workdir), locks.take(workdir)
    during = locks.is_taken(workdir)
    held.close()
    after = locks.is_taken(workdir)
    gone(workdir)
    return before, during, after, locks.is_taken(workdir)


def test_a_workdir_is_taken_while_a_process_has_it(tmp_path):
    assert taken_for_a_while(tmp_path) == (False, True, False, False)
    assert not locks.is_taken(tmp_path / 'none')


@pytest.mark.usefixtures('without_locks')
def test_without_locks_too(tmp_path):
    assert taken_for_a_while(tmp_path) == (False, True, False, False)


@pytest.mark.usefixtures('without_locks')
def test_without_locks_it_is_said_and_a_second_process_is_kept_out(tmp_path, capfd):
    held = locks.take(tmp_path)
    said = capfd.readouterr().err
    assert said.count('\n') == 1 and 'No locks available' in said and '.holder' in said
    with pytest.raises(errors.RunError, match=f'process {os.getpid()} on'):
        locks.take(tmp_path)
    held.check()
    held.close()
    assert not (tmp_path / '.holder').exists()
    locks.take(tmp_path).close()


@pytest.mark.usefixtures('without_locks')
@pytest.mark.parametrize('started', ['1', 'of our own number'])
def test_a_holder_of_this_machine_that_is_gone_is_taken_over_and_said(tmp_path, capfd, started):
    gone(tmp_path, **({'pid': os.getpid(), 'started': '1'} if started != '1' else {}))
    began = time.monotonic()
    locks.take(tmp_path).close()
    assert time.monotonic() - began < locks.SILENCE
    assert 'is gone' in capfd.readouterr().err.splitlines()[-1]
    assert [path.name for path in tmp_path.iterdir()] == ['.lock']


@pytest.mark.usefixtures('without_locks', 'elsewhere')
def test_a_holder_elsewhere_is_watched_and_refused_while_it_lives_whatever_its_clock(tmp_path):
    held = locks.take(tmp_path)
    os.utime(tmp_path / '.holder', (2e9, 2e9))
    with pytest.raises(errors.RunError, match='another process is training'):
        locks.take(tmp_path)
    held.check()
    held.close()


@pytest.mark.usefixtures('without_locks', 'elsewhere')
@pytest.mark.parametrize('at', [0, 2e9])
def test_a_silent_holder_elsewhere_is_taken_over_whatever_the_time_of_its_file(tmp_path, capfd, at):
    gone(tmp_path, host='other')
    os.utime(tmp_path / '.holder', (at, at))
    locks.take(tmp_path).close()
    watched, taken = capfd.readouterr().err.splitlines()[1:]
    assert 'on other has' in watched and 'cannot be asked' in watched and 'is gone' in taken


@pytest.mark.usefixtures('without_locks', 'elsewhere')
@pytest.mark.parametrize('text', [b'', b'{"pid": ', b'[1]', b'\xff'])
def test_a_holder_of_which_half_is_there_is_watched_too(tmp_path, text):
    (tmp_path / '.holder').write_bytes(text)
    locks.take(tmp_path).close()


@pytest.mark.usefixtures('without_locks', 'elsewhere')
def test_of_many_that_find_a_silent_holder_one_alone_gets_it(tmp_path):
    gone(tmp_path)
    held, refused = [], []

    def take():
        try:
            held.append(locks.take(tmp_path))
        except errors.RunError as error:
            refused.append(error)

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(held), len(refused)) == (1, 7)
    held[0].check()
    held[0].close()


@pytest.mark.usefixtures('without_locks', 'elsewhere')
def test_a_holder_that_was_suspended_learns_that_it_was_taken_over(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, 'BEAT', 100)
    suspended = locks.take(tmp_path)
    other = locks.take(tmp_path)
    with pytest.raises(errors.RunError, match=r'took over .* writes nothing more'):
        suspended.check()
    suspended.close()
    other.check()
    other.close()


@pytest.mark.usefixtures('without_locks', 'elsewhere')
def test_who_finds_the_file_of_one_that_was_quicker_leaves_it_there(tmp_path, monkeypatch):
    gone(tmp_path)
    quicker = []

    def overtaken(path, found):
        if not quicker:
            quicker.append(None)
            quicker[0] = locks.take(tmp_path)
        elif quicker[0] is not None:
            raise locks._taken(tmp_path, found)

    monkeypatch.setattr(locks, '_wait_for_a_sign', overtaken)
    with pytest.raises(errors.RunError, match='another process is training'):
        locks.take(tmp_path)
    quicker[0].check()
    quicker[0].close()


class Baton:
    """Threads of which one goes on at a time, at each touch of the disk the one that is picked."""

    def __init__(self, monkeypatch, pick):
        self._pick, self._waiting, self._places = pick, {}, threading.Semaphore(0)
        self._here = threading.local()
        for owner, name in (
            (os, 'open'),
            (os, 'write'),
            (locks, '_look'),
            (locks, '_read'),
            (pathlib.Path, 'rename'),
            (pathlib.Path, 'unlink'),
        ):
            monkeypatch.setattr(owner, name, self._touching(getattr(owner, name)))

    def run(self, jobs):
        """Calls all, each in a thread of its own, until all have returned."""
        threads = [
            threading.Thread(target=self._run, args=(job,), name=str(number))
            for number, job in enumerate(jobs)
        ]
        for thread in threads:
            thread.start()
            self._places.acquire()
        while self._waiting:
            self._waiting.pop(self._pick(sorted(self._waiting))).release()
            self._places.acquire()
        for thread in threads:
            thread.join()

    def _run(self, job):
        self._here.is_ours = True
        try:
            self._wait()
            job()
        finally:
            self._places.release()

    def _wait(self):
        mine = self._waiting[threading.current_thread().name] = threading.Semaphore(0)
        self._places.release()
        mine.acquire()

    def _touching(self, function):
        def touch(*args, **options):
            if getattr(self._here, 'is_ours', False):
                self._wait()
            return function(*args, **options)

        return touch


@pytest.mark.usefixtures('without_locks')
@pytest.mark.parametrize('how', ['stays', 'closes', 'wakes'])
@pytest.mark.parametrize('times', [20, pytest.param(1000, marks=pytest.mark.slow)])
def test_however_many_that_take_over_are_interleaved_two_never_have_it(
    tmp_path, monkeypatch, capfd, how, times
):
    """Where one `wakes` a suspended holder that was taken for gone closes meanwhile."""

    def one_that_takes_over():
        try:
            holder = locks.take(folder)
        except errors.RunError:
            return
        has.append(holder)
        most.append(len(has))
        if how == 'closes':
            has.remove(holder)
            holder.close()

    def silent(path, found):
        if found != left:
            raise locks._taken(path.parent, found)

    gone(tmp_path)
    left, taken = (tmp_path / '.holder').read_bytes(), 0
    for seed in range(times):
        folder, has, most = tmp_path / str(seed), [], []
        folder.mkdir()
        (folder / '.holder').write_bytes(left)
        jobs = [one_that_takes_over] * 3
        with monkeypatch.context() as patch:
            if how == 'wakes':
                (folder / '.holder').unlink()
                suspended = locks.take(folder)
                left = (folder / '.holder').read_bytes()
                jobs.append(suspended.close)
                patch.setattr(living, 'is_here', lambda who: False)
                patch.setattr(locks, '_wait_for_a_sign', silent)
            Baton(patch, random.Random(seed).choice).run(jobs)
        assert set(most) <= {1}, seed
        taken += len(most)
        for holder in has:
            holder.check()
            holder.close()
        assert [path.name for path in folder.iterdir()] == ['.lock']
    assert taken >= (times // 2 if how == 'wakes' else times)
