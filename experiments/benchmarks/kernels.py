"""What do the kernels cost, in passes through the network and beside PyTorch?

Command: python -m launch.benchmark --what=kernels
What: postact CIFAR ResNets (He et al. 2015; Veit et al.'s nets), 32x32x3, float32, random weights,
running statistics. Batch 128: single deletions and pairs of ResNet-56 (L = 27) and all 2^12 masks
of ResNet-26 (L = 12), in forward passes. Batch 64: the exact path spectrum of ResNet-110 (L = 54)
in VJP passes, one product from the loss to h_0, residuals at hand, no parameter gradients. Beside
them, timed in turn in the same process, vmap over the masks and the plain PyTorch loop over masks
that skips deleted blocks (eager, channels_last, a thread a core), where PyTorch can be imported.
Expect: singles within 1.4 (L+1)/2 forward passes, pairs within 1.6 of their distinct prefixes, all
masks within 1.6 block evaluations each, the spectrum within 1.3 (L+1)/2 VJP passes; compile time of
ResNet-110 at most twice that of ResNet-20; PyTorch's loop 1.4 times slower for singles and 3.5
times for all masks. These hold for 2 cores; accelerators have no number yet.
Wall time: about 7 minutes on 2 cores.
"""

import functools
import statistics
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks import timing
from resnet_dyn.kernels import lesions, masks, path_gradients, prefix_tree
from resnet_dyn.models import presets, transforms
from resnet_dyn.models import stack as stack_lib

BATCH = 128
SPECTRUM_BATCH = 64
KIND = 'postact'
ROUNDS = 5
PAUSE = 0.5  # seconds
VMAP_CHUNK = 9  # masks in one call of the vmapped forward pass


def run(report: Callable[[str], None] = print) -> dict:
    """Measures, reports line by line, and returns the numbers behind the lines."""
    numbers = {'block_evaluation': _block_evaluations(report)}
    numbers['singles'] = _lesions(
        report,
        'singles of ResNet-56',
        56,
        masks.single(27),
        ROUNDS,
        1.4,
        1.4,
        bound=14.0,
        vmap=True,
    )
    numbers['pairs'] = _lesions(
        report, 'pairs of ResNet-56', 56, masks.exactly(27, 2), 1, 1.6, None
    )
    numbers['exhaustive'] = _lesions(
        report, 'all masks, L = 12', 26, masks.all_masks(12), 1, 1.6, 3.5
    )
    numbers['spectrum'] = _spectrum(report)
    numbers['compile'] = _compile(report)
    return numbers


def network(depth: int, batch: int = BATCH):
    """A stack of random weights and a batch of random images with labels."""
    model = presets.cifar_resnet(depth, KIND)
    images = jax.random.normal(jax.random.key(1), (batch, 32, 32, 3))
    variables = jax.jit(model.init)(jax.random.key(0), images[:2])
    return stack_lib.from_model(model, variables), images, jnp.arange(batch) % 10


def loss(logits_BK):
    """Summed log-likelihood of class 0, a scalar whose gradient is nowhere zero."""
    return -jax.nn.log_softmax(logits_BK)[:, 0].sum()


def _lesions(report, name, depth, masks_ML, rounds, goal, torch_goal, bound=None, vmap=False):
    """One set of masks: in forward passes, against their bound, and over PyTorch's loop."""
    net, images, labels = network(depth)
    L = net.num_blocks
    evaluations = prefix_tree.block_evaluations(masks_ML)
    bound = evaluations / L if bound is None else bound
    forward = jax.jit(stack_lib.apply)
    gates = jnp.ones(L)
    contestants = {
        'pass': lambda: [forward(net, images, gates).block_until_ready() for _ in range(3)],
        'ours': lambda: lesions.score(net, images, labels, masks_ML),
    }
    torch_loop = _torch_loop(depth, masks_ML)
    if torch_loop is not None:
        contestants['pytorch'] = torch_loop
    if vmap:
        contestants['vmap'] = _vmapped(net, images, labels, masks_ML)
    contestants['pass']()  # compiles, as does the next line
    lesions.score(net, images, labels, masks_ML[[0, -1]])
    seconds = timing.in_turn(contestants, rounds, PAUSE, warm_up=rounds > 1)
    passes = timing.ratio([3 * s for s in seconds['ours']], seconds['pass'])
    over = passes[0] / bound
    report(
        f'{name}: {passes[0]:.1f} forward passes ({passes[1]:.1f} to {passes[2]:.1f}), '
        f'{over:.2f} of the bound of {bound:.1f} (goal: at most {goal}); '
        f'{len(masks_ML) / statistics.median(seconds["ours"]):.1f} masks/s'
    )
    found = {'passes': passes, 'bound': bound, 'over_bound': over, 'seconds': seconds}
    for other, what in (('pytorch', 'PyTorch, loop that skips'), ('vmap', 'vmap over masks')):
        if other in seconds:
            found[f'{other}_over_ours'] = timing.ratio(seconds[other], seconds['ours'])
            middle, low, high = found[f'{other}_over_ours']
            aim = f'; goal: at least {torch_goal}' if torch_goal and other == 'pytorch' else ''
            report(f'  {what}, over ours: {middle:.2f} ({low:.2f} to {high:.2f}{aim})')
    return found


def _block_evaluations(report) -> dict:
    """Milliseconds of one block evaluation, by stage, ours and PyTorch's."""
    net, images, _ = network(56)
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
    seconds = timing.in_turn(calls, 20, 0.02)
    found = {name: 1000 * statistics.median(values) for name, values in seconds.items()}
    for name, milliseconds in found.items():
        report(f'one block evaluation, {name}: {milliseconds:.2f} ms')
    return found


def _spectrum(report) -> dict:
    net, images, _ = network(110, SPECTRUM_BATCH)
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
    report(
        f'exact path spectrum of ResNet-110: {passes[0]:.1f} VJP passes ({passes[1]:.1f} to '
        f'{passes[2]:.1f}), {passes[0] / bound:.2f} of (L+1)/2 = {bound} (goal: at most 1.3)'
    )
    return {
        'passes': passes,
        'bound': bound,
        'over_bound': passes[0] / bound,
        'seconds': seconds,
    }


def _compile(report) -> dict:
    """First call less second, seconds, by kernel and depth; batch 2."""
    found = {}
    for kernel, call in (('lesions', _score_singles), ('spectrum', _spectrum_once)):
        seconds = {}
        for depth in (8, 20, 110):  # what the first compilation of a process pays is no one's
            run = functools.partial(call, *network(depth, 2))
            seconds[depth] = timing.once(run) - timing.once(run)
        growth = seconds[110] / seconds[20]
        found[kernel] = {'seconds': seconds, 'growth': growth}
        report(
            f'compile time of {kernel}: {seconds[20]:.1f} s for ResNet-20, {seconds[110]:.1f} s '
            f'for ResNet-110: {growth:.2f} (goal: at most 2)'
        )
    return found


def _score_singles(net, images, labels):
    return lesions.score(net, images, labels, masks.single(net.num_blocks), width=1)


def _spectrum_once(net, images, labels):
    return path_gradients.by_length(net, images, loss).block_until_ready()


def _vmapped(net, images, labels, masks_ML):
    """The same scores by vmap over chunks of masks, where nothing is skipped or shared."""

    @jax.jit
    def scores(masks_ML):
        logits_MBK = jax.vmap(stack_lib.apply, (None, None, 0))(net, images, masks_ML)
        return jax.vmap(lesions.mean_loss, (0, None))(logits_MBK, labels)

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

    return pytorch_resnet.block_evaluations(56, BATCH)
