"""Checks every lemma, theorem and erratum by numbers; prints the table, writes three pictures.

python -m launch.theorems --workdir=build/theorems
python -m launch.theorems --workdir=build/theorems --max_lambda=8
"""

from absl import flags

from launch import main

flags.adopt_module_key_flags(main)

_MAX_LAMBDA = flags.DEFINE_integer(
    'max_lambda', 4, 'largest spin glass searched for critical points', lower_bound=2, upper_bound=8
)
_FAST = flags.DEFINE_boolean('fast', False, 'fewer samples and seeds')


def theorems(stop: main.Stop) -> int:
    workdir = main.workdir()

    from experiments import verify_theorems

    computing = main.leaves_at_once(stop, 'nothing was written, the next start begins anew')
    verify_theorems.run(workdir, _MAX_LAMBDA.value, _FAST.value, main.say, computing)
    return main.DONE


if __name__ == '__main__':
    main.run(theorems)
