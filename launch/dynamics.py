"""Does depth grow in training, and is it the scales? Runs, controls, and a verdict a claim.

    python -m launch.dynamics --workdir=build/dynamics
    python -m launch.dynamics --workdir=build/dynamics_fast --fast
    python -m launch.dynamics --workdir=build/dynamics_cifar --data=cifar10 --config.data.dir=DATA

Trains what is not trained, measures what is not measured, judges the claims by the rules that stand
in experiments/depth_over_training.py, and writes claims.csv, controls.csv, trajectories.csv,
correlations.csv and runs.csv. Started again, it goes on where it was; programs that were compiled
are kept in W/programs. Config flags change all runs; what makes a control stays its own. A network
that diverges is left out: the last lines then name it, and the exit status is 3.
"""

from absl import flags

from launch import flags as config_flags
from launch import main
from resnet_dyn import backend

flags.adopt_module_key_flags(config_flags)
flags.adopt_module_key_flags(main)

_DATA = flags.DEFINE_list(
    'data', None, 'tasks, with commas between: gaussians, digits, cifar10; unset: the first two'
)
_FAST = flags.DEFINE_boolean('fast', False, 'few networks, steps and controls: a rough look')
_THREADS = flags.DEFINE_integer(
    'threads', 2, 'runs at a time: while one compiles, another computes', lower_bound=1
)


def dynamics(stop: main.Stop) -> int:
    main.at_any_moment(stop)
    workdir, changes = main.workdir(), config_flags.given()
    backend.keep_programs(workdir / 'programs')

    from experiments import depth_over_training
    from resnet_dyn.reports import claims

    data = depth_over_training.DATA if _DATA.value is None else _DATA.value
    result = depth_over_training.run(
        workdir, data, _FAST.value, changes, stop, main.say, _THREADS.value
    )
    if not result.finished:
        return main.STOPPED
    main.say(f'\n{claims.text(result.verdicts)}\n')
    main.say('\n'.join((*map(str, result.files), *result.diverged)))
    return main.DIVERGED if result.diverged else main.DONE


if __name__ == '__main__':
    main.run(dynamics)
