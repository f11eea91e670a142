"""What do lesions of an opened language model cost beside hooks in PyTorch?

Command: python -m launch.benchmark --what=hooks, in the environment of `make parity`
What: a GPT-2 of 12 layers and random weights, written by the transformers library and opened from
its folder, in float32. All single sublayers, all pairs of sublayers and all 2^12 sub-networks of
whole layers, the loss of next tokens of each, by `lesions.score` with `width=16`. Beside it, in
turn in the same process on one core, the same network in its own library: forward hooks, in which
what is deleted is computed and thrown away, and a loop that leaves it out. One core, and CPU time
beside the clock's: work is compared, not pools of threads, and what else the machine does matters
little. Peak memory of a process of its own that opens the folder and scores 2^8 and 2^12 masks.
Expect: the same losses to 1e-5; at most 1/2 (singles), 1/3 (pairs) and 1/8 (all sub-networks) of
the time of the hooks; the same memory for 16 times the masks.
Each timing in rounds, whose number, median and range are said.
Wall time: about 12 minutes, most of it the hooks.
"""

import contextlib
import functools
import importlib.util
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from experiments.benchmarks import timing
from resnet_dyn import errors, pretrained
from resnet_dyn.kernels import lesions, masks, prefix_tree

LAYERS, WIDTH, HEADS, VOCABULARY = 12, 256, 4, 512
SEQUENCES, LENGTH = 2, 64
CHUNK = 16  # sub-networks in one compiled call
PAUSE = 0.5  # seconds
FEW, MANY = 8, 12  # of blocks, all of whose sub-networks are scored where memory is looked at


class Lesions(NamedTuple):
    """Masks of an opened network to be scored, in so many rounds, and what is aimed at."""

    what: str
    blocks: str
    masks: Callable[[int], np.ndarray]  # of L
    rounds: int
    goal: float  # the hooks' time over ours


LESIONS = {
    'singles': Lesions('all single sublayers', 'sublayers', masks.single, 5, 2.0),
    'pairs': Lesions(
        'all pairs of sublayers', 'sublayers', functools.partial(masks.exactly, j=2), 3, 3.0
    ),
    'exhaustive': Lesions('all 2^12 sub-networks of layers', 'layers', masks.all_masks, 1, 8.0),
}


def run(report: Callable[[str], None] = print) -> dict[str, Any]:
    """Measures, reports line by line, and returns the numbers behind the lines."""
    if timing.pytorch() is None or importlib.util.find_spec('transformers') is None:
        raise errors.RunError(
            'torch and transformers cannot be imported, and this benchmark is a comparison with '
            'them: run it in the environment that `make parity` makes, by '
            '.venv-parity/bin/python -m launch.benchmark --what=hooks'
        )
    with one_core() as cores, tempfile.TemporaryDirectory() as folder:
        write(pathlib.Path(folder))
        sizes = {'layers': LAYERS, 'width': WIDTH, 'vocabulary': VOCABULARY}
        sizes |= {'sequences': SEQUENCES, 'length': LENGTH, 'cores': cores, 'chunk': CHUNK}
        report(
            f'GPT-2 of {LAYERS} layers, width {WIDTH}, {VOCABULARY} tokens; {SEQUENCES} sequences '
            f'of {LENGTH}; {cores} core{"s" * (cores > 1)}'
        )
        found = {name: race(report, pathlib.Path(folder), one) for name, one in LESIONS.items()}
        return {'sizes': sizes, 'lesions': found, 'memory': _memory(report, folder)}


@contextlib.contextmanager
def one_core() -> Iterator[int]:
    """Keeps this process, both libraries and what it starts, to one core where the system can."""
    timing.pytorch().set_num_threads(1)
    if not hasattr(os, 'sched_setaffinity'):
        yield os.cpu_count() or 1
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield 1
    finally:
        os.sched_setaffinity(0, before)


def write(folder: pathlib.Path) -> None:
    """The network, in its own library's layout."""
    from experiments.benchmarks import pytorch_hooks

    pytorch_hooks.write(folder, LAYERS, WIDTH, HEADS, VOCABULARY, LENGTH)


def race(report, folder: pathlib.Path, one: Lesions) -> dict[str, Any]:
    """One set of masks, ours and PyTorch's: the largest difference, wall and CPU time."""
    from experiments.benchmarks import pytorch_hooks

    ours, num = scores(folder, one.blocks, one.masks)
    tokens_BT, model = tokens(), pytorch_hooks.load(folder)
    masks_ML = one.masks(num)
    calls = {
        'ours': functools.partial(ours, masks_ML),
        'hooks': pytorch_hooks.hooks(model, tokens_BT, masks_ML, one.blocks),
        'skips': pytorch_hooks.skips(model, tokens_BT, masks_ML, one.blocks),
    }
    ours(masks_ML)  # compiles
    values, processor = {}, {name: [] for name in calls}
    contestants = {n: _watched(c, n, values, processor[n]) for n, c in calls.items()}
    seconds = timing.in_turn(contestants, one.rounds, PAUSE, warm_up=False)
    evaluations = prefix_tree.block_evaluations(masks_ML)
    found = {
        'what': one.what,
        'masks': len(masks_ML),
        'block_evaluations': evaluations,
        'seconds': seconds,
        'processor_seconds': processor,
        'spread': float(np.ptp(values['hooks'])),
    }
    report(f'{one.what} ({len(masks_ML):,} masks, {evaluations:,} block evaluations):')
    for other, words in (('hooks', 'hooks'), ('skips', 'a loop that leaves deleted blocks out')):
        far = np.abs(values['ours'] - values[other]).max() / np.abs(values[other]).max()
        ratio = timing.ratio(seconds[other], seconds['ours'])
        cpu = timing.ratio(processor[other], processor['ours'])
        found |= {f'{other}_over_ours': ratio, f'{other}_processor_over_ours': cpu}
        found[f'{other}_difference'] = float(far)
        aim = f' (goal: at least {one.goal:g})' if other == 'hooks' else ''
        report(f'  {words}, over ours: {ratio}{aim}; CPU time {cpu}; losses within {far:.1g}')
    return found


def scores(folder: pathlib.Path, blocks: str, masks_of: Callable) -> tuple[Callable, int]:
    """(masks (M, L) -> losses (M,), L) of the network of a folder."""
    opened = pretrained.open(folder, blocks=blocks)
    tokens_BT = tokens()
    inputs = opened.inputs(tokens_BT)
    labels_BT = np.concatenate([tokens_BT[:, 1:], np.full((len(tokens_BT), 1), -1)], 1)

    def score(masks_ML):
        found = lesions.score(opened.net, inputs, labels_BT, masks_ML, ('loss',), width=CHUNK)
        return found['loss']

    return score, opened.net.num_blocks


def tokens() -> np.ndarray:
    """Random token ids (B, T)."""
    return np.random.RandomState(0).randint(0, VOCABULARY, (SEQUENCES, LENGTH))


def memory_of(folder: pathlib.Path, deep: int) -> int:
    """Scores all 2^deep sub-networks in which the other layers stay; peak bytes of the process."""
    score, num = scores(folder, 'layers', masks.all_masks)
    masks_ML = np.ones((2**deep, num), np.float32)
    masks_ML[:, :deep] = masks.all_masks(deep)
    score(masks_ML)
    # not getrusage, whose peak a process has from the one that started it
    status = pathlib.Path('/proc/self/status').read_text()
    return 1024 * int(re.search(r'VmHWM:\s*(\d+)', status)[1])


def _memory(report, folder) -> dict[str, Any]:
    """Peak memory of processes that score few masks and many."""
    peak = {}
    if not pathlib.Path('/proc/self/status').exists():
        report('peak memory is not measured where there is no /proc')
        return {}
    for deep in (FEW, MANY):
        words = f'pathlib.Path({str(folder)!r}), {deep}'
        code = (
            'import pathlib; from experiments.benchmarks import hooks; '
            f'print(hooks.memory_of({words}))'
        )
        done = subprocess.run([sys.executable, '-c', code], check=True, capture_output=True)
        peak[deep] = int(done.stdout)
    growth = peak[MANY] / peak[FEW]
    report(
        f'peak memory for 2^{MANY} masks: {peak[MANY] / 2**20:.0f} MiB, over that for 2^{FEW}: '
        f'{growth:.3f}'
    )
    return {'few': FEW, 'many': MANY, 'peak_bytes': peak, 'growth': growth}


def _watched(call, name: str, values: dict, processor: list) -> Callable[[], None]:
    """The call, what it gives put into values[name], its CPU seconds at the end of `processor`."""

    def run():
        start = time.process_time()
        values[name] = np.asarray(call())
        processor.append(time.process_time() - start)

    return run
