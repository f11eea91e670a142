"""One process at a time trains in a workdir.

    .lock     a lock of the kernel, which dies with its process; the file says who took it last
    .holder   where a file system has no locks: a file that one process alone can make

A process that was killed leaves its `.holder` behind, and the next one takes it over. Whether the
holder is gone is asked of the kernel on its own machine; of another machine it is told by the time
of the file, which a holder that lives sets every few seconds: it is compared with what it was
before, never with a clock of this machine.
"""

import contextlib
import fcntl
import json
import os
import pathlib
import socket
import threading
import time
import uuid
from collections.abc import Mapping
from typing import Any

from resnet_dyn import errors
from resnet_dyn.training import run_folders, step_folders

LOCK, HOLDER = run_folders.LOCK, '.holder'
NAMES = (LOCK, HOLDER)

TRIES, PAUSE = 20, 0.1  # a process that was just killed lets go in no time, not in none
BEAT = 10.0  # seconds between two signs of life of a holder
SILENCE = 60.0  # seconds without one after which a holder on another machine is taken for gone

_PROCESSES = pathlib.Path('/proc')


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
        for pause in (0.1, 0.5, 1.0, None):  # one that took the wrong file gives it back
            if _read(self._path) == self._text:
                return
            if pause is not None:
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
        if _read(self._path) == self._text:
            with contextlib.suppress(OSError):
                self._path.unlink()

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
            os.pwrite(descriptor, _myself(), 0)
        return Lock(descriptor)
    os.close(descriptor)
    raise _taken(workdir, _read(workdir / LOCK))


def is_taken(workdir: pathlib.Path) -> bool:
    """Whether a process trains in a workdir, as far as it can be told at once: changes nothing.

    Where a file system has no locks, of processes of this machine alone.
    """
    held = is_locked(workdir / LOCK)
    if held is None:
        who = _who(_read(workdir / HOLDER))
        return _is_here(who) and _lives(who)
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


def _hold(path: pathlib.Path) -> Holder:
    text = _myself()
    for _ in range(TRIES):
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        except FileExistsError:
            _take_over(path)
            continue
        try:
            os.write(descriptor, text)
        except OSError:
            os.close(descriptor)
            path.unlink()
            raise
        return Holder(path, descriptor, text)
    raise _taken(path.parent, _read(path))


def _take_over(path: pathlib.Path) -> None:
    """Removes the holder of a process that is gone; RunError where it is not."""
    found = _read(path)
    if found is None:
        return
    who = _who(found)
    if _is_here(who):
        if _lives(who):
            raise _taken(path.parent, found)
    else:
        _wait_for_a_sign(path, found)
    aside = path.with_name(f'{HOLDER}-{uuid.uuid4().hex}')
    try:
        path.rename(aside)
    except FileNotFoundError:  # another process took it over
        return
    if _read(aside) != found:  # and was quicker: this is its own
        with contextlib.suppress(OSError):
            os.link(aside, path)
    else:
        step_folders.say(f'{_named(found)} is gone and had {path.parent}: it is taken over')
    aside.unlink()


def _wait_for_a_sign(path: pathlib.Path, found: bytes) -> None:
    """Returns when the holder has been silent for too long; RunError at a sign of life."""
    step_folders.say(
        f'{_named(found)} has {path.parent}, and cannot be asked from here: it is watched for '
        f'{SILENCE:.0f} s, and taken for gone if it gives no sign of life'
    )
    before, since = _changed(path), time.monotonic()
    while time.monotonic() - since < SILENCE:
        time.sleep(min(1.0, SILENCE / 10))
        now = _changed(path)
        if now is None:
            return
        if now != before:
            raise _taken(path.parent, found)


def _changed(path: pathlib.Path) -> tuple[int, int] | None:
    """When the file system says that the file was changed; opened, so that no cache answers."""
    try:
        with open(path, 'rb') as file:
            found = os.fstat(file.fileno())
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns


def _myself() -> bytes:
    """Who this is: this start of the machine, the process, and a word of its own."""
    boot, namespace = _here()
    who = {
        'host': socket.gethostname(),
        'pid': os.getpid(),
        'boot': boot,
        'pids': namespace,
        'started': _started(os.getpid()),
        'key': uuid.uuid4().hex,
    }
    return f'{json.dumps(who)}\n'.encode()


def _here() -> tuple[str, str]:
    """This start of this machine, and the space that its numbers of processes are of."""
    try:
        boot = (_PROCESSES / 'sys/kernel/random/boot_id').read_text().strip()
        return boot, os.readlink(_PROCESSES / 'self/ns/pid')
    except OSError:  # no Linux
        return f'{socket.gethostname()} {uuid.getnode()}', ''


def _started(pid: int) -> str:
    """When a process began, as the kernel counts; '' where it does not say."""
    try:
        return (_PROCESSES / f'{pid}/stat').read_text().rpartition(')')[2].split()[19]
    except (OSError, IndexError):
        return ''


def _is_here(who: Mapping[str, Any]) -> bool:
    return (who.get('boot'), who.get('pids')) == _here() and isinstance(who.get('pid'), int)


def _lives(who: Mapping[str, Any]) -> bool:
    """Whether the process of this machine is there, and not another of its number."""
    try:
        os.kill(who['pid'], 0)
    except ProcessLookupError:
        return False
    except OSError:  # of another user
        pass
    now = _started(who['pid'])
    return not now or now == who.get('started')


def _who(text: bytes | None) -> dict[str, Any]:
    try:
        found = json.loads(text or b'')
    except ValueError:  # half written, or of an earlier version
        return {}
    return found if isinstance(found, dict) else {}


def _read(path: pathlib.Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _named(text: bytes | None) -> str:
    who = _who(text)
    return f'process {who.get("pid")} on {who.get("host")}' if who else 'another process'


def _taken(workdir: pathlib.Path, text: bytes | None) -> errors.RunError:
    who = f' ({_named(text)})' if _who(text) else ''
    return errors.RunError(
        f'another process is training in {workdir}{who}: wait until it is done or stop it, or name '
        'another workdir'
    )
