"""The processes of one run on this machine: started, watched, ended and started again together.

    WORKDIR/logs/process-<i>.log   what each says; what process 0 says is on the screen too

The first that dies is named, with its last lines, and all others are killed at once: what is saved
is whole. They do not outlive their supervisor. JAX is not imported here.
"""

import os
import pathlib
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence

from absl import flags

from experiments.sweeps import shares
from launch import main, teams
from resnet_dyn import commands

LOGS = 'logs'

_GPUS = 'CUDA_VISIBLE_DEVICES'

_NOT_BEGUN = 'stopped by a signal before the processes had begun: start again to go on'


def run(
    number: int,
    max_restarts: int,
    workdir: pathlib.Path,
    stop: Callable[[], bool],
    command: teams.Command | None = None,
) -> int:
    """Runs `number` processes until all are done; returns the exit status of the launcher.

    `command(i, address)` is the command of process i, that of this process with the flags of its
    place unless given.
    """
    command = command or _this_command(number)
    devices = _devices(number, os.environ)
    logs = _logs(workdir)
    for restart in range(max_restarts + 1):
        team = teams.Team(number, command, devices, logs)
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
            print(f'{main.program()}: {said}', file=sys.stderr, flush=True)
            return main.STOPPED if first.status == main.STOPPED else main.FAILED
        main.say(
            f'{said}\nall {number} processes are started again, from the last whole step '
            f'(restart {restart + 1} of {max_restarts})'
        )
    raise AssertionError('the last start is not followed by another')


def culprit(ends: Sequence[teams.End]) -> teams.End | None:
    """The one of those that ended, in order, whom the others' end is due to; None for a good end.

    Process 0 alone says how a run ended: it saves, and waits for the others before it goes.
    """
    if any(end.number == 0 and end.status in teams.GOOD for end in ends):
        return None
    bad = [end for end in ends if end.status not in teams.GOOD]
    own = [end for end in bad if end.status not in (teams.LEFT, -signal.SIGABRT)]
    return (own or bad or list(ends))[0]


def worth_again(end: teams.End) -> bool:
    """Whether a start of all might go better: not after an error that its user has to mend."""
    return end.status != main.FAILED


def _this_command(number: int) -> teams.Command:
    """The command of this process with the flags of a process's place behind its own."""

    def command(i: int, address: str) -> list[str]:
        place = ('--processes=1', f'--coordinator={address}', f'--process_id={i}')
        more = (*place, f'--num_processes={number}', '--max_restarts=0')
        return [*commands.command(pathlib.Path(sys.argv[0]).stem), *sys.argv[1:], *more]

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
