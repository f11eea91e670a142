"""Follows a run over its checkpoints: gammas, depth, lesions, paths, ...; records and pictures.

    python -m launch.analyze --workdir=runs/cifar
    python -m launch.analyze --workdir=runs/cifar --what=depth,singles --network=0 --examples=10000
    python -m launch.analyze --workdir=runs/cifar --what=pairs,random,paths --steps=last

Writes a record for each checkpoint and measure and a table to W/records/, pictures to W/pictures/,
and the table to the screen. Says what it will cost before it starts. Records of other settings live
side by side: one that is there already serves, if it is of the settings given here, and of no fewer
examples or draws than the default where none are given; so a stopped analysis goes on.

Cheap at every checkpoint: gammas, depth, singles, influence. For the others take --steps=last
first. Exit status 3 if a network was left out because it is not finite, 1 if a checkpoint was or
records could not be kept: the last line says which.

Of published networks, in folders as Hugging Face has them (docs/pretrained.md), without a run:

    python -m launch.analyze --pretrained=gpt2 --what=influence,singles --workdir=W
    python -m launch.analyze --pretrained=step1000,step8000 --what=effective_depth --workdir=W

Several folders are the steps of one training, by the numbers in their names. They are looked at
with sequences of --text, or of Python's own documentation unless given; a decoder predicts each
next token, an encoder tells the sequences apart, a network of images takes --images.

Of a folder of runs, as launch.sweep and launch.dynamics make it, every run is analysed, one after
the other, and what was measured stands in the table of the sweep. A run that cannot be analysed is
said, and the others go on; the exit status is 1 then.
"""

import functools
import os
import pathlib

from absl import flags

from launch import flags as config_flags
from launch import following, main, meshes, processes, published

flags.adopt_module_key_flags(main)
flags.adopt_module_key_flags(published)
flags.adopt_module_key_flags(meshes)
flags.adopt_module_key_flags(processes)
for _path in ('data.dir', 'data.cache'):
    flags.declare_key_flag(config_flags.PREFIX + _path)

_WHAT = flags.DEFINE_list(
    'what',
    None,
    'what to measure, with commas between (listed above); unset: gammas, depth and singles, of '
    'published networks effective_depth, influence and singles',
)
_STEPS = flags.DEFINE_string(
    'steps', 'all', 'checkpoints to look at: all, last, or steps (and last) with commas between'
)
_NETWORK = flags.DEFINE_integer(
    'network', None, 'index, from 0, of the one network to look at; unset: all', lower_bound=0
)
flags.DEFINE_alias('seed', 'network')


def define() -> str:
    """Defines the flags of the table of measures, once it is known that there is a run.

    Returns the list of measures for the help.
    """
    if flags.FLAGS.workdir and not flags.FLAGS.help:
        if not published.asked():
            main.check_folder(main.workdir())
        processes.find(os.environ)  # refuses what does not go together

    from resnet_dyn.analysis import effort
    from resnet_dyn.reports import measures

    names = config_flags.define(effort.Settings, '')
    for name, measure in measures.MEASURES.items():
        names += config_flags.define(measure.options, f'{name}.')
    for name in names:
        flags.declare_key_flag(name)
    return f'\nMeasures:\n{measures.listed()}\n'


def analyze(stop: main.Stop) -> int:
    workdir = main.workdir()
    if published.asked():
        what, steps = _WHAT.value, _STEPS.value
        job = functools.partial(published.analyze, workdir, what, steps, _NETWORK.value, stop)
        return processes.run(job, stop, workdir, agreed=False)
    main.check_folder(workdir)
    return processes.run(lambda: _of_folder(workdir, stop), stop, workdir, agreed=False)


def _of_folder(workdir: pathlib.Path, stop: main.Stop) -> int:
    """Analyses a run, or each of a folder of runs; the exit status."""
    from experiments.sweeps import tables
    from launch import many
    from resnet_dyn import processes as together
    from resnet_dyn.reports import measures, selection
    from resnet_dyn.training import run_folders

    folders = run_folders.runs_of(workdir)
    if folders in ([], [workdir]):
        return _analyze(workdir, stop)
    selection.check(measures.DEFAULT if _WHAT.value is None else _WHAT.value)  # once, not by run
    status = many.each(folders, lambda folder: _analyze(folder, stop), stop)
    if together.is_lead():
        for file in tables.renew(workdir):
            main.say(str(file))
    return status


def _analyze(workdir: pathlib.Path, stop: main.Stop) -> int:
    """Analyses one run; the exit status."""
    from resnet_dyn import fields
    from resnet_dyn.analysis import dealing, run_subjects, trajectories
    from resnet_dyn.analysis import effort as effort_lib
    from resnet_dyn.models import placement
    from resnet_dyn.reports import measures, selection
    from resnet_dyn.training import runs

    given, network = config_flags.given_of(effort_lib.Settings, ''), _NETWORK.value
    known = runs.read(workdir)
    what = measures.DEFAULT if _WHAT.value is None else _WHAT.value
    selection.check(what)
    settings = effort_lib.Settings(**fields.given(effort_lib.Settings, given, 'analyze', '--'))
    deal = dealing.over_processes(known.config.seeds if network is None else 1)
    data = _data(known.config)
    mesh = placement.kernel_mesh(sizes=meshes.given(placement.KERNELS))
    run = run_subjects.Run(workdir, settings, network, data, known, deal.rows, mesh)
    steps = trajectories.choose(run.steps, _STEPS.value)
    effort = effort_lib.of_settings(settings, run.how, mesh=mesh)
    first = run.first(steps, selection.looks(what))
    chosen = selection.choose(what, first, effort, following.options(), tuple(given))
    analysis = following.Analysis(
        source=run,
        chosen=chosen._replace(networks=len(run.networks)),
        effort=effort,
        steps=steps,
        names=run.networks,
        config=run.config,
        seed=run.config.seed,
        deal=deal,
        network=network,
    )
    return following.follow(analysis, workdir, stop)


def _data(stored):
    """The run's config of the data with the folders that were given now; refuses other changes."""
    from resnet_dyn import fields

    given = config_flags.given()
    others = [path for path in given if path not in ('data.dir', 'data.cache')]
    if changed := [path for path in others if given[path] != fields.get(stored, path)]:
        flag = config_flags.PREFIX + changed[0]
        raise flags.ValidationError(
            f'an analysis takes its config from the run: {flag} is '
            f'{fields.get(stored, changed[0])!r} there, and now {given[changed[0]]!r}. Leave it '
            'out; config.data.dir and config.data.cache alone may differ'
        )
    return fields.replace(stored, {path: given[path] for path in given if path not in others}).data


if __name__ == '__main__':
    main.run(analyze, define=define)
