"""Where commands run, by flags: here, on Slurm, on TPUs, on a cloud of GPUs; shown or started.

What `launch.submit` and `launch.sweep` share. A launcher calls `define()` as it is imported, and
shows these flags in its help by `flags.adopt_module_key_flags(places)`. A place's options are the
flags of the same names.
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
from resnet_dyn import commands, errors, records

_PLACES = {'local': local, 'slurm': slurm, 'tpu': tpu, 'sky': sky}
_OF_JOBS = ('setup', 'max_restarts')  # of every place but this machine
_PAUSE = 0.5  # seconds between two looks at a submission that waits


def define() -> None:
    """Defines the flags of all places."""
    flags.DEFINE_enum('on', 'local', list(_PLACES), 'where it runs')
    flags.DEFINE_boolean('dry_run', False, 'print what would be written and run, and leave')
    flags.DEFINE_string(
        'name',
        None,
        'of the job or machines; unset: that of the workdir, for machines with a hash of its path',
    )
    flags.DEFINE_multi_string(
        'setup', [], 'a line of shell to run before it, as in module load cuda; may be repeated'
    )
    flags.DEFINE_integer(
        'max_restarts',
        100,
        'how often it is started again at most',
        lower_bound=0,
        allow_override=True,  # one process has this and that of `processes` in the suite alone
    )
    flags.DEFINE_string('partition', None, 'slurm: the partition')
    flags.DEFINE_string('account', None, 'slurm: the account that pays')
    flags.DEFINE_string('time', None, 'slurm: time limit of each start, as in 4:00:00')
    _whole('nodes', 1, 'slurm, sky: machines')
    _whole('tasks', None, 'slurm: processes a node; unset: one, or one a GPU on several nodes')
    _whole('cpus', None, 'slurm: cores a process')
    _whole('gpus', None, 'slurm: GPUs a node')
    flags.DEFINE_string('memory', None, 'slurm: memory a node, as in 32G')
    _whole(
        'signal_before',
        120,
        'slurm: seconds before the time limit at which it is told to save and leave',
        low=20,
        high=65_535,
    )
    flags.DEFINE_enum(
        'again',
        slurm.REQUEUE,
        [slurm.REQUEUE, slurm.OUTSIDE, slurm.NEVER],
        'slurm: how what was stopped goes on: the job requeues itself, or this process waits and '
        'submits it again',
    )
    flags.DEFINE_multi_string(
        'sbatch', [], 'slurm: a further option of sbatch, as in --constraint=a100; may be repeated'
    )
    flags.DEFINE_string('accelerator_type', tpu.TYPE, 'tpu: the type, as in v6e-16')
    flags.DEFINE_string('zone', None, 'tpu: the zone, as in us-west4-a; unset: that of gcloud')
    flags.DEFINE_string('project', None, 'tpu: the project; unset: that of gcloud')
    flags.DEFINE_string(
        'runtime_version', None, 'tpu: the image of the machines; unset: the usual one of the type'
    )
    flags.DEFINE_string('accelerators', sky.GPUS, 'sky: GPUs a machine, as in A100:8')
    flags.DEFINE_string('infra', None, 'sky: the cloud, as in gcp/us-central1; unset: any')
    flags.DEFINE_boolean('spot', False, 'tpu, sky: cheaper machines that may be taken away')
    flags.DEFINE_string(
        'code', None, 'tpu, sky: what pip installs there; unset: a wheel of this checkout'
    )


def chosen() -> str:
    """The place that `--on` names; refuses flags of others."""
    place = flags.FLAGS.on
    for name in _options():
        fit = [other for other in _PLACES if name in _options(other)]
        if flags.FLAGS[name].present and place not in fit:
            hint = ''
            if name == 'max_restarts':
                hint = ', or give it to launch.train itself, with --processes=N'
            raise flags.ValidationError(
                f'--{name} is for --on={" and ".join(fit)}, and this is --on={place}: leave it out'
                f'{commands.worded(hint)}'
            )
    return place


def given() -> list[str]:
    """The flags of places that were given, as words of another command."""
    present = [flags.FLAGS[name] for name in ('on', 'dry_run', 'name', *_options())]
    return [word for flag in present if flag.present for word in flag.serialize().split('\n')]


def run(listed: Sequence[jobs.Command], stop: main.Stop, at_once: int | None = None) -> int:
    """Shows or starts commands at the place that `--on` names; the exit status.

    Several are an array of jobs that need not meet, at most `at_once` at a time. One that runs here
    takes the place of this process.
    """
    place, workdir, FLAGS = chosen(), main.workdir(), flags.FLAGS
    shared = place in ('tpu', 'sky') and not FLAGS.name  # names are those of a whole project
    job = jobs.Job(
        jobs.name_of(workdir) if shared else jobs.name(FLAGS.name or workdir.name),
        workdir,
        tuple(listed),
        pathlib.Path.cwd(),
        tuple(FLAGS.setup),
        FLAGS.max_restarts,
        at_once,
    )
    tool = _PLACES[place]
    options = {name: FLAGS[name].value for name in tool.Options._fields}
    plan = tool.plan(job, tool.Options(**options))
    if FLAGS.dry_run:
        main.say(plan.shell())
        return main.DONE
    if shutil.which(tool.TOOL) is None:
        raise errors.UserError(tool.MISSING)
    for path, text in plan.files.items():
        main.say(f'{records.write_text(path, text)} is what is started; its lines will be there')
    *before, last = plan.commands
    for words in before:
        subprocess.run(words, check=True)
    if place == 'slurm' and FLAGS.again == slurm.OUTSIDE:
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
    most = flags.FLAGS.max_restarts
    for start in range(most + 1):
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
    main.say(f'not submitted again: it was {most} times already')
    return main.STOPPED


def _options(place: str | None = None) -> tuple[str, ...]:
    """The names of the flags that are for a place, or for any."""
    if place is None:
        return tuple(dict.fromkeys(name for one in _PLACES for name in _options(one)))
    return () if place == 'local' else (*_OF_JOBS, *_PLACES[place].Options._fields)


def _whole(name: str, default: int | None, text: str, low: int = 1, high: int | None = None):
    flags.DEFINE_integer(name, default, text, lower_bound=low, upper_bound=high)
