"""One process at a time trains in a workdir.

    .lock     a lock of the kernel, which dies with its process; the file says who took it last
    .holder   where a file system has no locks: a file that one process alone can make

A process that was killed leaves its `.holder` behind, and the next one takes it over. Whether the
holder is gone is asked of the kernel on its own machine; of another machine it is told by the time
of the file, which a holder that lives sets every few seconds: it is compared with what it was
before, never with a clock of this machine.

Of many that take over one alone does. A file F whose text is K is replaced or removed under a claim
alone, the file F-<hash of K>, which one process at a time can make (O_EXCL):

    make F-<hash of K>;  see that F is still what was found;  rename F-<hash of K> to F

A holder that closes claims its own F before it removes it. So between the look and the rename
nobody else can touch F, and the rename puts the new text there and gives the claim up in one act:
F is never absent for a third to come. Texts are unique: who makes the same claim later sees another
F, and withdraws. A claim whose process died is itself a file F that is taken over so.

It rests on this: who is taken for gone does no more. Of a process of the same machine the kernel
says that it is dead. One of another machine may be suspended between a look and its act, and wake
later; who acts within `SILENCE` - `BEAT` of the look is not taken for gone in between. `check` is
such a look, and stands before each write of a run.
"""

import contextlib
import fcntl
import hashlib
import os
import pathlib
import threading
import time
from typing import NamedTuple

from resnet_dyn import errors
from resnet_dyn.training import living, run_folders, step_folders

LOCK, HOLDER = run_folders.LOCK, '.holder'

TRIES, PAUSE = 20, 0.1  # a process that was just killed lets go in no time, not in none
BEAT = 10.0  # seconds between two signs of life of a holder
SILENCE = 60.0  # seconds without one after which a holder on another machine is taken for gone


class Lock:
    """A lock of the kernel that is held; to be closed."""

    def __init__(self, descriptor: int):
        self._descriptor = descriptor

    def check(self) -> None:
        """Nobody can have taken it over."""

    def close(self) -> None:
        os.close(self._descriptor)


class Holder:
    """A `.holder` of this process, with a thread that gives signs of life; to be closed."""

    def __init__(self, path: pathlib.Path, descriptor: int, text: bytes):
        self._path, self._descriptor, self._text = path, descriptor, text
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._live, name='holder', daemon=True)
        self._thread.start()

    def check(self) -> None:
        """RunError where another process took this one for gone, and goes on with the run."""
        for pause in (0.1, 0.5, 1.0, 0.0):  # a disk that does not answer is asked again
            found = _read(self._path)
            if found == self._text:
                return
            if found is not None:
                break
            time.sleep(pause)
        raise errors.RunError(
            f'another process took over {self._path.parent}, since this one gave no sign of life '
            f'for {SILENCE:.0f} s, suspended or cut off from the disk: it writes nothing more. '
            'The run goes on there; start it again when that one is done'
        )

    def close(self) -> None:
        self._closed.set()
        self._thread.join()
        os.close(self._descriptor)
        claim = _claim(self._path, self._text)
        with contextlib.suppress(OSError):  # another has the claim, and takes over
            os.close(os.open(claim, os.O_CREAT | os.O_EXCL, 0o644))
            if _read(self._path) == self._text:
                self._path.unlink()
            claim.unlink()

    def _live(self) -> None:
        while not self._closed.wait(BEAT):
            with contextlib.suppress(OSError):  # a disk that does not answer now may do so later
                os.utime(self._descriptor)


def take(workdir: pathlib.Path) -> Lock | Holder:
    """The workdir, for this process alone; RunError, naming who has it, where that cannot be.

    An OSError is the caller's to tell: the folder cannot be written to.
    """
    descriptor = os.open(workdir / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    for _ in range(TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(PAUSE)
            continue
        except OSError as error:
            os.close(descriptor)
            step_folders.say(
                f'{workdir} is on a file system without locks ({error.strerror}): the file '
                f'{HOLDER} in it keeps other processes out instead'
            )
            return _hold(workdir / HOLDER)
        with contextlib.suppress(OSError):  # it is said for people: a full disk may leave it out
            os.truncate(descriptor, 0)
            os.pwrite(descriptor, living.myself(), 0)
        return Lock(descriptor)
    os.close(descriptor)
    raise _taken(workdir, _read(workdir / LOCK))


def is_of_a_lock(name: str) -> bool:
    """Whether a file of this name in a workdir is one of ours, or one left behind."""
    return name == LOCK or name.startswith(HOLDER)


def is_taken(workdir: pathlib.Path) -> bool:
    """Whether a process trains in a workdir, as far as it can be told at once: changes nothing.

    Where a file system has no locks, of processes of this machine alone.
    """
    held = is_locked(workdir / LOCK)
    if held is None:
        who = living.left_by(_read(workdir / HOLDER))
        return living.is_here(who) and living.lives(who)
    return held


def is_locked(file: pathlib.Path) -> bool | None:
    """Whether a process has the kernel's lock of a file; None on a file system without locks."""
    try:
        descriptor = os.open(file, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    except OSError:
        return None
    finally:
        os.close(descriptor)


class _Found(NamedTuple):
    """A file as it was found; a sign of life changes it."""

    text: bytes
    inode: int
    changed: int  # when, as the file system says


def _hold(path: pathlib.Path) -> Holder:
    text = living.myself()
    return Holder(path, _make(path, text), text)


def _make(path: pathlib.Path, text: bytes) -> int:
    """The descriptor of a file of this process alone; RunError where another process has it."""
    for _ in range(TRIES):
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        except FileExistsError:
            descriptor = _take_over(path, text)
            if descriptor is not None:
                return descriptor
            continue
        try:
            os.write(descriptor, text)
        except OSError:
            os.close(descriptor)
            path.unlink()
            raise
        return descriptor
    raise _taken(path.parent, _read(path))


def _take_over(path: pathlib.Path, text: bytes) -> int | None:
    """The descriptor of a file of ours in the place of one whose process is gone.

    None where it is another file by now, or none; RunError where its process lives.
    """
    found = _look(path)
    if found is None:
        return None
    if not living.is_here(process := living.left_by(found.text)):
        _wait_for_a_sign(path, found.text)
    elif living.lives(process):
        raise _taken(path.parent, found.text)
    claim = _claim(path, found.text)
    descriptor = _make(claim, text)
    if _look(path) != found:
        os.close(descriptor)
        claim.unlink(missing_ok=True)
        return None
    claim.rename(path)
    who = living.named(found.text)
    step_folders.say(f'{who} is gone and had {path.parent}: it is taken over')
    return descriptor


def _claim(path: pathlib.Path, text: bytes) -> pathlib.Path:
    """The file that one has to make who replaces or removes a file of this text."""
    return path.with_name(f'{path.name}-{hashlib.sha256(text).hexdigest()[:16]}')


def _wait_for_a_sign(path: pathlib.Path, found: bytes) -> None:
    """Returns when the holder has been silent for too long; RunError at a sign of life."""
    step_folders.say(
        f'{living.named(found)} has {path.parent}, and cannot be asked from here: it is watched '
        f'for {SILENCE:.0f} s, and taken for gone if it gives no sign of life'
    )
    before, since = _look(path), time.monotonic()
    while time.monotonic() - since < SILENCE:
        time.sleep(min(1.0, SILENCE / 10))
        now = _look(path)
        if now is None:
            return
        if now != before:
            raise _taken(path.parent, found)


def _look(path: pathlib.Path) -> _Found | None:
    """A file as it is; opened, so that no cache answers."""
    try:
        with open(path, 'rb') as file:
            about = os.fstat(file.fileno())
            return _Found(file.read(), about.st_ino, about.st_mtime_ns)
    except OSError:
        return None


def _read(path: pathlib.Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _taken(workdir: pathlib.Path, text: bytes | None) -> errors.RunError:
    who = f' ({living.named(text)})' if living.left_by(text) else ''
    return errors.RunError(
        f'another process is training in {workdir}{who}: wait until it is done or stop it, or name '
        'another workdir'
    )
