"""Makes a figure from scratch: trains what it needs, measures, draws, and says where it is.

    python -m launch.figure --name=figure1 --workdir=build/figure1
    python -m launch.figure --name=figure1 --workdir=build/figure1 --fast
    python -m launch.figure --name=initial_depth --workdir=build/initial_depth
    python -m launch.figure --name=transformer --workdir=build/transformer

Started again, figure1 and transformer go on where they were. Config flags change the trainings
behind it, as in --config.seeds=20; what is not given is the figure's own. A network that diverges
is left out: the last lines then name it, and the exit status is 3.
"""

import importlib

from absl import flags

from launch import flags as config_flags
from launch import main

flags.adopt_module_key_flags(config_flags)
flags.adopt_module_key_flags(main)

_NAME = flags.DEFINE_enum(
    'name', 'figure1', ['figure1', 'initial_depth', 'transformer'], 'which figure'
)
_FAST = flags.DEFINE_boolean('fast', False, 'fewer seeds and steps: a rough picture, labelled so')


def figure(stop: main.Stop) -> int:
    main.at_any_moment(stop)
    workdir, changes = main.workdir(), config_flags.given()
    experiment = importlib.import_module(f'experiments.{_NAME.value}')
    result = experiment.run(workdir, _FAST.value, changes, stop, main.say)
    if not result.finished:
        return main.STOPPED
    main.say('\n'.join(('', *result.findings, '', *map(str, result.files), *result.diverged)))
    return main.DIVERGED if result.diverged else main.DONE


if __name__ == '__main__':
    main.run(figure)
