"""Measures speed, each number a ratio of timings taken in turn in one run.

    python -m launch.benchmark --what=train --workdir=build/benchmarks
    python -m launch.benchmark --what=theory --workdir=build/benchmarks
    python -m launch.benchmark --what=kernels --workdir=build/benchmarks
    python -m launch.benchmark --what=images --workdir=build/benchmarks
    python -m launch.benchmark --what=pretrained --workdir=build/benchmarks
    python -m launch.benchmark --what=hooks --workdir=build/benchmarks

With --workdir the numbers are written there too, as benchmark_<what>.json: each with its rounds,
median and range, beside the sizes that were measured and the provenance. A benchmark has a setting
of its own, so that its numbers compare: no flag changes it.
"""

import importlib
import time

from absl import flags

from launch import main
from resnet_dyn import records

flags.adopt_module_key_flags(main)

_WHAT = flags.DEFINE_enum(
    'what',
    'train',
    ['train', 'theory', 'kernels', 'images', 'pretrained', 'hooks'],
    'which benchmark',
)


def benchmark(stop: main.Stop) -> int:
    workdir = main.workdir() if flags.FLAGS.workdir else None
    if workdir:
        records.check_writable(workdir)
    experiment = importlib.import_module(f'experiments.benchmarks.{_WHAT.value}')

    from experiments.benchmarks import results

    start = time.perf_counter()
    with main.leaves_at_once(stop, 'the lines above stand, nothing was written'):
        numbers = experiment.run(main.say)
    if workdir:
        file = results.write(workdir, _WHAT.value, numbers, time.perf_counter() - start)
        main.say(f'numbers in {file}')
    return main.DONE


if __name__ == '__main__':
    main.run(benchmark)
