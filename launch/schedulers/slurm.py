"""Slurm: one sbatch script a job, an array where there are several commands.

The commands run under `srun`, so that SIGTERM reaches them a while before the time limit, and
before a preemption; they save and leave with status 42, and the job is put back into the queue,
or is submitted again from outside, where a site makes requeuing a no-op. Several tasks are the
processes of one program, which find each other by Slurm's variables.
"""

import pathlib
import re
import shlex
from collections.abc import Sequence
from typing import NamedTuple

from launch import main
from launch.schedulers import jobs
from resnet_dyn import commands as forms
from resnet_dyn import errors

REQUEUE, OUTSIDE, NEVER = 'requeue', 'outside', 'never'
TOOL = 'sbatch'
MISSING = (
    'sbatch is not on the PATH: submit on a machine of the cluster that has it (Debian has it in '
    'the package slurm-client), or see what would run by --dry_run'
)

_TIME = re.compile(r'(\d+-)?\d+(:\d+){0,2}')  # minutes, m:s, h:m:s, d-h, d-h:m, d-h:m:s


class Options(NamedTuple):
    """What is asked of Slurm; None is left to the site."""

    partition: str | None = None
    account: str | None = None
    time: str | None = None
    nodes: int = 1
    tasks: int | None = None  # a node
    cpus: int | None = None  # a task
    gpus: int | None = None  # a node
    memory: str | None = None  # a node
    signal_before: int = 120  # seconds
    again: str = REQUEUE
    sbatch: Sequence[str] = ()  # any further options, as sbatch has them


def plan(job: jobs.Job, options: Options) -> jobs.Plan:
    """The script and its submission."""
    path = job.logs / f'{job.name}.sbatch'
    wait = ['--wait'] if options.again == OUTSIDE else []
    return jobs.Plan({path: script(job, options)}, [[TOOL, *wait, str(path)]])


def script(job: jobs.Job, options: Options) -> str:
    """The sbatch script, with an array for several commands; ConfigError for what cannot work."""
    check(options)
    if options.nodes * tasks_of(options) > 1:
        for command in job.commands:
            jobs.check_together(command)
    lines = ['#!/bin/bash', *_header(job, options), 'set -e', *jobs.exports(forms.environment())]
    lines += job.setup
    chosen = [f'set -- {shlex.join(command.words())}' for command in job.commands]
    if len(chosen) > 1:
        cases = [f'{at}) {line} ;;' for at, line in enumerate(chosen)]
        chosen = ['case $SLURM_ARRAY_TASK_ID in', *cases, 'esac']
    lines += chosen
    cpus = f'--cpus-per-task={options.cpus} ' if options.cpus else ''
    lines += ['status=0', f'srun --kill-on-bad-exit=0 {cpus}"$@" || status=$?']
    if options.again == REQUEUE:
        lines += _requeue(job.max_restarts)
    lines.append('exit $status')
    return '\n'.join(lines) + '\n'


def check(options: Options) -> None:
    """ConfigError for options that cannot work together."""
    if options.time is not None and not _TIME.fullmatch(options.time):
        raise errors.ConfigError(
            f'--time={options.time!r} is no time of Slurm: give minutes, hours:minutes:seconds or '
            'days-hours, as in --time=2:00:00'
        )
    limit = _seconds(options.time) if options.time else 0
    if 0 < limit <= options.signal_before:
        raise errors.ConfigError(
            f'--time={options.time} is {limit} seconds, and --signal_before='
            f'{options.signal_before} would tell it to stop as soon as it starts, again and again: '
            'give a longer --time, or a smaller --signal_before'
        )
    tasks, gpus = tasks_of(options), options.gpus
    if gpus and tasks != gpus and (tasks, options.nodes) != (1, 1):
        raise errors.ConfigError(
            f'--tasks={tasks} with --gpus={gpus} a node: under Slurm each of several processes has '
            f'one GPU, so that some would stand idle or be shared. Give --tasks={gpus}, or on one '
            'node --tasks=1, which has them all'
        )
    for option in options.sbatch:
        if not option.startswith('-'):
            raise errors.ConfigError(
                f'--sbatch={option!r} is no option of sbatch: give one with its hyphens, as in '
                '--sbatch=--constraint=a100'
            )


def tasks_of(options: Options) -> int:
    """Processes a node: on several nodes one a GPU, if nothing else is asked for."""
    if options.tasks is not None:
        return options.tasks
    return options.gpus if options.nodes > 1 and options.gpus else 1


def _seconds(time: str) -> int:
    """The seconds of a time as Slurm has it; 0 is no limit."""
    days, dash, rest = time.rpartition('-')
    parts = [int(part) for part in rest.split(':')]
    if not dash and len(parts) < 3:  # minutes, or minutes and seconds
        parts = [0, *parts]
    hours, minutes, seconds = (*parts, 0, 0)[:3]
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds


def _header(job: jobs.Job, options: Options) -> list[str]:
    commands = len(job.commands)
    log = 'slurm-%A_%a.txt' if commands > 1 else 'slurm-%j.txt'
    folder = str(job.logs).replace('\\', '\\\\').replace('%', '%%')
    given = {
        'job-name': job.name,
        'chdir': str(job.folder),
        'output': str(pathlib.PurePath(folder) / log),
        'open-mode': 'append',
        'partition': options.partition,
        'account': options.account,
        'time': options.time,
        'nodes': str(options.nodes),
        'ntasks-per-node': str(tasks_of(options)),
        'cpus-per-task': options.cpus,
        'gpus-per-node': options.gpus,
        'mem': options.memory,
        'signal': f'TERM@{options.signal_before}',
    }
    if commands > 1:
        at_once = f'%{job.at_once}' if job.at_once else ''
        given['array'] = f'0-{commands - 1}{at_once}'
    lines = [
        f'#SBATCH --{name}={shlex.quote(jobs.one_line(f"--{name}", str(value)))}'
        for name, value in given.items()
        if value is not None
    ]
    lines.append('#SBATCH --requeue' if options.again == REQUEUE else '#SBATCH --no-requeue')
    return lines + [f'#SBATCH {jobs.one_line("--sbatch", option)}' for option in options.sbatch]


def _requeue(most: int) -> list[str]:
    return [
        f'if [ $status -eq {main.STOPPED} ]; then',
        f'  if [ "${{SLURM_RESTART_COUNT:-0}}" -ge {most} ]; then',
        f'    echo "stopped with all saved, and not requeued: it was {most} times already"',
        '  elif [ "$(squeue -h -o %T -j "$SLURM_JOB_ID")" = RUNNING ]; then  # nobody cancelled it',
        '    echo "stopped with all saved: job $SLURM_JOB_ID goes back into the queue"',
        '    scontrol requeue "$SLURM_JOB_ID"',
        '  fi',
        'fi',
    ]
