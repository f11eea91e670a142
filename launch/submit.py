"""Runs a command of ours here, on Slurm, on TPUs or on a cloud of GPUs.

    python -m launch.submit --on=slurm --workdir=W --time=4:00:00 --gpus=1 -- \\
        launch.train --config.seeds=8
    python -m launch.submit --on=tpu --workdir=W --accelerator_type=v5litepod-8 \\
        --zone=us-west4-a --dry_run -- launch.train --config.seeds=8
    python -m launch.submit --on=sky --workdir=W --accelerators=A100:8 -- launch.train
    python -m launch.submit --on=local --workdir=W -- launch.train

What comes after -- is the command, which gets --workdir=W too; its flags are read before anything
is submitted. --dry_run prints what would be written and run, to the letter, as a script of shell,
and needs none of the tools. What is submitted, and what it says, is in W/logs.

slurm: an sbatch script. A while before the time limit, or when it is preempted, the command saves,
leaves with status 42, and goes back into the queue (--again=requeue). Some sites make that a no-op:
with --again=outside this process waits, and submits it again until it is done. On several nodes, or
with --tasks, the command runs as several processes, which find each other. W and all other paths
have to be those of the cluster. Anything else that sbatch takes: --sbatch=--qos=long.

tpu, sky: a script that runs here. It asks for the machines, brings the package (a wheel of this
checkout, or --code) and W as far as it is there, fetches W every few minutes and at the end, and
gives the machines back; those that were taken away are asked for again, and the run goes on. Paths
in other flags are those of the machines there.

Exit status: that of the command with local, tpu, sky and --again=outside; else 0 once submitted.
"""

import os
import pathlib
from collections.abc import Sequence

from absl import flags

from launch import main, places
from launch.schedulers import jobs
from resnet_dyn import commands, fields

flags.adopt_module_key_flags(main)
places.define()
flags.adopt_module_key_flags(places)


def submit(stop: main.Stop, words: Sequence[str]) -> int:
    workdir, place = main.workdir(), places.chosen()
    words = _without_form(words)
    verb = _verb(words)
    rest = _without_workdir(words[1:], workdir)
    command = jobs.Command(verb, workdir, tuple(rest))
    places.check(command)
    if verb == 'sweep' and place == 'slurm':  # an array: it knows its runs
        command = command._replace(flags=(*rest, *places.given()))
        places.become(command.words())
    return places.run([command], stop)


def _without_form(words: Sequence[str]) -> list[str]:
    """A command that is given as it is typed elsewhere, from its launcher on."""
    words = list(words)
    for form in (['python', '-m'], ['python3', '-m'], [commands.NAME]):
        if words[: len(form)] == form:
            return words[len(form) :]
    return words


def _verb(words: Sequence[str]) -> str:
    if not words:
        raise flags.Error(f'there is no command: give it after --, {_example()}')
    known = [verb for verb in commands.verbs() if verb != 'submit']
    verb = words[0].removeprefix('launch.')
    if verb not in known:
        raise flags.Error(
            f'{words[0]!r} is none of {", ".join(known)}: give one of them after --, {_example()}'
            f'{fields.nearest(verb, known)}'
        )
    return verb


def _example() -> str:
    return commands.worded('as in -- launch.train --config.seeds=8')


def _without_workdir(words: Sequence[str], workdir: pathlib.Path) -> list[str]:
    """The flags without --workdir, which is refused where it is another than ours."""
    rest, todo = [], list(words)
    while todo:
        word = todo.pop(0)
        name, equals, value = word.partition('=')
        if name not in ('--workdir', '-workdir'):
            rest.append(word)
            continue
        value = value if equals else ''.join(todo[:1])
        todo = todo if equals else todo[1:]
        if pathlib.Path(os.path.expanduser(value)).absolute() != workdir:
            raise flags.ValidationError(
                f'the command has --workdir={value}, and this one has --workdir={workdir}, which '
                'it gets: leave it out after --'
            )
    return rest


if __name__ == '__main__':
    main.run(submit, words=True)
