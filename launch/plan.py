"""What a run takes on each chip, before any is rented: its programs compiled, and read.

    python -m launch.plan --topology=v5e:2x4 --config.seeds=8 --config.data.name=cifar10 \\
        --config.model.family=cifar_resnet --config.model.depth=20
    python -m launch.plan --topology=v5e:2x4 --what=paths --config.data.name=cifar10 \\
        --config.model.family=cifar_resnet --config.model.depth=20
    python -m launch.plan --config.seeds=3

With --topology it compiles for chips that need not be there: v4, v5e, v5p and v6e, in the shapes
that can be rented, by the libtpu of the extra tpu. It takes minutes of CPU a program. Without, for
the devices at hand. No data are needed but those of digits and npz.

Says memory, operations, bytes and collectives, the least time a step can take by what the maker
says of the chip, and how networks go through a step in the least. A loop counts as often as it goes
round. What will not fit is refused with what would: exit status 1. With --workdir the text is
written to W/plan.txt too.
"""

import shlex
import sys

from absl import flags

from launch import flags as config_flags
from launch import main, meshes
from resnet_dyn import commands

FILE = 'plan.txt'

flags.adopt_module_key_flags(config_flags)
flags.adopt_module_key_flags(main)
flags.adopt_module_key_flags(meshes)

_TOPOLOGY = flags.DEFINE_string(
    'topology', None, 'chips to compile for, as in v5e:2x4; unset: the devices at hand'
)
_WHAT = flags.DEFINE_enum(
    'what',
    'train',
    ['train', 'lesions', 'paths'],
    'train: the steps of a training, its evaluation and records; lesions: all single blocks '
    'deleted; paths: the gradient by path length',
)


def plan(stop: main.Stop) -> int:
    config = config_flags.config()

    from resnet_dyn import backend, records
    from resnet_dyn.plans import chips

    topology = chips.topology(_TOPOLOGY.value) if _TOPOLOGY.value else None
    if topology:
        backend.compile_for_tpus()

    from resnet_dyn.models import placement
    from resnet_dyn.plans import kernels, notes, remedies, targets, training

    sizes = meshes.given(placement.TRAINING if _WHAT.value == 'train' else placement.KERNELS)

    with main.leaves_at_once(stop, 'nothing was written'):
        target = targets.of_topology(topology) if topology else targets.at_hand()
        if _WHAT.value == 'train':
            made = training.make(config, target, sizes, main.say)
            text, check = notes.of_training(made), remedies.check
        else:
            made = kernels.make(_WHAT.value, config, target, sizes, main.say)
            text, check = notes.of_kernels(made), remedies.check_kernels
    main.say(f'\n{text}')
    if flags.FLAGS.workdir:
        file = main.workdir() / FILE
        records.write_text(file, f'{_command()}\n\n{text}\n')
        main.say(f'\nthe plan is in {file}')
    check(made)
    return main.DONE


def _command() -> str:
    """This command, less where its text goes."""
    words = sys.argv[1:]
    if '--workdir' in words:
        at = words.index('--workdir')
        words = words[:at] + words[at + 2 :]
    words = [word for word in words if not word.startswith('--workdir=')]
    return ' \\\n    '.join((f'$ {commands.said("plan")}', *map(shlex.quote, words)))


if __name__ == '__main__':
    main.run(plan)
