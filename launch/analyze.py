"""Follows a run over its checkpoints: gammas, predicted depth, single lesions; records, pictures.

    python -m launch.analyze --workdir=runs/cifar
    python -m launch.analyze --workdir=runs/cifar --what=depth,singles --seed=0 --examples=10000

Writes a record for each checkpoint and measure to W/records/, pictures to W/pictures/, and a table
to the screen. Records of the same settings are kept, so that a stopped analysis goes on.

    gammas   mean |gamma| over channels, by block and norm
    depth    the depth law predicted from the measured power gains of the blocks, E[r] of at most
             L + 1; sigma as it is at the checkpoint; incoherent and coherent
    singles  loss and error of the network after deleting each single block
"""

from absl import flags

from launch import flags as config_flags
from launch import given, main

flags.adopt_module_key_flags(main)
for _path in ('data.dir', 'data.cache'):
    flags.declare_key_flag(config_flags.PREFIX + _path)

_WHAT = flags.DEFINE_list('what', 'gammas,depth,singles', 'what to measure')
_SEED = flags.DEFINE_integer(
    'seed', None, 'index, from 0, of the one network to look at; unset: all', lower_bound=0
)
_SEEDS = flags.DEFINE_enum('seeds', None, ['all'], 'all networks of the run (the default)')
_EXAMPLES = flags.DEFINE_integer('examples', 1000, 'test examples to look at', lower_bound=1)


def analyze(stop: main.Stop) -> int:
    workdir, seed = main.workdir(), _SEED.value
    if seed is not None and _SEEDS.value:
        raise flags.ValidationError(f'--seed={seed} and --seeds=all at once: give one of the two')

    import jax

    from launch import report
    from resnet_dyn.analysis import measures, trajectories

    with jax.default_matmul_precision('highest'):
        plan = measures.plan(workdir, _WHAT.value, _EXAMPLES.value, _data(workdir), seed)
        main.say(report.costs(plan, trajectories.steps(workdir)))
        for visit in trajectories.follow(workdir, plan.measures, seed):
            main.say(report.visit(visit))
            if stop():
                return main.STOPPED
    found = {
        name: trajectories.read(workdir, name, measure.kind, seed)
        for name, measure in plan.measures.items()
    }
    main.say('\n'.join(('', report.table(found), report.note(plan), '')))
    for path in report.draw(workdir, found, plan, seed):
        main.say(str(path))
    return main.DONE


def _data(workdir):
    """The run's config of the data with the folders that were given now; refuses other changes."""
    from resnet_dyn import config
    from resnet_dyn.training import runs

    stored, changes = runs.read_config(workdir), given.changes()
    if changed := config.differences(stored, config.replace(stored, changes)):
        raise flags.ValidationError(
            f'an analysis takes its config from the run: {"; ".join(changed)}. Leave these flags '
            'out; config.data.dir and config.data.cache alone may differ'
        )
    return config.replace(stored, changes).data


if __name__ == '__main__':
    main.run(analyze)
