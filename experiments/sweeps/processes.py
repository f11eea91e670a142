"""The process of a run: started with its log locked, so that no other is started beside it.

The lock is on the log that the process writes to. It holds it from its first moment to its last,
whatever becomes of who started it, and the kernel lets go when it is gone.
"""

import contextlib
import datetime
import fcntl
import os
import pathlib
import shlex
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from experiments.sweeps import members, shares, standing


class Process(NamedTuple):
    """A process of a run that we started."""

    member: members.Member
    slot: int
    popen: subprocess.Popen
    log: int  # its log, held by us too until its end is written


def claim(member: members.Member) -> int | None:
    """The log of a run, open to be written to and ours until it is closed; None: another has it."""
    member.log.parent.mkdir(parents=True, exist_ok=True)
    log = os.open(member.log, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(log)
        return None
    except OSError:  # a file system without locks: the run's own steps tell
        pass
    return log


def start(
    member: members.Member,
    log: int,
    command: Sequence[str],
    environment: Mapping[str, str],
    slot: int,
    share: shares.Share,
) -> Process:
    """Starts a run with its share of the machine; what it says goes to the claimed log.

    It has a session of its own: a key on the terminal reaches it through us alone, once.
    """
    now = datetime.datetime.now().strftime('%Y-%m-%d %H:%M:%S')
    os.write(log, f'[{now} slot {slot}] {shlex.join(command)}\n'.encode())
    with _on(share.cores):
        popen = subprocess.Popen(
            command,
            env={**environment, **share.variables},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return Process(member, slot, popen, log)


def failed(process: Process, status: int) -> None:
    """Says in the log that the process failed."""
    os.write(process.log, f'\n{standing.ended(status)}'.encode())


def slot(member: members.Member) -> int | None:
    """The slot that the last process of a run was started in."""
    lines = member.log.read_text(errors='replace').splitlines() if member.log.exists() else []
    found = [match for line in lines if (match := standing.BEGAN.match(line))]
    return int(found[-1][1]) if found else None


def ask_to_stop(member: members.Member) -> bool:
    """SIGTERM to the process of a run that another sweep started; False where it is not found."""
    told = False
    for process in pathlib.Path('/proc').glob('[0-9]*'):
        pid = int(process.name)
        with contextlib.suppress(OSError):  # gone meanwhile, or another's
            if os.path.samefile(process / 'fd' / '1', member.log) and os.getsid(pid) == pid:
                os.kill(pid, signal.SIGTERM)
                told = True
    return told


@contextlib.contextmanager
def _on(cores: frozenset[int] | None) -> Iterator[None]:
    """Within, what is started runs on these cores alone."""
    if cores is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
