"""Measures speed, each number a ratio of timings taken in turn in one run.

    python -m launch.benchmark --what=train
    python -m launch.benchmark --what=theory
    python -m launch.benchmark --what=kernels

With --workdir the numbers are written there too, as benchmark_<what>.json with their provenance.
"""

import importlib
import json
import time

from absl import flags

from launch import flags as config_flags
from launch import main

flags.adopt_module_key_flags(config_flags)
flags.adopt_module_key_flags(main)

_WHAT = flags.DEFINE_enum('what', 'train', ['train', 'theory', 'kernels'], 'which benchmark')


def benchmark(stop: main.Stop) -> int:
    if changed := config_flags.given():
        raise flags.ValidationError(
            f'a benchmark has a setting of its own, so that its numbers compare: leave out '
            f'{", ".join(f"--config.{path}" for path in changed)}'
        )
    experiment = importlib.import_module(f'experiments.benchmarks.{_WHAT.value}')

    from resnet_dyn import config, records

    start = time.perf_counter()
    with main.leaves_at_once(stop, 'the lines above stand, nothing was written'):
        numbers = experiment.run(main.say)
    if flags.FLAGS.workdir:
        workdir = main.workdir()
        workdir.mkdir(parents=True, exist_ok=True)
        seconds = time.perf_counter() - start
        provenance = records.provenance(config.parse(), wall_time=seconds)
        path = workdir / f'benchmark_{_WHAT.value}.json'
        path.write_text(json.dumps({'numbers': numbers, 'provenance': provenance}, indent=1))
        main.say(f'numbers in {path}')
    return main.DONE


if __name__ == '__main__':
    main.run(benchmark)
