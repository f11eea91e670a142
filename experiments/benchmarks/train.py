"""How fast is a training step, beside eager PyTorch, and does its compile time grow with depth?

Command: python -m launch.benchmark --what=train
What: ResNet-20 (postact, as in He et al. 2015), batch 128, 32x32x3, float32, SGD with Nesterov
momentum: the run's own compiled loop, its batches taken and augmented inside, against the same net
in eager PyTorch (channels_last, as many threads as cores, one batch over and over), timed in turn
in one process. PyTorch is never a dependency: without it our speed stands alone.
Expect: on 2 cores at least 0.5 of PyTorch's steps per second; compile time of ResNet-1202 at most
1.5 times that of ResNet-20, because equal blocks are scanned.
Each timing in rounds, whose number, median and range are said.
Wall time: about 3 minutes on 2 cores.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from experiments.benchmarks import timing
from resnet_dyn import config
from resnet_dyn.data import datasets
from resnet_dyn.models import placement, presets, seed_axis
from resnet_dyn.training import program

BATCH = 128
DEPTH = 20
STEPS = 3  # a timed call
ROUNDS = 9
COMPILED = (20, 110, 1202)  # depths whose compile times are compared
COMPILE_ROUNDS = 3
WARM_UP = 8


def run(report: Callable[[str], None] = print) -> dict[str, Any]:
    """Measures, reports line by line, and returns the numbers behind the lines."""
    sizes = {'batch': BATCH, 'depth': DEPTH, 'steps': STEPS}
    return {'sizes': sizes, **_compile(report), **_speed(report)}


def _compile(report) -> dict[str, Any]:
    compile_time(WARM_UP)  # what the first compilation of a process pays is no one's
    seconds = {depth: [] for depth in COMPILED}
    for _ in range(COMPILE_ROUNDS):
        for depth in COMPILED:
            seconds[depth].append(compile_time(depth))
    for depth, values in seconds.items():
        report(f'compile time of the training step, ResNet-{depth}: {timing.spread(values)} s')
    first, *_, last = COMPILED
    growth = timing.ratio(seconds[last], seconds[first])
    what = f'ResNet-{last} over ResNet-{first}'
    report(f'{what}: {growth} (goal: at most 1.5)')
    return {'compile_seconds': seconds, 'compile_growth': {'what': what, 'ratio': growth}}


def _speed(report) -> dict[str, Any]:
    contestants = {'ours': our_steps()}
    torch_steps = pytorch_steps()
    if torch_steps is not None:
        contestants['pytorch'] = torch_steps
    seconds = timing.in_turn(contestants, ROUNDS, pause=0.5)
    for name, values in seconds.items():
        rate = timing.spread([STEPS / value for value in values])
        report(f'{name}: {rate} steps/s, {BATCH * rate.median:.0f} images/s')
    if torch_steps is None:
        report('PyTorch cannot be imported: no comparison')
        return {'seconds': seconds}
    ratio = timing.ratio(seconds['pytorch'], seconds['ours'])
    report(f'our steps per second over those of PyTorch: {ratio} (goal: at least 0.5, aim 1.0)')
    return {'seconds': seconds, 'speed_over_pytorch': ratio}


def resnet_program(depth: int) -> program.Program:
    """The compiled loop of a run of ResNet-`depth` on random images of CIFAR's shape."""
    cfg = config.parse(
        {
            'model.family': 'cifar_resnet',
            'model.depth': depth,
            'model.block': 'postact',
            'data.name': 'cifar10',
            'train.batch_size': BATCH,
            'train.steps': 10_000,
        }
    )
    cfg = seed_axis.settle(cfg)
    random = np.random.default_rng(0)

    def split(size):
        images = random.integers(0, 256, (size, 32, 32, 3), dtype=np.uint8)
        return datasets.Split(images, random.integers(0, 10, size, dtype=np.int32))

    dataset = datasets.Dataset(
        train=split(4 * BATCH),
        test=split(BATCH),
        mean=np.full(3, 127.5, np.float32),
        std=np.full(3, 64.0, np.float32),
        classes=10,
        source=datasets.Source('random images', '', ''),
    )
    model = presets.from_config(cfg.model, dataset.classes, cfg.train.survival)
    return program.Program(
        cfg, model, dataset, cfg.train.steps, placement.mesh(1, BATCH, jax.devices()[:1])
    )


def compile_time(depth: int) -> float:
    """Seconds to trace and compile the loop of steps, initial values excluded."""
    jax.clear_caches()
    loop = resnet_program(depth)
    networks = jax.block_until_ready(loop.begin())
    return timing.once(lambda: jax.block_until_ready(loop.advance(networks, 0, 0)))


def our_steps() -> Callable[[], object]:
    """A call that trains the network of `DEPTH` for `STEPS` steps."""
    loop = resnet_program(DEPTH)
    networks = loop.begin()
    return lambda: jax.block_until_ready(loop.advance(networks, 0, STEPS))


def pytorch_steps() -> Callable[[], object] | None:
    """The same in eager PyTorch, or None where it cannot be imported."""
    if timing.pytorch() is None:
        return None
    from experiments.benchmarks import pytorch_resnet

    return pytorch_resnet.steps(DEPTH, BATCH, STEPS)
