"""What each of the jobs at a time has of this machine: cores, and devices where there are some.

    GPUs   CUDA_VISIBLE_DEVICES     TPU chips   TPU_VISIBLE_CHIPS, one process a chip or more
    cores  the affinity of the process, and NPROC, by which XLA counts its threads elsewhere

Devices are counted without JAX, which would take them. One job has all, with nothing set. Two jobs
on one GPU have half of its memory each, unless XLA_PYTHON_CLIENT_MEM_FRACTION is set. What is set
for TPUs is what libtpu documents for processes side by side; it was run on none.
"""

import importlib.util
import os
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from resnet_dyn import errors

_CUDA, _TPU = 'CUDA_VISIBLE_DEVICES', 'TPU_VISIBLE_CHIPS'
_PLUGINS = {
    _CUDA: ('jax_cuda12_plugin', 'jax_cuda13_plugin'),
    _TPU: ('libtpu',),
}
_FILES = {_CUDA: r'nvidia\d+', _TPU: r'accel\d+|vfio/\d+'}
_BOUNDS = {1: '1,1,1', 2: '1,2,1', 4: '2,2,1', 8: '2,4,1'}  # of chips that are neighbours
_PORT = 8476  # of the first TPU process, as libtpu has it
_FRACTION = 'XLA_PYTHON_CLIENT_MEM_FRACTION'
_MEMORY = 0.9  # of a GPU, over the jobs that share it


class Share(NamedTuple):
    """What one of the jobs at a time has."""

    cores: frozenset[int] | None  # None: all
    variables: dict[str, str]  # of its environment
    text: str  # for people


def divide(jobs: int, environment: Mapping[str, str], dev: str = '/dev') -> list[Share]:
    """A share for each of the jobs at a time; ConfigError where there are too few TPU chips."""
    if jobs == 1:
        return [Share(None, {}, '')]
    variable, devices = visible(environment, dev)
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else None
    number = os.cpu_count() if cores is None else len(cores)
    kept, made = set(environment) & {_FRACTION}, []
    for job in range(jobs):
        mine = None if cores is None else _part(cores, jobs, job)
        threads = max(1, number // jobs) if mine is None else len(mine)
        variables, text = {'NPROC': str(threads)}, f'{_cores(mine) or f"{threads} threads"}'
        if devices:
            more, which = _of_devices(variable, devices, jobs, job)
            variables |= {name: value for name, value in more.items() if name not in kept}
            text = f'{which}, {text}'
        made.append(Share(None if mine is None else frozenset(mine), variables, text))
    return made


def visible(environment: Mapping[str, str], dev: str = '/dev') -> tuple[str, list[str]]:
    """(variable, names) of the devices that JAX would take, by their files; names [] for the CPU.

    A list in the variable is taken as it is.
    """
    platforms = environment.get('JAX_PLATFORMS', '')
    for variable, plugins in _PLUGINS.items():
        if platforms and not any(word in platforms for word in _words(variable)):
            continue
        if not any(map(importlib.util.find_spec, plugins)):
            continue
        if variable in environment:
            return variable, [name for name in environment[variable].split(',') if name.strip()]
        if found := [name for name in _listed(dev) if re.fullmatch(_FILES[variable], name)]:
            return variable, list(map(str, range(len(found))))  # files may have other numbers
    return '', []


def _words(variable: str) -> tuple[str, ...]:
    return ('cuda', 'gpu') if variable == _CUDA else ('tpu',)


def _listed(dev: str) -> list[str]:
    folders = (pathlib.Path(dev), pathlib.Path(dev) / 'vfio')
    found = (path for folder in folders if folder.is_dir() for path in folder.iterdir())
    return [str(path.relative_to(dev)) for path in found]


def _part(things: Sequence, jobs: int, job: int) -> list:
    """The things of one of the jobs: an equal run of them, or one that others have too."""
    if len(things) < jobs:
        return [things[job % len(things)]]
    begin, end = (len(things) * (job + more) // jobs for more in (0, 1))
    return list(things[begin:end])


def _of_devices(variable: str, devices: list[str], jobs: int, job: int):
    mine = _part(devices, jobs, job)
    variables = {variable: ','.join(mine)}
    if variable == _CUDA:
        if sharers := _sharers(len(devices), jobs, job):
            variables[_FRACTION] = f'{_MEMORY / sharers:.2f}'
        return variables, f'GPU {",".join(mine)}'
    if len(devices) < jobs:
        raise errors.ConfigError(
            f'--jobs={jobs} are more than the {len(devices)} TPU chips here, and a chip is of one '
            f'process alone: take --jobs={len(devices)} or fewer'
        )
    if len(mine) not in _BOUNDS:
        mine = mine[: max(size for size in _BOUNDS if size <= len(mine))]
    port = str(_PORT + job)
    variables = {
        _TPU: ','.join(mine),
        'TPU_CHIPS_PER_PROCESS_BOUNDS': _BOUNDS[len(mine)],
        'TPU_PROCESS_BOUNDS': '1,1,1',
        'TPU_PROCESS_ADDRESSES': f'localhost:{port}',
        'TPU_PROCESS_PORT': port,
        'CLOUD_TPU_TASK_ID': '0',
    }
    return variables, f'TPU chip {",".join(mine)}'


def _sharers(devices: int, jobs: int, job: int) -> int:
    """How many jobs are on the device of a job; 0 where it is alone there."""
    if devices >= jobs:
        return 0
    number = sum(other % devices == job % devices for other in range(jobs))
    return number if number > 1 else 0


def _cores(cores: Sequence[int] | None) -> str:
    if cores is None:
        return ''
    return f'core{"s" if len(cores) > 1 else ""} {",".join(map(str, cores))}'
