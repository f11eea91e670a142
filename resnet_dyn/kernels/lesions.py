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

from resnet_dyn.kernels import masks as masks_lib
from resnet_dyn.kernels import metrics as metrics_lib
from resnet_dyn.kernels import prefix_tree, scores
from resnet_dyn.models import seed_axis, transforms
from resnet_dyn.models import stack as stack_lib

Metrics = metrics_lib.Metrics


class Curve(NamedTuple):
    """A metric over random masks, by the number of deleted blocks."""

    mean_J: np.ndarray
    error_J: np.ndarray  # standard error of that mean over the masks; NaN for one mask
    # by mask: for S networks that share their masks, average over networks before the masks
    values_JM: np.ndarray


class Greedy(NamedTuple):
    """Blocks in the order in which `greedy` deleted them, and the metric after each."""

    deleted_J: np.ndarray
    value_J: np.ndarray


def score(
    stack: stack_lib.ResidualStack,
    inputs,
    labels,
    masks,
    metrics: Metrics = ('loss', 'error'),
    *,
    examples_at_once: int | None = None,
    seeds: int | None = None,
    **walk,
) -> dict[str, np.ndarray]:
    """Scores every mask of (M, L): a dict of arrays (M,), and 'logits' (M, B, K) if asked for.

    Args:
      stack: one network.
      inputs: (B, ...).
      labels: (B,); None where the logits alone are asked.
      masks: (M, L) or one mask (L,).
      metrics: names of `metrics.METRICS`, or a mapping of names to functions of (output, labels),
        which are traced: they compute by jax.numpy. One that gives a number for each example, an
        array of shape (B,), is averaged over the examples; any other comes back as it is, (M, ...).
      examples_at_once: cuts the inputs into parts, whose means are put together exactly. A metric
        that is no mean over examples is refused then, and a network that couples them.
      seeds: S, where the stack is one of S networks (`score_seeds`).
      walk: passed to `prefix_walk.run`: `budget` in bytes (default: half of the memory that is
        available), `width` in masks a compiled call, `mesh` with the axes `mask` and `data`,
        `progress(done, total)` in block evaluations.

    Raises:
      ValueError: for masks of the wrong length or not finite, a deleted block that has no skip,
        labels that are missing.
      BudgetError: for what does not fit into the budget.
      NotFiniteError: for logits or metrics that are NaN, naming the mask.
    """
    masks_ML = masks_lib.check(masks, stack_lib.check_blocks(stack))
    if not len(masks_ML):
        raise ValueError('no masks to score: masks have shape (0, L)')
    check_deletable(stack, masks_ML)
    tree = prefix_tree.from_masks(masks_ML)

    def name(i):
        return f'mask {i}, {masks_ML[i].tolist()},'

    return scores.score_tree(
        stack, inputs, labels, tree, metrics, name, examples_at_once, seeds=seeds, **walk
    )


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
    if seed_axis.check(how) == 'map':
        results = [score(stack, inputs, labels, masks, metrics, **options) for stack in stacks]
        return {name: np.stack([result[name] for result in results]) for name in results[0]}
    together = seed_axis.over_seeds(stacks)
    results = score(together, inputs, labels, masks, metrics, seeds=len(stacks), **options)
    return {name: np.swapaxes(values, 0, 1) for name, values in results.items()}


def greedy(
    stack,
    inputs,
    labels,
    num: int | None = None,
    metric: str | Mapping[str, Callable] = 'loss',
    groups: Sequence[Sequence[int]] | None = None,
    **options,
) -> Greedy:
    """Deletes the block whose loss costs least, again and again, `num` times (default: all).

    Every candidate is tried at every turn (Gromov et al. 2024, ShortGPT: Men et al. 2024, by the
    metric itself): L + (L-1) + ... sub-networks. `metric` is a name, or a mapping of one name to a
    function as in `score`; the smallest value is the best. Ties go to the block closest to the
    input. `groups` are what goes at once instead of single blocks (`stack.groups`, whole layers):
    what is deleted is their indices then. Raises UserError for groups that are empty, overlap, or
    name blocks that are not there; blocks of no group are kept.
    """
    L = stack_lib.check_blocks(stack)
    groups = [[block] for block in range(L)] if groups is None else groups
    groups = stack_lib.checked_groups(groups, L)
    blocks = len(groups)
    num = blocks if num is None else num
    if not 0 <= num <= blocks:
        raise ValueError(f'num={num} of L={blocks} blocks to delete: must be in [0, {blocks}]')
    name, metric = metrics_lib.single(metric)
    stack, inputs = stack_lib.on_device(stack), stack_lib.arrays(inputs)
    kept, deleted, values = list(range(blocks)), [], []
    for turn in range(num):
        masks_MG = np.zeros((len(kept), blocks), np.float32)
        masks_MG[:, kept] = 1
        masks_MG[np.arange(len(kept)), kept] = 0
        masks_ML = masks_lib.of_groups(masks_MG, groups, L)
        steer = _whole_progress(options, blocks, num, turn)
        found = score(stack, inputs, labels, masks_ML, metric, **steer)[name]
        best = int(metrics_lib.check_single(name, found).argmin())
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
    found = score(stack, inputs, labels, masks_ML, metrics, **options)
    return {
        name: _curve(values.reshape(len(deleted), num, *values.shape[1:]))
        for name, values in found.items()
    }


def first_order(stack, inputs, labels, loss: Callable = metrics_lib.mean_loss):
    """The first-order estimate of loss(without block l) - loss(full): -d loss / d g_l, (L,).

    One backward pass for all blocks (Molchanov et al. 2017, for gates); `loss` is a function of
    (output, labels) to a scalar, or to (B,), whose mean is taken. The true value is
    `score(..., masks.single(L))['loss']` less the full loss. ValueError as for `score`, where the
    loss is that of classes.
    """
    if loss in metrics_lib.OF_CLASSES + metrics_lib.MEANS:
        labels, inputs = metrics_lib.labels_of(labels), stack_lib.arrays(inputs)
        metrics_lib.check_labels(labels, stack_lib.output_shape(stack, inputs))
    return _first_order(stack, inputs, labels, loss)


@functools.partial(jax.jit, static_argnames='loss')
def _first_order(stack, inputs, labels, loss: Callable):
    def of_gates(gates_L):
        return metrics_lib.Reduced(loss)(stack_lib.apply(stack, inputs, gates_L), labels)

    dtype = jnp.result_type(*jax.tree.leaves(inputs), jnp.float32)
    return -jax.grad(of_gates)(jnp.ones(stack_lib.num_blocks(stack), dtype))


@jax.jit
def mean_ablated(stack, inputs, mask=None) -> stack_lib.ResidualStack:
    """The stack whose gate 0 leaves a branch's mean in its place instead of nothing.

        merge(skip(h) + m + g (branch(h) - m)),  m = mean over these inputs of branch(h)

    with h as it is in the full network; m keeps the shape of one example. `mask` (B, T) says which
    tokens of h (B, T, ...) count: m is, at each place, over the examples whose token there does,
    and 0 where none does; None: all. Gate 1 is the network as it was (up to rounding). Ablate first
    where seeds are to be put together (`over_seeds`). Raises ValueError for blocks without a skip,
    and for a mask that is not of the tokens of a branch.
    """
    (known, h), stages = stack_lib.enter(stack, inputs), []

    def body(kind, params, h, gate):
        branch, skip = stack_lib.addends(kind, params, h, gate)
        return stack_lib.join(kind, params, branch, skip), _mean_of_counted(branch, mask)

    for stage, seen in zip(stack.stages, known.stages, strict=True):
        h, means = stack_lib.scan_stage(seen, body, h, jnp.ones(stage.length, h.dtype))
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


def _mean_of_counted(branch, mask):
    """The mean over the examples, at each token over those that count there. (1, ...)"""
    if mask is None:
        return branch.mean(0, keepdims=True)
    if branch.ndim < 3 or branch.shape[:2] != mask.shape:
        raise ValueError(
            f'a mask of shape {mask.shape} and a branch that gives {branch.shape}: give a mask '
            '(B, T) of the tokens of h (B, T, D)'
        )
    where = jnp.asarray(mask, bool).reshape(*mask.shape, *[1] * (branch.ndim - 2))
    there = where.any(0, keepdims=True)
    mean = branch.mean(0, keepdims=True, where=where | ~there)
    return jnp.where(there, mean, 0)


def _curve(values_JM: np.ndarray) -> Curve:
    num = values_JM.shape[1]
    mean_J = values_JM.mean(1)
    spread_J = values_JM.std(1, ddof=1) if num > 1 else np.full_like(mean_J, np.nan)
    return Curve(mean_J, spread_J / math.sqrt(num), values_JM)


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
