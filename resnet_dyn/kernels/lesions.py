"""Lesions: what a network scores when its blocks are deleted by masks (Veit et al. 2016).

A mask (L,) gates every branch, h_{l+1} = merge(skip_l(h_l) + mask_l branch_l(h_l)); 1 keeps a
block, 0 deletes it, any other finite number scales it. The norms keep the statistics that the
stack was built with. Masks share their prefixes (`prefix_walk`), and what is deleted is not
computed. All functions below take the options of `score` that steer the walk.
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from resnet_dyn.kernels import masks as masks_lib
from resnet_dyn.kernels import prefix_tree, prefix_walk
from resnet_dyn.models import seed_axis, transforms
from resnet_dyn.models import stack as stack_lib

Metrics = Sequence[str] | Mapping[str, Callable]


class Curve(NamedTuple):
    """A metric over random masks, by the number of deleted blocks."""

    mean_J: np.ndarray
    error_J: np.ndarray  # standard error of that mean over the masks; NaN for one mask


class Greedy(NamedTuple):
    """Blocks in the order in which `greedy` deleted them, and the metric after each."""

    deleted_J: np.ndarray
    value_J: np.ndarray


def mean_loss(logits_BK, labels_B):
    """Mean cross-entropy in nats, a scalar."""
    losses = optax.softmax_cross_entropy_with_integer_labels(logits_BK, labels_B)
    return losses.mean()


def mean_error(logits_BK, labels_B):
    """Fraction of examples whose largest logit is not the label's."""
    return (logits_BK.argmax(-1) != labels_B).mean(dtype=logits_BK.dtype)


def _logits(logits, labels):
    return logits


METRICS = {'loss': mean_loss, 'error': mean_error, 'logits': _logits}


def score(
    stack: stack_lib.ResidualStack,
    inputs,
    labels,
    masks,
    metrics: Metrics = ('loss', 'error'),
    *,
    examples_at_once: int | None = None,
    **walk,
) -> dict[str, np.ndarray]:
    """Scores every mask of (M, L): a dict of arrays (M,), and 'logits' (M, B, K) if asked for.

    `metrics` are names of `METRICS` or a mapping of names to functions of (output, labels).
    `examples_at_once` cuts the inputs (B, ...): the metrics named are put together exactly, and
    functions of your own are refused. `walk` is passed to `prefix_walk.run`: `budget` in bytes
    (default: half of the free memory), `width` in masks a compiled call, `mesh` with the axes
    `mask` and `data`, `progress(done, total)` in block evaluations. Raises ValueError for masks of
    the wrong length or not finite, for a deleted block that has no skip, for what does not fit
    into the budget, and for logits or metrics that are NaN, naming the mask. Functions of your own
    are traced: they compute by jax.numpy. The labels may be None where the logits alone are asked.
    """
    masks_ML = masks_lib.check(masks, stack_lib.num_blocks(stack))
    if not len(masks_ML):
        raise ValueError('no masks to score: masks have shape (0, L)')
    check_deletable(stack, masks_ML)
    tree = prefix_tree.from_masks(masks_ML)

    def name(i):
        return f'mask {i}, {masks_ML[i].tolist()},'

    return score_tree(stack, inputs, labels, tree, metrics, name, examples_at_once, **walk)


def score_seeds(
    stacks: Sequence[stack_lib.ResidualStack],
    inputs,
    labels,
    masks,
    metrics: Metrics = ('loss', 'error'),
    how: str = 'map',
    **options,
) -> dict[str, np.ndarray]:
    """`score` of S networks of one model: arrays (S, M), and 'logits' (S, M, B, K).

    `how` is 'map', one network after the other through the same compiled programs, or 'vmap', all
    at once. vmap over the weights of convolutions is slow on the CPU; small dense nets gain by it.
    """
    if not stacks:
        raise ValueError('no stacks to score: give one a network')
    if how == 'map':
        results = [score(stack, inputs, labels, masks, metrics, **options) for stack in stacks]
        return {name: np.stack([result[name] for result in results]) for name in results[0]}
    if how != 'vmap':
        raise ValueError(f'how={how!r} is neither map nor vmap')
    functions = {name: _OverSeeds(function) for name, function in functions_of(metrics)}
    together = seed_axis.over_seeds(stacks)
    if options.pop('examples_at_once', None) is not None:
        raise ValueError("examples_at_once goes with how='map' alone")
    results = score(together, inputs, labels, masks, functions, **options)
    return {name: np.swapaxes(values, 0, 1) for name, values in results.items()}


def score_tree(
    stack, inputs, labels, tree, metrics, name, examples_at_once=None, progress=None, **walk
) -> dict[str, np.ndarray]:
    """`score` of any tree of sub-networks; `name(i)` is what an error calls the i-th."""
    functions = functions_of(metrics)
    inputs = jnp.asarray(inputs)
    if labels is None and any(function is not _logits for _, function in functions):
        raise ValueError("labels are None: that goes with metrics=('logits',) alone")
    labels = jnp.zeros(len(inputs), int) if labels is None else jnp.asarray(labels)
    if len(inputs) != len(labels):
        raise ValueError(f'{len(inputs)} inputs and {len(labels)} labels: give one label an input')
    spans = _spans(stack, len(inputs), examples_at_once, functions)
    parts = []
    for number, (start, stop) in enumerate(spans):
        finish = prefix_walk.Finish(_Scores(functions), labels[start:stop])
        found = []
        steer = {**walk, 'progress': prefix_walk.share(progress, number, len(spans))}
        for index, (values, sound) in prefix_walk.run(
            stack, inputs[start:stop], tree, finish, **steer
        ):
            if not sound.all():
                bad = index[np.flatnonzero(~sound)[0]]
                raise ValueError(
                    f'logits of {name(bad)} or a metric of them are NaN: check the inputs, delete '
                    'fewer blocks or take smaller factors'
                )
            found.append(values)
        parts.append({key: np.concatenate([f[key] for f in found]) for key, _ in functions})
    weights = [stop - start for start, stop in spans]
    return {key: _join(key, [part[key] for part in parts], weights) for key, _ in functions}


def greedy(
    stack, inputs, labels, num: int | None = None, metric: str = 'loss', **options
) -> Greedy:
    """Deletes the block whose loss costs least, again and again, `num` times (default: all).

    Every candidate is tried at every turn (Gromov et al. 2024, ShortGPT: Men et al. 2024, by the
    metric itself): L + (L-1) + ... sub-networks. Ties go to the block closest to the input.
    """
    blocks = stack_lib.num_blocks(stack)
    num = blocks if num is None else num
    if not 0 <= num <= blocks:
        raise ValueError(f'num={num} of L={blocks} blocks to delete: must be in [0, {blocks}]')
    if metric == 'logits':
        raise ValueError("metric='logits' is no single number: take loss or error")
    kept, deleted, values = list(range(blocks)), [], []
    for turn in range(num):
        masks_ML = np.zeros((len(kept), blocks), np.float32)
        masks_ML[:, kept] = 1
        masks_ML[np.arange(len(kept)), kept] = 0
        steer = _whole_progress(options, blocks, num, turn)
        found = score(stack, inputs, labels, masks_ML, (metric,), **steer)[metric]
        best = int(found.argmin())
        values.append(found[best])
        deleted.append(kept.pop(best))
    return Greedy(np.array(deleted, int), np.array(values))


def random_curve(
    stack,
    inputs,
    labels,
    key,
    deleted: Sequence[int],
    num: int,
    metrics: Metrics = ('loss', 'error'),
    **options,
) -> dict[str, Curve]:
    """Metrics against the number of deleted blocks, `num` random masks for each (Veit fig 5a).

    Masks are drawn independently; all are scored in one walk, so that they share their prefixes.
    """
    blocks, deleted = stack_lib.num_blocks(stack), list(deleted)
    if num < 1 or not deleted:
        raise ValueError(
            f'num={num} masks for each of deleted={deleted}: take at least 1 mask and 1 number'
        )
    keys = jax.random.split(key, len(deleted))
    masks_ML = np.concatenate(
        [masks_lib.random(k, blocks, j, num) for k, j in zip(keys, deleted, strict=True)]
    )
    scores = score(stack, inputs, labels, masks_ML, metrics, **options)
    return {
        name: _curve(values.reshape(len(deleted), num, *values.shape[1:]))
        for name, values in scores.items()
    }


@functools.partial(jax.jit, static_argnames='loss')
def first_order(stack, inputs, labels, loss: Callable = mean_loss):
    """The first-order estimate of loss(without block l) - loss(full): -d loss / d g_l, (L,).

    One backward pass for all blocks (Molchanov et al. 2017, for gates); `loss` is a function of
    (output, labels). The true value is `score(..., masks.single(L))['loss']` less the full loss.
    """

    def of_gates(gates_L):
        return loss(stack_lib.apply(stack, inputs, gates_L), labels)

    dtype = jnp.result_type(inputs, jnp.float32)
    return -jax.grad(of_gates)(jnp.ones(stack_lib.num_blocks(stack), dtype))


@jax.jit
def mean_ablated(stack, inputs) -> stack_lib.ResidualStack:
    """The stack whose gate 0 leaves a branch's mean in its place instead of nothing.

        merge(skip(h) + m + g (branch(h) - m)),  m = mean over these inputs of branch(h)

    with h as it is in the full network; m keeps the shape of one example. Gate 1 is the network
    as it was (up to rounding). Ablate first where seeds are to be put together (`over_seeds`).
    Raises ValueError for blocks without a skip.
    """
    h = stack_lib.stem(stack, inputs)
    stages = []
    for stage in stack.stages:

        def body(params, h, gate, stage=stage):
            branch, skip = stack_lib.addends(stage, params, h, gate)
            return stack_lib.join(stage, branch, skip), branch.mean(0, keepdims=True)

        h, means = stack_lib.scan_stage(stage, body, h, jnp.ones(stage.length, h.dtype))
        stages.append(transforms.shift_branch(stage, means))
    return transforms.with_stages(stack, stages)


def check_deletable(stack: stack_lib.ResidualStack, masks_ML: np.ndarray) -> None:
    """Raises ValueError where a mask deletes (gate 0) a block that has no skip."""
    skippable = np.concatenate([[stage.skippable] * stage.length for stage in stack.stages])
    bad = np.argwhere((masks_ML == 0) & ~skippable)
    if bad.size:
        raise ValueError(
            f'mask {bad[0][0]} deletes block {bad[0][1]}, which has no skip: nothing would be left '
            'of the signal; networks of block kind plain cannot be lesioned'
        )


def functions_of(metrics: Metrics) -> tuple[tuple[str, Callable], ...]:
    """(name, function of (output, labels)) for names of `METRICS` or a mapping."""
    if isinstance(metrics, Mapping):
        return tuple(metrics.items())
    metrics = (metrics,) if isinstance(metrics, str) else metrics
    unknown = [name for name in metrics if name not in METRICS]
    if unknown:
        raise ValueError(f'no metric {unknown[0]!r}: take {", ".join(METRICS)}, or give functions')
    return tuple((name, METRICS[name]) for name in metrics)


class _Scores(NamedTuple):
    """(output, labels) -> (metrics by name, whether all of them and the output are numbers)."""

    functions: tuple[tuple[str, Callable], ...]

    def __call__(self, output, labels):
        values = {name: function(output, labels) for name, function in self.functions}
        number = [~jnp.isnan(a).any() for a in jax.tree.leaves((output, values))]
        return jax.tree.map(jnp.asarray, values), jnp.stack(number).all()


class _OverSeeds(NamedTuple):
    """A metric of the outputs of S networks, led by an axis S."""

    function: Callable

    def __call__(self, outputs, labels):
        return jax.vmap(lambda output: self.function(output, labels))(outputs)


def _curve(values_JN: np.ndarray) -> Curve:
    num = values_JN.shape[1]
    mean_J = values_JN.mean(1)
    spread_J = values_JN.std(1, ddof=1) if num > 1 else np.full_like(mean_J, np.nan)
    return Curve(mean_J, spread_J / math.sqrt(num))


def _spans(stack, examples: int, at_once: int | None, functions) -> list[tuple[int, int]]:
    """(start, stop) of the examples of each walk."""
    if at_once is None or at_once >= examples:
        return [(0, examples)]
    if at_once < 1:
        raise ValueError(f'examples_at_once={at_once}: must be at least 1')
    if stack.min_batch > 1:
        raise ValueError(
            "statistics='batch' are those of all the inputs as one batch, which cannot be cut: "
            'leave examples_at_once out, or take the running statistics'
        )
    own = [name for name, function in functions if METRICS.get(name) is not function]
    if own:
        raise ValueError(
            f'metric {own[0]!r} cannot be put together from parts of the examples: leave '
            'examples_at_once out, or ask for the logits and compute it from them'
        )
    starts = range(0, examples, at_once)
    return [(start, min(start + at_once, examples)) for start in starts]


def _join(name: str, parts: list[np.ndarray], weights: list[int]) -> np.ndarray:
    if len(parts) == 1:
        return parts[0]
    if name == 'logits':
        return np.concatenate(parts, axis=1)
    return np.average(parts, axis=0, weights=weights).astype(parts[0].dtype)


def _whole_progress(options, blocks: int, num: int, turn: int) -> dict:
    """The options of one turn of `greedy`, its progress told as a part of all turns."""
    told = options.get('progress')
    if told is None:
        return options
    prices = [(n - 1) * (n + 2) // 2 for n in range(blocks, blocks - num, -1)]  # singles of n

    def progress(done, total):
        here = round(prices[turn] * done / total) if total else 0
        told(sum(prices[:turn]) + here, sum(prices))

    return {**options, 'progress': progress}
