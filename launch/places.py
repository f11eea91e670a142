"""Where commands run, by flags: here, on Slurm, on TPUs, on a cloud of GPUs; shown or started.

What `launch.submit` and `launch.sweep` share. A launcher shows these flags in its help by
`flags.adopt_module_key_flags(places)`.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import NoReturn

from absl import flags

from launch import main
from launch.schedulers import jobs, local, sky, slurm, tpu
from resnet_dyn import errors, records

LOCAL, SLURM, TPU, SKY = 'local', 'slurm', 'tpu', 'sky'

_ON = flags.DEFINE_enum('on', LOCAL, [LOCAL, SLURM, TPU, SKY], 'where it runs')
_DRY_RUN = flags.DEFINE_boolean('dry_run', False, 'print what would be written and run, and leave')
_NAME = flags.DEFINE_string('name', None, 'of the job or machines; unset: that of the workdir')
_SETUP = flags.DEFINE_multi_string(
    'setup', [], 'a line of shell to run before it, as in module load cuda; may be repeated'
)
_RESTARTS = flags.DEFINE_integer(
    'max_restarts', 100, 'how often it is started again at most', lower_bound=0
)
_PARTITION = flags.DEFINE_string('partition', None, 'slurm: the partition')
_ACCOUNT = flags.DEFINE_string('account', None, 'slurm: the account that pays')
_TIME = flags.DEFINE_string('time', None, 'slurm: time limit of each start, as in 4:00:00')
_NODES = flags.DEFINE_integer('nodes', 1, 'slurm, sky: machines', lower_bound=1)
_TASKS = flags.DEFINE_integer(
    'tasks',
    None,
    'slurm: processes a node; unset: one, or one a GPU on several nodes',
    lower_bound=1,
)
_CPUS = flags.DEFINE_integer('cpus', None, 'slurm: cores a process', lower_bound=1)
_GPUS = flags.DEFINE_integer('gpus', None, 'slurm: GPUs a node', lower_bound=1)
_MEMORY = flags.DEFINE_string('memory', None, 'slurm: memory a node, as in 32G')
_SIGNAL_BEFORE = flags.DEFINE_integer(
    'signal_before',
    120,
    'slurm: seconds before the time limit at which it is told to save and leave',
    lower_bound=20,
    upper_bound=65_535,
)
_AGAIN = flags.DEFINE_enum(
    'again',
    slurm.REQUEUE,
    [slurm.REQUEUE, slurm.OUTSIDE, slurm.NEVER],
    'slurm: how what was stopped goes on: the job requeues itself, or this process waits and '
    'submits it again',
)
_SBATCH = flags.DEFINE_multi_string(
    'sbatch', [], 'slurm: a further option of sbatch, as in --constraint=a100; may be repeated'
)
_TYPE = flags.DEFINE_string('accelerator_type', None, 'tpu: the type, as in v5litepod-8')
_ZONE = flags.DEFINE_string('zone', None, 'tpu: the zone, as in us-west4-a')
_PROJECT = flags.DEFINE_string('project', None, 'tpu: the project; unset: that of gcloud')
_RUNTIME = flags.DEFINE_string(
    'runtime_version', None, 'tpu: the image of the machines; unset: the usual one of the type'
)
_ACCELERATORS = flags.DEFINE_string('accelerators', None, 'sky: GPUs a machine, as in A100:8')
_INFRA = flags.DEFINE_string('infra', None, 'sky: the cloud, as in gcp/us-central1; unset: any')
_SPOT = flags.DEFINE_boolean('spot', False, 'tpu, sky: cheaper machines that may be taken away')
_CODE = flags.DEFINE_string(
    'code', None, 'tpu, sky: what pip installs there; unset: a wheel of this checkout'
)

_PAUSE = 0.5  # seconds between two looks at a submission that waits
_ONLY = {  # the places that a flag is for; the others are for all
    'nodes': (SLURM, SKY),
    'setup': (SLURM, TPU, SKY),
    'max_restarts': (SLURM, TPU, SKY),
    **dict.fromkeys(
        ('partition', 'account', 'time', 'tasks', 'cpus', 'gpus', 'memory', 'signal_before'),
        (SLURM,),
    ),
    **dict.fromkeys(('again', 'sbatch'), (SLURM,)),
    **dict.fromkeys(('accelerator_type', 'zone', 'project', 'runtime_version'), (TPU,)),
    **dict.fromkeys(('accelerators', 'infra'), (SKY,)),
    **dict.fromkeys(('spot', 'code'), (TPU, SKY)),
}


def chosen() -> str:
    """The place that `--on` names; refuses flags of others."""
    for name, places in _ONLY.items():
        if flags.FLAGS[name].present and _ON.value not in places:
            raise flags.ValidationError(
                f'--{name} is for --on={" and ".join(places)}, and this is --on={_ON.value}: '
                'leave it out'
            )
    return _ON.value


def given() -> list[str]:
    """The flags of a place that were given, as words of another command."""
    present = [flags.FLAGS[name] for name in ('on', 'dry_run', 'name', *_ONLY)]
    lines = [flag.serialize() for flag in present if flag.present]
    return [word for line in lines for word in line.split('\n') if word]


def run(listed: Sequence[jobs.Command], stop: main.Stop, at_once: int | None = None) -> int:
    """Shows or starts commands at the place that `--on` names; the exit status.

    Several are an array of jobs that need not meet, at most `at_once` at a time. One that runs here
    takes the place of this process.
    """
    place = chosen()
    job = jobs.Job(
        jobs.name(_NAME.value or main.workdir().name),
        main.workdir(),
        tuple(listed),
        pathlib.Path.cwd(),
        tuple(_SETUP.value),
        _RESTARTS.value,
        at_once,
    )
    tool = _TOOLS[place]
    plan = tool.plan(job, _OPTIONS[place]())
    if _DRY_RUN.value:
        main.say(plan.shell())
        return main.DONE
    if shutil.which(tool.TOOL) is None:
        raise errors.UserError(tool.MISSING)
    for path, text in plan.files.items():
        main.say(f'{records.write_text(path, text)} is what is started; its lines will be there')
    *before, last = plan.commands
    for words in before:
        subprocess.run(words, check=True)
    if place == SLURM and _AGAIN.value == slurm.OUTSIDE:
        return _until_done(last, stop)
    become(last)


def check(command: jobs.Command) -> None:
    """Refuses flags that the command would refuse: it reads them here as it is asked for its help,
    in a process of its own."""
    words = [*command.words(), '--help']
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise flags.Error(f'the command cannot be submitted: {done.stderr.strip()}')


def become(words: Sequence[str]) -> NoReturn:
    """Runs another program in the place of this process: its signals and status are ours."""
    sys.stdout.flush()
    os.execvp(words[0], list(words))


def _until_done(words: Sequence[str], stop: main.Stop) -> int:
    """Submits, waits, and submits again what was stopped; the status that it ended with."""
    for start in range(_RESTARTS.value + 1):
        with subprocess.Popen(words) as process:
            while process.poll() is None:
                if stop():
                    process.terminate()
                    main.say('stopped waiting: the job stays in the queue, nobody submits it again')
                    return main.STOPPED
                time.sleep(_PAUSE)
        if process.returncode != main.STOPPED:
            return process.returncode
        main.say(f'start {start + 1} was stopped with all saved')
    main.say(f'not submitted again: it was {_RESTARTS.value} times already')
    return main.STOPPED


def _slurm_options() -> slurm.Options:
    return slurm.Options(
        partition=_PARTITION.value,
        account=_ACCOUNT.value,
        time=_TIME.value,
        nodes=_NODES.value,
        tasks=_TASKS.value,
        cpus=_CPUS.value,
        gpus=_GPUS.value,
        memory=_MEMORY.value,
        signal_before=_SIGNAL_BEFORE.value,
        again=_AGAIN.value,
        sbatch=tuple(_SBATCH.value),
    )


def _tpu_options() -> tpu.Options:
    return tpu.Options(
        accelerator_type=_TYPE.value,
        zone=_ZONE.value,
        project=_PROJECT.value,
        runtime_version=_RUNTIME.value,
        spot=_SPOT.value,
        code=_CODE.value,
    )


def _sky_options() -> sky.Options:
    return sky.Options(
        accelerators=_ACCELERATORS.value,
        nodes=_NODES.value,
        infra=_INFRA.value,
        spot=_SPOT.value,
        code=_CODE.value,
    )


_TOOLS = {LOCAL: local, SLURM: slurm, TPU: tpu, SKY: sky}
_OPTIONS = {LOCAL: lambda: None, SLURM: _slurm_options, TPU: _tpu_options, SKY: _sky_options}
