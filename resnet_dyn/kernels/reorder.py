"""Blocks in another order: swapped, permuted, repeated, left out, in parallel (Veit et al. fig 5b).

An order is a sequence of steps from h_0 to h_L. A step is a block, h <- merge(skip(h) + branch(h)),
or a tuple of blocks side by side, h <- merge(h + sum of their branches(h)), where a merge that has
parameters is the last block's. `range(L)` is the network itself. Blocks can stand wherever h has
the shape of their own input. Orders are walked as a tree of shared prefixes, like masks.
"""

import itertools
from collections.abc import Sequence

import numpy as np

from resnet_dyn.kernels import masks, prefix_tree, scores
from resnet_dyn.models import stack as stack_lib

Order = Sequence[int | tuple[int, ...]]


def score(
    stack, inputs, labels, orders: Sequence[Order], metrics=('loss', 'error'), **options
) -> dict[str, np.ndarray]:
    """Scores every order: a dict of arrays (M,), metrics and options as in `lesions.score`.

    Raises ValueError for a block that is not there, one that h does not fit at its place, an end
    that the head does not take, and blocks in parallel that have no identity as their skip or
    whose merges differ.
    """
    stack_lib.check_blocks(stack)
    orders = [_check_order(stack, number, order) for number, order in enumerate(orders)]
    if not orders:
        raise ValueError('no orders to score')
    before, after = stack_lib.shapes(stack, inputs)
    for number, order in enumerate(orders):
        _check_shapes(number, order, before, after)
    steps = sorted(set(itertools.chain.from_iterable(orders)))
    index = {step: i for i, step in enumerate(steps)}
    longest = max(len(order) for order in orders)
    codes_MT = np.full((len(orders), max(longest, 1)), len(steps))
    for row, order in zip(codes_MT, orders, strict=True):
        row[: len(order)] = [index[step] for step in order]
    tree = prefix_tree.build(codes_MT, [prefix_tree.Step(s) for s in (*steps, ())])

    def name(i):
        return f'order {i}, {[step[0] if len(step) == 1 else step for step in orders[i]]},'

    return scores.score_tree(stack, inputs, labels, tree, metrics, name, **options)


def swap(L: int, i: int, j: int) -> tuple[int, ...]:
    """The order of L blocks with blocks i and j in each other's place."""
    _check_blocks(L, i, j)
    order = list(range(L))
    order[i], order[j] = j, i
    return tuple(order)


def reverse(L: int, start: int, stop: int) -> tuple[int, ...]:
    """The order with blocks start..stop-1 back to front."""
    _check_span(L, start, stop)
    return (*range(start), *reversed(range(start, stop)), *range(stop, L))


def repeat(L: int, i: int, times: int = 2) -> tuple[int, ...]:
    """The order with block i `times` in a row; 0 times leaves it out."""
    _check_blocks(L, i)
    if times < 0:
        raise ValueError(f'times={times}: a block runs 0 times or more')
    return (*range(i), *[i] * times, *range(i + 1, L))


def parallel(L: int, start: int, stop: int) -> Order:
    """The order with blocks start..stop-1 side by side on one h."""
    _check_span(L, start, stop)
    return (*range(start), tuple(range(start, stop)), *range(stop, L))


def random_swaps(
    key, stack, swaps: int, num: int, groups: Sequence[Sequence[int]] | None = None
) -> list[tuple[int, ...]]:
    """`num` orders, each after `swaps` random swaps, one after the other, of two blocks of a group.

    `groups` are the blocks that may change places; None: those of each stage. Raises ValueError
    where no group has two.
    """
    if swaps < 0:
        raise ValueError(f'swaps={swaps}: must be 0 or more')
    generator, pairs = masks.host_generator(key), _pairs(stack, groups)
    orders = np.tile(np.arange(stack_lib.num_blocks(stack)), (num, 1))
    for order in orders:
        for i, j in pairs[generator.integers(len(pairs), size=swaps)]:
            order[[i, j]] = order[[j, i]]
    return [tuple(order.tolist()) for order in orders]


def alike(stack, inputs) -> list[list[int]]:
    """Groups of two blocks and more that may change places: h has one shape before and after each.

    Only the shape of inputs (B, ...) counts.
    """
    before, after = stack_lib.shapes(stack, inputs)
    groups: dict[tuple, list[int]] = {}
    for block, (h, out) in enumerate(zip(before, after, strict=True)):
        if (h.shape, h.dtype) == (out.shape, out.dtype):
            groups.setdefault((h.shape, h.dtype), []).append(block)
    return [group for group in groups.values() if len(group) > 1]


def permute(key, stack, num: int, groups=None) -> list[tuple[int, ...]]:
    """`num` orders in which each group (None: each stage) is shuffled uniformly."""
    generator = masks.host_generator(key)
    _pairs(stack, groups)
    orders = np.tile(np.arange(stack_lib.num_blocks(stack)), (num, 1))
    for order in orders:
        for group in _groups(stack, groups):
            order[list(group)] = generator.permutation(group)
    return [tuple(order.tolist()) for order in orders]


def kendall_tau(order: Order) -> float:
    """Kendall's rank correlation of an order with the network's own: 1 unchanged, -1 reversed.

    1 - 4 D / (L (L-1)), D the number of pairs of blocks whose order is turned. Raises ValueError
    where the order is no permutation.
    """
    if sorted(map(str, order)) != sorted(map(str, range(len(order)))):
        raise ValueError(f'{list(order)} is no permutation of 0..{len(order) - 1}')
    if len(order) < 2:
        return 1.0
    from scipy import stats  # half a second, which no start of a launcher should wait for

    return float(stats.kendalltau(range(len(order)), order).statistic)


def _groups(stack, groups) -> Sequence[Sequence[int]]:
    every_block = range(stack_lib.num_blocks(stack))
    return stack_lib.split(stack, every_block) if groups is None else groups


def _pairs(stack, groups) -> np.ndarray:
    groups = _groups(stack, groups)
    pairs = [pair for group in groups for pair in itertools.combinations(group, 2)]
    if not pairs:
        raise ValueError(
            'no two blocks can change places: every stage has one block. Name those that can by '
            'groups=[[0, 1, ...], ...]'
        )
    _check_blocks(stack_lib.num_blocks(stack), *itertools.chain.from_iterable(pairs))
    return np.array(pairs)


def _check_order(stack, number: int, order: Order) -> tuple[tuple[int, ...], ...]:
    """The order as a tuple of tuples of blocks."""
    steps = tuple(_step(number, step) for step in order)
    located = stack_lib.blocks(stack)
    blocks = len(located)
    for step in steps:
        if not step or not all(0 <= block < blocks for block in step):
            raise ValueError(f'order {number} has the step {step}: blocks are 0..{blocks - 1}')
        if len(set(step)) < len(step):
            raise ValueError(
                f'order {number} runs blocks {step} in parallel, and one of them stands there '
                'twice: name each once'
            )
        stages = [located[block][0] for block in step]
        if len(step) > 1 and any(s.skip is not None or not s.skippable for s in stages):
            raise ValueError(
                f'order {number} runs blocks {step} in parallel, and one of them has no identity '
                'as its skip'
            )
        if any(stage.merge != stages[0].merge for stage in stages):
            raise ValueError(
                f'order {number} runs blocks {step} in parallel, and their merges differ: the sum '
                'goes through one merge, so take blocks that have the same'
            )
    return steps


def _step(number: int, step) -> tuple[int, ...]:
    blocks = np.atleast_1d(step)
    if blocks.size and not np.issubdtype(blocks.dtype, np.integer):
        raise ValueError(f'order {number} has the step {step!r}: blocks are whole numbers')
    return tuple(blocks.ravel().tolist())


def _check_shapes(number: int, order, before, after) -> None:
    h = before[0]
    for step in order:
        for block in step:
            if before[block].shape != h.shape:
                raise ValueError(
                    f'order {number} gives block {block} an input of shape {h.shape}, and it takes '
                    f'{before[block].shape}: change places within a stage alone'
                )
        h = after[step[0]]
    if h.shape != after[-1].shape:
        raise ValueError(
            f'order {number} ends in shape {h.shape}, and the head takes {after[-1].shape}'
        )


def _check_blocks(L: int, *blocks: int) -> None:
    for block in blocks:
        if not 0 <= block < L:
            raise ValueError(f'no block {block} in a network of L={L}: blocks are 0..{L - 1}')


def _check_span(L: int, start: int, stop: int) -> None:
    if not 0 <= start < stop <= L:
        raise ValueError(f'blocks {start}..{stop - 1} of L={L}: need 0 <= start < stop <= L')
