"""Follows a run over its checkpoints: gammas, depth, lesions, paths, ...; records and pictures.

    python -m launch.analyze --workdir=runs/cifar
    python -m launch.analyze --workdir=runs/cifar --what=depth,singles --seed=0 --examples=10000
    python -m launch.analyze --workdir=runs/cifar --what=pairs,random,paths --steps=last

Writes a record for each checkpoint and measure to W/records/, pictures to W/pictures/, and a table
to the screen. Says what it will cost before it starts. Records of the same settings are kept, so
that a stopped analysis goes on.

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
first.
"""

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
_SEED = flags.DEFINE_integer(
    'seed', None, 'index, from 0, of the one network to look at; unset: all', lower_bound=0
)
_SEEDS = flags.DEFINE_enum('seeds', None, ['all'], 'all networks of the run (the default)')
_EXAMPLES = flags.DEFINE_integer('examples', 1000, 'test examples to look at', lower_bound=1)
_AT_ONCE = flags.DEFINE_integer(
    'examples_at_once',
    250,
    'test examples in one call; fewer take less memory, and numbers stay the same (but for the '
    'random draws of paths)',
    lower_bound=1,
)
_MEMORY = flags.DEFINE_float(
    'memory',
    None,
    'GiB for activations of lesions and tables of interactions; unset: half of what is free',
    lower_bound=0,
)
_RANDOM = flags.DEFINE_integer(
    'random', 20, 'random, reorder: choices drawn for each number of blocks or swaps', lower_bound=1
)
_PROBES = flags.DEFINE_integer(
    'probes', 8, 'paths: Rademacher draws of the energies', lower_bound=2
)
_EXHAUSTIVE = flags.DEFINE_integer(
    'exhaustive',
    14,
    'interactions: the largest L of which all 2^L sub-networks are scored',
    lower_bound=1,
    upper_bound=20,
)


def analyze(stop: main.Stop) -> int:
    workdir, seed = main.workdir(), _SEED.value
    if seed is not None and _SEEDS.value:
        raise flags.ValidationError(f'--seed={seed} and --seeds=all at once: give one of the two')

    import jax

    from launch import progress, report
    from resnet_dyn.analysis import measures, trajectories

    with jax.default_matmul_precision('highest'):
        steps = trajectories.choose(workdir, _STEPS.value)
        lines = progress.Lines(main.say, stop)
        plan = measures.plan(
            workdir, _WHAT.value, _EXAMPLES.value, _data(workdir), seed, lines, **_effort()
        )
        main.say(report.costs(plan, steps))
        try:
            for visit in trajectories.follow(workdir, plan.measures, seed, steps):
                main.say(report.visit(visit))
                if stop():
                    return main.STOPPED
        except progress.Stopped:
            return main.STOPPED
    found = {
        name: trajectories.current(workdir, name, measure, seed)
        for name, measure in plan.measures.items()
    }
    main.say('\n'.join(('', report.table(found), report.note(plan), '')))
    for path in report.draw(workdir, found, plan, seed):
        main.say(str(path))
    return main.DONE


def _effort():
    """The fields of `analysis.scope.Scope` that have flags."""
    return {
        'at_once': _AT_ONCE.value,
        'budget': None if _MEMORY.value is None else int(_MEMORY.value * 2**30),
        'random': _RANDOM.value,
        'probes': _PROBES.value,
        'exhaustive': _EXHAUSTIVE.value,
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
    main.run(analyze)
