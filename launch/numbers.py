"""Writes the table and the pictures of README.md from what the other commands left in a folder.

python -m launch.numbers --workdir=build
"""

from absl import flags

from launch import main

flags.adopt_module_key_flags(main)


def numbers(stop: main.Stop) -> int:
    workdir = main.workdir()

    from experiments import readme

    result = readme.run(workdir, main.say)
    main.say('\n'.join(('', *result.findings, '', *map(str, result.files))))
    return main.DONE


if __name__ == '__main__':
    main.run(numbers)
