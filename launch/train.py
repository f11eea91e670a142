"""Trains residual networks, or goes on with a run that was stopped.

    python -m launch.train --workdir=runs/gaussians
    python -m launch.train --workdir=runs/cifar --config.data.name=cifar10 \\
        --config.data.dir=DATA --config.model.family=cifar_resnet --config.model.depth=20

Without further flags: the run that is in the folder goes on; in a new one, the task and the
network of the paper. Fields that decide no step of a run (its length, where its data are, what is
kept and said), where no other is given, are laid over the config of the run there. The folder gets
config.json, metrics.jsonl, dynamics.jsonl, TensorBoard event files and checkpoints/<step>/. A
network that diverges is left out, and the others go on; the last line then names it, and the exit
status is 3.
"""

import sys

from absl import flags

from launch import flags as config_flags
from launch import main, meshes, processes
from resnet_dyn import config as config_lib

flags.adopt_module_key_flags(config_flags)
flags.adopt_module_key_flags(main)
flags.adopt_module_key_flags(meshes)
flags.adopt_module_key_flags(processes)


def train(stop: main.Stop) -> int:
    workdir = main.workdir()
    given = config_flags.given()
    config = None
    if any(map(config_lib.decides, given)):
        config, given = config_flags.config(), {}

    def job() -> int:
        from resnet_dyn.models import placement
        from resnet_dyn.training import loop

        bar = sys.stdout.isatty()
        mesh = meshes.given(placement.TRAINING)
        result = loop.train(config, workdir, main.say, stop, bar, changes=given, mesh=mesh)
        if not result.finished:
            return main.STOPPED
        return main.DIVERGED if result.diverged else main.DONE

    return processes.run(job, stop, workdir)


if __name__ == '__main__':
    main.run(train)
