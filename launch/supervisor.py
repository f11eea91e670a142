"""The processes of one run on this machine: started, watched, ended and started again together.

    WORKDIR/logs/process-<i>.log   what each says; what process 0 says is on the screen too

The first that dies is named, with its last lines, and all others are killed at once: what is saved
is whole. They do not outlive their supervisor. JAX is not imported here.
"""

import collections
import datetime
import os
import pathlib
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from absl import flags

from experiments.sweeps import shares
from launch import main
from resnet_dyn import commands

LEFT, CRASHED = 5, 4  # because of another process, as `processes.watch` has it; by a bug
PARENT = 'RESNET_DYN_SUPERVISOR'  # tells a process who its supervisor is
LOGS = 'logs'

_GPUS = 'CUDA_VISIBLE_DEVICES'

_ENDS = (main.DONE, main.DIVERGED, main.STOPPED)
_AFTER = 45.0  # seconds that the others have once the first has ended well
_AFTER_STOP = 5.0  # the same after a signal
_BLAME = 3.0  # seconds in which a better culprit may show than one who left for another's sake
_POLL = 0.05
_LAST = 12  # lines shown of a log
_NOT_BEGUN = 'stopped by a signal before the processes had begun: start again to go on'

Command = Callable[[int, str], Sequence[str]]


class End(NamedTuple):
    """A process that has ended."""

    number: int
    status: int  # negative: minus the signal


def run(
    number: int,
    max_restarts: int,
    workdir: pathlib.Path,
    stop: Callable[[], bool],
    command: Command | None = None,
) -> int:
    """Runs `number` processes until all are done; returns the exit status of the launcher.

    `command(i, address)` is the command of process i, that of this process with the flags of its
    place unless given.
    """
    command = command or _this_command(number)
    devices = _devices(number, os.environ)
    logs = _logs(workdir)
    for restart in range(max_restarts + 1):
        team = _Team(number, command, devices, logs)
        try:
            ends = team.wait(stop)
        finally:
            team.kill()
        first = culprit(ends)
        if first is None:
            team.show()
            return next(end.status for end in ends if end.number == 0)
        if team.ended_before_it_began(first):
            main.say(_NOT_BEGUN)
            return main.STOPPED
        said = team.obituary(first)
        again = restart < max_restarts and worth_again(first) and not stop()
        if not again:
            print(f'{commands.said(_verb())}: {said}', file=sys.stderr, flush=True)
            return main.STOPPED if first.status == main.STOPPED else main.FAILED
        main.say(
            f'{said}\nall {number} processes are started again, from the last whole step '
            f'(restart {restart + 1} of {max_restarts})'
        )
    raise AssertionError('the last start is not followed by another')


def culprit(ends: Sequence[End]) -> End | None:
    """The one of those that ended, in order, whom the others' end is due to; None for a good end.

    Process 0 alone says how a run ended: it saves, and waits for the others before it goes.
    """
    if any(end.number == 0 and end.status in _ENDS for end in ends):
        return None
    bad = [end for end in ends if end.status not in _ENDS]
    own = [end for end in bad if end.status not in (LEFT, -signal.SIGABRT)]
    return (own or bad or list(ends))[0]


def worth_again(end: End) -> bool:
    """Whether a start of all might go better: not after an error that its user has to mend."""
    return end.status != main.FAILED


def in_words(end: End) -> str:
    """How a process ended: 'exit status 4', 'killed by SIGKILL'."""
    if end.status >= 0:
        return f'exit status {end.status}'
    try:
        return f'killed by {signal.Signals(-end.status).name}'
    except ValueError:
        return f'killed by signal {-end.status}'


class _Team:
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
            bad = [end for end in ends if end.status not in _ENDS]
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
        self._shown.show(but=f'{commands.said(_verb())}: ')

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
        ours = f'{commands.said(_verb())}: '
        named = [line for line in last if line.startswith(ours)]
        if end.status in (LEFT, main.FAILED) and named:  # its watch or its error says all
            return named[-1].removeprefix(ours)
        if end.status in _ENDS:
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


def _this_command(number: int) -> Command:
    """The command of this process with the flags of a process's place behind its own."""

    def command(i: int, address: str) -> list[str]:
        place = ('--processes=1', f'--coordinator={address}', f'--process_id={i}')
        more = (*place, f'--num_processes={number}', '--max_restarts=0')
        return [*commands.command(_verb()), *sys.argv[1:], *more]

    return command


def _devices(number: int, environment: Mapping[str, str]):
    """i -> what in the environment of process i gives it its share of the machine's GPUs."""
    variable, devices = shares.visible(environment)
    if not devices:
        return lambda i: {}
    if variable != _GPUS:
        raise flags.ValidationError(
            f'--processes={number} and TPU chips here ({", ".join(devices)}): one process drives '
            'all chips of a machine. Leave --processes out, or set JAX_PLATFORMS=cpu'
        )
    if len(devices) < number:
        raise flags.ValidationError(
            f'--processes={number} and {len(devices)} GPU{"s" if devices[1:] else ""} here '
            f'({", ".join(devices)}): no GPU can serve two processes. Take '
            f'--processes={len(devices)} or fewer, or set JAX_PLATFORMS=cpu'
        )
    return lambda i: {variable: ','.join(devices[i::number])}


def _logs(workdir: pathlib.Path) -> pathlib.Path:
    """The folder of the logs; another, which is said, where the workdir cannot be written to."""
    try:
        (workdir / LOGS).mkdir(parents=True, exist_ok=True)
        with open(workdir / LOGS / 'process-0.log', 'ab'):
            return workdir / LOGS
    except OSError as error:
        folder = pathlib.Path(tempfile.mkdtemp(prefix='logs-'))
        main.say(f'WARNING: no logs in {workdir} ({error}): they are in {folder}')
        return folder


def _kill(child: subprocess.Popen, number: int) -> None:
    try:
        os.killpg(child.pid, number)
    except ProcessLookupError:
        return


def _verb() -> str:
    return pathlib.Path(sys.argv[0]).stem
