"""Trainings side by side, each a process of its own: the launcher `train` for every config.

Each process has all cores and devices that this one has; it pays where one training leaves most of
them idle. Once the study is to stop, each training is asked to save itself and leave.
"""

import os
import pathlib
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping

from resnet_dyn import commands, config, fields

STOPPED = 42  # the exit status of a launcher that was stopped with everything saved
DIVERGED = 3  # that of a training that is finished without its networks that have diverged
PAUSE = 0.2  # seconds between two looks at the processes

Say = Callable[[str], None]


def train(
    configs: Mapping[str, config.Config],
    workdirs: Mapping[str, pathlib.Path],
    jobs: int,
    stop: Callable[[], bool],
    report: Say,
) -> bool:
    """Trains all runs, `jobs` at a time; False where they were stopped, all saved.

    What a training says goes to `<workdir>.log`, its last line also to `report`. Where one fails
    the others go on: who then goes on with its workdir meets the reason.
    """
    waiting, running = list(configs), {}
    try:
        while not stop() and (waiting or running):
            while waiting and len(running) < jobs:
                name = waiting.pop(0)
                report(f'{name}: its lines are in {_log(workdirs[name])}')
                running[name] = _start(configs[name], workdirs[name])
            time.sleep(PAUSE)
            for name in [name for name in running if running[name].poll() is not None]:
                status = running.pop(name).returncode
                report(f'{name}: {_last_line(workdirs[name])}')
                if status == STOPPED:
                    return False
    finally:
        _end(running.values())
    return not waiting and not running


def flags(one: config.Config) -> list[str]:
    """The flags of the launcher that make this config; what is unset is left out."""
    given = {leaf.path: fields.get(one, leaf.path) for leaf in config.leaves()}
    return [f'--config.{path}={value}' for path, value in given.items() if value is not None]


def _start(one: config.Config, workdir: pathlib.Path) -> subprocess.Popen:
    _log(workdir).parent.mkdir(parents=True, exist_ok=True)
    command = [*commands.command('train'), f'--workdir={workdir}', *flags(one)]
    with open(_log(workdir), 'a') as log:
        return subprocess.Popen(
            command,
            env={**os.environ, **commands.environment()},
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def _last_line(workdir: pathlib.Path) -> str:
    lines = _log(workdir).read_text().strip().splitlines()
    return lines[-1] if lines else 'nothing was said'


def _end(processes: Iterable[subprocess.Popen]) -> None:
    """Asks the processes to save and leave, and waits until they have."""
    for process in processes:
        process.terminate()
    for process in processes:
        process.wait()


def _log(workdir: pathlib.Path) -> pathlib.Path:
    return workdir.with_name(f'{workdir.name}.log')
