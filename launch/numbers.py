"""Writes the table and the pictures of README.md from what the other commands left in a folder.

python -m launch.numbers --workdir=build
"""

from absl import flags

from launch import main
from resnet_dyn import commands, errors

flags.adopt_module_key_flags(main)


def numbers(stop: main.Stop) -> int:
    workdir = main.workdir()
    if commands.installed():
        raise errors.RunError(
            'the README that is rewritten lies in a checkout, and this package is installed: run '
            f'python -m launch.numbers --workdir={workdir} in the folder of the checkout'
        )

    from experiments import readme

    with main.leaves_at_once(stop, 'nothing was written'):
        rows = readme.read(workdir, main.say)
    result = readme.write(rows, workdir, main.say)
    main.say('\n'.join(('', *result.findings, '', *map(str, result.files))))
    return main.DONE


if __name__ == '__main__':
    main.run(numbers)
