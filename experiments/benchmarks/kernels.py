"""What do the kernels cost, in passes through the network and beside PyTorch?

Command: python -m launch.benchmark --what=kernels
What: postact CIFAR ResNets (He et al. 2015; Veit et al.'s nets), 32x32x3, float32, random weights,
running statistics. Batch 128: single deletions and pairs of ResNet-56 (L = 27) and all 2^12 masks
of ResNet-26 (L = 12), in forward passes. Batch 64: the exact path spectrum of ResNet-110 (L = 54)
in VJP passes, one product from the loss to h_0, residuals at hand, no parameter gradients. Beside
them, timed in turn in the same process, vmap over the masks and the plain PyTorch loop over masks
that skips deleted blocks (eager, channels_last, a thread a core), where PyTorch can be imported.
The bound of a set of masks is its block evaluations, distinct prefixes alone, over L: for singles
(L+1)/2 forward passes.
Expect: singles within 1.4 of their bound, pairs and all masks within 1.6, the spectrum within 1.3
(L+1)/2 VJP passes; compile time of ResNet-110 at most twice that of ResNet-20; PyTorch's loop 1.4
times slower for singles and 3.5 times for all masks. These hold for 2 cores; accelerators have no
number yet. Each timing in rounds, whose number, median and range are said.
Wall time: about 18 minutes on 2 cores, most of it the loops of PyTorch.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks import timing
from resnet_dyn.kernels import lesions, masks, metrics, path_gradients, prefix_tree
from resnet_dyn.models import presets, transforms
from resnet_dyn.models import stack as stack_lib

BATCH = 128
SPECTRUM_BATCH, SPECTRUM_DEPTH = 64, 110
KIND = 'postact'
BLOCK_DEPTH = 56  # whose blocks are timed one by one
COMPILED = (20, 110)  # depths whose compile times are compared
ROUNDS, COMPILE_ROUNDS, BLOCK_ROUNDS = 5, 3, 20
PAUSE = 0.5  # seconds
VMAP_CHUNK = 9  # masks in one call of the vmapped forward pass


class Lesions(NamedTuple):
    """A set of masks of a ResNet to be scored, in so many rounds, and what is aimed at."""

    what: str
    depth: int
    masks: Callable[[int], np.ndarray]  # of L
    rounds: int
    goal: float  # over the bound
    torch_goal: float | None  # PyTorch's loop over ours
    vmap: bool = False  # timed beside them


LESIONS = {
    'singles': Lesions('all single deletions', 56, masks.single, ROUNDS, 1.4, 1.4, vmap=True),
    'pairs': Lesions('all pairs', 56, functools.partial(masks.exactly, j=2), 3, 1.6, None),
    'exhaustive': Lesions('all sub-networks', 26, masks.all_masks, 3, 1.6, 3.5),
}


def run(report: Callable[[str], None] = print) -> dict[str, Any]:
    """Measures, reports line by line, and returns the numbers behind the lines."""
    return {
        'block_evaluation': _block_evaluations(report),
        'lesions': {name: score_masks(report, one) for name, one in LESIONS.items()},
        'spectrum': _spectrum(report),
        'compile': _compile(report),
    }


def network(depth: int, batch: int):
    """A stack of random weights and a batch of random images with labels."""
    model = presets.cifar_resnet(depth, KIND)
    images = jax.random.normal(jax.random.key(1), (batch, 32, 32, 3))
    variables = jax.jit(model.init)(jax.random.key(0), images[:2])
    return stack_lib.from_model(model, variables), images, jnp.arange(batch) % 10


def loss(logits_BK):
    """Summed log-likelihood of class 0, a scalar whose gradient is nowhere zero."""
    return -jax.nn.log_softmax(logits_BK)[:, 0].sum()


def score_masks(report, one: Lesions) -> dict[str, Any]:
    """One set of masks: in forward passes, against their bound, and over PyTorch's loop."""
    net, images, labels = network(one.depth, BATCH)
    L = net.num_blocks
    masks_ML = one.masks(L)
    bound = prefix_tree.block_evaluations(masks_ML) / L
    sizes = {'depth': one.depth, 'blocks': L, 'masks': len(masks_ML), 'batch': BATCH}
    seconds = _time_masks(one, net, images, labels, masks_ML)
    passes = timing.ratio([3 * s for s in seconds['ours']], seconds['pass'])
    over = passes.median / bound
    what = f'{one.what} of ResNet-{one.depth} ({len(masks_ML):,} masks, batch {BATCH})'
    report(
        f'{what}: {passes} forward passes, {over:.2f} of the bound of {bound:.1f} (goal: at most '
        f'{one.goal}); {len(masks_ML) / timing.spread(seconds["ours"]).median:.1f} masks/s'
    )
    found = {'what': what, 'sizes': sizes, 'passes': passes, 'bound': bound, 'over_bound': over}
    found['seconds'] = seconds
    for other, words in (('pytorch', 'PyTorch, loop that skips'), ('vmap', 'vmap over masks')):
        if other in seconds:
            found[f'{other}_over_ours'] = timing.ratio(seconds[other], seconds['ours'])
            aim = f' (goal: at least {one.torch_goal})'
            aim = aim if one.torch_goal and other == 'pytorch' else ''
            report(f'  {words}, over ours: {found[f"{other}_over_ours"]}{aim}')
    return found


def _time_masks(one: Lesions, net, images, labels, masks_ML) -> dict[str, list[float]]:
    """Seconds of three passes, of our scores and of the other ways, in turn."""
    forward, gates = jax.jit(stack_lib.apply), jnp.ones(net.num_blocks)
    contestants = {
        'pass': lambda: [forward(net, images, gates).block_until_ready() for _ in range(3)],
        'ours': lambda: lesions.score(net, images, labels, masks_ML),
    }
    torch_loop = _torch_loop(one.depth, masks_ML)
    if torch_loop is not None:
        contestants['pytorch'] = torch_loop
    if one.vmap:
        contestants['vmap'] = _vmapped(net, images, labels, masks_ML)
    contestants['pass']()  # compiles, as does the next line
    lesions.score(net, images, labels, masks_ML[[0, -1]])
    return timing.in_turn(contestants, one.rounds, PAUSE, warm_up=one.vmap)


def _block_evaluations(report) -> dict[str, timing.Spread]:
    """Milliseconds of one block evaluation, by stage, ours and PyTorch's."""
    net, images, _ = network(BLOCK_DEPTH, BATCH)
    h = stack_lib.stem(net, images)
    calls = {}
    for stage in net.stages:
        run = jax.jit(
            lambda s, h: stack_lib.block(s, jax.tree.map(lambda a: a[0], s.params), h, 1.0)
        )
        if stage.length > 1:
            calls[f'ours, {h.shape[1]}x{h.shape[2]}x{h.shape[3]}'] = (
                lambda run=run, stage=stage, h=h: run(stage, h).block_until_ready()
            )
        h = run(stage, h)
    calls |= _torch_blocks()
    seconds = timing.in_turn(calls, BLOCK_ROUNDS, 0.02)
    found = {name: timing.spread([1000 * s for s in values]) for name, values in seconds.items()}
    for name, milliseconds in found.items():
        report(f'one block evaluation, {name}: {milliseconds} ms')
    return found


def _spectrum(report) -> dict[str, Any]:
    net, images, _ = network(SPECTRUM_DEPTH, SPECTRUM_BATCH)
    L = net.num_blocks
    h_0 = jax.jit(stack_lib.stem)(net, images)

    def after_stem(h_0):
        headed = transforms.without_stem(net)
        return loss(stack_lib.apply(headed, h_0, jnp.ones(L)))

    pull = jax.jit(lambda h_0: jax.vjp(after_stem, h_0)[1])(h_0)
    transpose = jax.jit(lambda pull: pull(jnp.ones(()))[0])
    contestants = {
        'pass': lambda: [transpose(pull).block_until_ready() for _ in range(3)],
        'ours': lambda: path_gradients.by_length(net, images, loss).block_until_ready(),
    }
    seconds = timing.in_turn(contestants, ROUNDS, PAUSE)
    passes = timing.ratio([3 * s for s in seconds['ours']], seconds['pass'])
    bound = (L + 1) / 2
    over = passes.median / bound
    what = f'exact path spectrum of ResNet-{SPECTRUM_DEPTH} (batch {SPECTRUM_BATCH})'
    report(f'{what}: {passes} VJP passes, {over:.2f} of (L+1)/2 = {bound} (goal: at most 1.3)')
    sizes = {'depth': SPECTRUM_DEPTH, 'blocks': L, 'batch': SPECTRUM_BATCH}
    found = {'what': what, 'sizes': sizes, 'passes': passes, 'bound': bound, 'over_bound': over}
    return {**found, 'seconds': seconds}


def _compile(report) -> dict[str, Any]:
    """First call less second, seconds, by kernel and depth; batch 2."""
    found, (first, last) = {}, COMPILED
    for kernel, call in (('lesions', _score_singles), ('path spectrum', _spectrum_once)):
        _first_call(call, 8)  # what the first compilation of a process pays is no one's
        seconds = {depth: [] for depth in COMPILED}
        for _ in range(COMPILE_ROUNDS):
            for depth in COMPILED:
                seconds[depth].append(_first_call(call, depth))
        growth = timing.ratio(seconds[last], seconds[first])
        what = f'ResNet-{last} over ResNet-{first}'
        found[kernel] = {'what': what, 'seconds': seconds, 'growth': growth}
        report(f'compile time of {kernel}, {what}: {growth} (goal: at most 2)')
    return found


def _first_call(call, depth: int) -> float:
    """Seconds by which the first call takes longer than the second."""
    run = functools.partial(call, *network(depth, 2))
    jax.clear_caches()
    return timing.once(run) - timing.once(run)


def _score_singles(net, images, labels):
    return lesions.score(net, images, labels, masks.single(net.num_blocks), width=1)


def _spectrum_once(net, images, labels):
    return path_gradients.by_length(net, images, loss).block_until_ready()


def _vmapped(net, images, labels, masks_ML):
    """The same scores by vmap over chunks of masks, where nothing is skipped or shared."""

    @jax.jit
    def scores(masks_ML):
        logits_MBK = jax.vmap(stack_lib.apply, (None, None, 0))(net, images, masks_ML)
        return jax.vmap(metrics.mean_loss, (0, None))(logits_MBK, labels)

    def run():
        for start in range(0, len(masks_ML), VMAP_CHUNK):
            scores(masks_ML[start : start + VMAP_CHUNK]).block_until_ready()

    return run


def _torch_loop(depth: int, masks_ML: np.ndarray) -> Callable[[], object] | None:
    """The loop over masks in eager PyTorch, or None where it cannot be imported."""
    if timing.pytorch() is None:
        return None
    from experiments.benchmarks import pytorch_resnet

    return pytorch_resnet.lesions(depth, BATCH, masks_ML)


def _torch_blocks() -> dict[str, Callable[[], object]]:
    if timing.pytorch() is None:
        return {}
    from experiments.benchmarks import pytorch_resnet

    return pytorch_resnet.block_evaluations(BLOCK_DEPTH, BATCH)
