"""Follows a run over its checkpoints: gammas, depth, lesions, paths, ...; records and pictures.

    python -m launch.analyze --workdir=runs/cifar
    python -m launch.analyze --workdir=runs/cifar --what=depth,singles --network=0 --examples=10000
    python -m launch.analyze --workdir=runs/cifar --what=pairs,random,paths --steps=last

Writes a record for each checkpoint and measure and a table to W/records/, pictures to W/pictures/,
and the table to the screen. Says what it will cost before it starts. Records of other settings live
side by side: one that is there already serves, if it is of the settings given here, and of no fewer
examples or draws than the default where none are given; so a stopped analysis goes on.

    gammas        mean |gamma| over channels, by block and norm
    depth         the depth law predicted from the measured power gains of the blocks, E[r] of at
                  most L + 1; sigma as it is at the checkpoint; incoherent and coherent
    singles       loss and error without each single block, and the guess of a gradient by gates
    pairs         loss and error without any two blocks: which ones stand in for one another
    random        loss and error without j blocks chosen at random, j = 0..L (Veit et al., fig 5a)
    greedy        blocks deleted one by one, always the one that is missed least
    reorder       error after random swaps of equal blocks, by Kendall's tau (Veit et al., fig 5b)
    paths         the gradient split exactly by path length; energies of single paths (fig 6)
    interactions  all 2^L sub-networks: variance by how many blocks act together, Shapley values
    influence     what each block does to the signal and its gradient; angles between depths

Cheap at every checkpoint: gammas, depth, singles, influence. For the others take --steps=last
first. Exit status 1 if a network or a checkpoint had to be left out: the last line says which.
"""

import functools

from absl import flags

from launch import flags as config_flags
from launch import main

flags.adopt_module_key_flags(main)
for _path in ('data.dir', 'data.cache'):
    flags.declare_key_flag(config_flags.PREFIX + _path)

_WHAT = flags.DEFINE_list(
    'what', 'gammas,depth,singles', 'what to measure, with commas between (listed above)'
)
_STEPS = flags.DEFINE_string(
    'steps', 'all', 'checkpoints to look at: all, last, or steps with commas between them'
)
_NETWORK = flags.DEFINE_integer(
    'network', None, 'index, from 0, of the one network to look at; unset: all', lower_bound=0
)
flags.DEFINE_alias('seed', 'network')


def define() -> None:
    """Defines the flags of the table of measures, once it is known that there is a run."""
    if flags.FLAGS.workdir and not flags.FLAGS.help:
        main.check_folder(main.workdir())

    from resnet_dyn.analysis import effort
    from resnet_dyn.reports import measures

    names = config_flags.define(effort.Settings, '')
    for name, measure in measures.MEASURES.items():
        names += config_flags.define(measure.options, f'{name}.')
    for name in names:
        flags.declare_key_flag(name)


def analyze(stop: main.Stop) -> int:
    workdir = main.workdir()
    main.check_folder(workdir)

    import jax

    from launch import progress
    from resnet_dyn import errors, records
    from resnet_dyn.analysis import archive, run_subjects, trajectories
    from resnet_dyn.analysis import effort as effort_lib
    from resnet_dyn.reports import closing, notes, selection

    settings_given = config_flags.given_of(effort_lib.Settings, '')
    settings, network = effort_lib.Settings(**settings_given), _NETWORK.value
    run = run_subjects.Run(workdir, settings, network, _data(workdir))
    steps = trajectories.choose(run.steps, _STEPS.value)
    effort = effort_lib.of_settings(settings, run.how)
    selection.check(_WHAT.value)
    looks = selection.looks(_WHAT.value)
    try:
        records.check_writable(archive.folder(workdir))
        kept_in, unwritable = workdir, ''
    except errors.RecordError as error:
        kept_in, unwritable = None, f'{error}. The table is shown all the same, nothing is kept'
        main.say(f'WARNING: {unwritable}')
    visits = []
    with jax.default_matmul_precision('highest'):
        chosen = selection.choose(
            _WHAT.value, run.first(steps, looks), effort, _options(), tuple(settings_given)
        )
        main.say(notes.costs(chosen, steps))
        followed = trajectories.follow(
            run,
            chosen.requests,
            effort,
            steps,
            kept_in,
            network,
            functools.partial(records.provenance, run.config, seed=run.config.seed),
            progress.Lines(main.say, stop),
        )
        try:
            for visit in followed:
                visits.append(visit)
                main.say(notes.visit(visit))
                if stop() and len(visits) < len(steps):
                    raise progress.Stopped
        except progress.Stopped:
            main.say(notes.stopped(visits, steps))
            return main.STOPPED
    networks = run.first(steps, looks=False).names.networks
    analysis = closing.Analysis(chosen, networks, run.note(looks), network)
    closing.show(visits, analysis, main.say, kept_in)
    lost = '; '.join(filter(None, (notes.losses(visits), unwritable)))
    if lost:
        main.say(lost)
    return main.FAILED if lost else main.DONE


def _options():
    """The options of measures that were given, by measure."""
    from resnet_dyn.reports import measures

    return {
        name: config_flags.given_of(measure.options, f'{name}.')
        for name, measure in measures.MEASURES.items()
    }


def _data(workdir):
    """The run's config of the data with the folders that were given now; refuses other changes."""
    from resnet_dyn import config, fields
    from resnet_dyn.training import runs

    stored, changes = runs.read_config(workdir), config_flags.given()
    if changed := config.differences(stored, fields.replace(stored, changes)):
        raise flags.ValidationError(
            f'an analysis takes its config from the run: {"; ".join(changed)}. Leave these flags '
            'out; config.data.dir and config.data.cache alone may differ'
        )
    return fields.replace(stored, changes).data


if __name__ == '__main__':
    main.run(analyze, define=define)
