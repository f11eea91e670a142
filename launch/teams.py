"""The processes of one start of a run: begun, watched, ended, and what each said last.

Each has a log and an environment of its own, and a port where all meet; JAX is not imported here.
"""

import collections
import datetime
import os
import pathlib
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from launch import main
from resnet_dyn import commands

LEFT, CRASHED = 5, 4  # because of another process, as `processes.watch` has it; by a bug
PARENT = 'RESNET_DYN_SUPERVISOR'  # tells a process who its supervisor is
GOOD = (main.DONE, main.DIVERGED, main.STOPPED)  # statuses of which nobody is to blame

_AFTER = 45.0  # seconds that the others have once the first has ended well
_AFTER_STOP = 5.0  # the same after a signal
_BLAME = 3.0  # seconds in which a better culprit may show than one who left for another's sake
_POLL = 0.05
_LAST = 12  # lines shown of a log

Command = Callable[[int, str], Sequence[str]]  # of process i and the address where all meet


class End(NamedTuple):
    """A process that has ended."""

    number: int
    status: int  # negative: minus the signal


def in_words(end: End) -> str:
    """How a process ended: 'exit status 4', 'killed by SIGKILL'."""
    if end.status >= 0:
        return f'exit status {end.status}'
    try:
        return f'killed by {signal.Signals(-end.status).name}'
    except ValueError:
        return f'killed by signal {-end.status}'


class Team:
    """The processes of one start."""

    def __init__(self, number: int, command: Command, devices, logs: pathlib.Path):
        self._logs = [logs / f'process-{i}.log' for i in range(number)]
        self._port = _Port()
        self._children: list[subprocess.Popen] = []
        self._from = [log.stat().st_size if log.exists() else 0 for log in self._logs]
        self._shown = _Tail(self._logs[0], self._from[0])
        self._patience, self._stopping = _AFTER, False
        for i in range(number):
            self._children.append(self._start(command(i, self._port.address), devices(i), i))

    def wait(self, stop: Callable[[], bool]) -> list[End]:
        """The ends of the processes in their order, those alone that came before all is lost."""
        ends: list[End] = []
        first_at = None
        while len(ends) < len(self._children):
            if stop() and not self._stopping:
                self._stopping = True
                self._signal(signal.SIGTERM)
            new = self._ended(ends)
            now = time.monotonic()
            if new and first_at is None:
                first_at = now
            ends += new
            bad = [end for end in ends if end.status not in GOOD]
            if not bad:  # what process 0 says of another's death is in its log
                self.show()
            if any(end.status != LEFT and end.status != -signal.SIGABRT for end in bad):
                break
            self._patience = _BLAME if bad else _AFTER_STOP if self._stopping else _AFTER
            if first_at is not None and now - first_at > self._patience:
                break
            time.sleep(_POLL)
        return ends

    def show(self) -> None:
        """Brings what process 0 has said since to the screen, but for the words of its failure."""
        self._shown.show(but=f'{main.program()}: ')

    def kill(self) -> None:
        """Ends those that are left, with all that they have started."""
        for child in self._children:
            if child.poll() is None:
                _kill(child, signal.SIGKILL)
        for child in self._children:
            child.wait()
        self._port.close()

    def ended_before_it_began(self, end: End) -> bool:
        """Whether the signal that was passed on met a process in which nobody heard it yet.

        Process 0 has then said nothing, for it waits for all before it does.
        """
        return self._stopping and end.status == -signal.SIGTERM and not self._lines(0)

    def obituary(self, end: End) -> str:
        """Who died, how, and the last lines of its log."""
        log, lines = self._logs[end.number], self._lines(end.number)
        last = collections.deque((line for line in lines if line.strip()), _LAST)
        said = f'The last lines of {log}: {" | ".join(last)}' if last else f'{log} has no line'
        count = len(self._children)
        ours = f'{main.program()}: '
        named = [line for line in last if line.startswith(ours)]
        if end.status in (LEFT, main.FAILED) and named:  # its watch or its error says all
            return named[-1].removeprefix(ours)
        if end.status in GOOD:
            return (
                f'process {end.number} of {count} was done ({in_words(end)}), and others were not '
                f'{self._patience:.0f} s later: they were ended'
            )
        return (
            f'process {end.number} of {count} died ({in_words(end)}), and the others were ended. '
            f'{said}'
        )

    def _start(self, command: Sequence[str], extra: Mapping[str, str], i: int) -> subprocess.Popen:
        own = {PARENT: str(os.getpid()), 'PYTHONUNBUFFERED': '1', **commands.environment()}
        environment = {**os.environ, **own, **extra}
        with open(self._logs[i], 'ab') as log:
            now = datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds')
            log.write(f'--- {now} {shlex.join(command)}\n'.encode())
            log.flush()
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,  # a terminal's Ctrl-C comes to the supervisor alone
            )

    def _lines(self, number: int) -> list[str]:
        """What a process has said since it was started."""
        with open(self._logs[number], 'rb') as file:
            file.seek(self._from[number])
            return file.read().decode(errors='replace').splitlines()[1:]

    def _ended(self, known: Sequence[End]) -> list[End]:
        there = {end.number for end in known}
        found = ((i, child.poll()) for i, child in enumerate(self._children) if i not in there)
        return [End(i, status) for i, status in found if status is not None]

    def _signal(self, number: int) -> None:
        for child in self._children:
            if child.poll() is None:
                child.send_signal(number)


class _Tail:
    """What comes to stand in a file, line by line on the screen."""

    def __init__(self, path: pathlib.Path, start: int):
        self._path, self._at, self._rest, self._first = path, start, b'', True

    def show(self, but: str) -> None:
        """Shows new lines, those alone left out that begin with `but`."""
        with open(self._path, 'rb') as file:
            file.seek(self._at)
            new = file.read()
        self._at += len(new)
        *lines, self._rest = (self._rest + new).split(b'\n')
        for line in lines[1:] if self._first else lines:  # without its heading
            text = line.decode(errors='replace')
            if not text.startswith(but):
                main.say(text)
        self._first = self._first and not lines


class _Port:
    """A port of the loopback interface that nobody else is given while this is open."""

    def __init__(self):
        self._socket = socket.socket()
        if hasattr(socket, 'SO_REUSEPORT'):  # the coordinator takes it too
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._socket.bind(('127.0.0.1', 0))
        self.address = f'127.0.0.1:{self._socket.getsockname()[1]}'
        if not hasattr(socket, 'SO_REUSEPORT'):
            self._socket.close()

    def close(self) -> None:
        self._socket.close()


def _kill(child: subprocess.Popen, number: int) -> None:
    try:
        os.killpg(child.pid, number)
    except ProcessLookupError:
        return
