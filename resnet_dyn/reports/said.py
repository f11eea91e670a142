"""What measures say beside their tables: which blocks, in which order; depths with intervals.

Of several networks the mean over those that are finite. Names are those of the blocks.
"""

from collections.abc import Sequence

import numpy as np

from resnet_dyn.analysis import effective_depth, subjects

SPANS = 10  # numbers of layers that go together, at most, of which the best place is said


def influences(record, names: subjects.Names) -> list[str]:
    """Men et al.'s order of blocks, and Gromov et al.'s best n in a row."""
    order = np.argsort(mean_of_finite(record.block_influence_SL), kind='stable')
    best = best_spans(mean_of_finite(record.angular_distance_SNN))
    rows = [
        f'    {n}: {_span(names.blocks, first, n)} ({distance:.3f})'
        for n, first, distance in best[:SPANS]
    ]
    return [
        'blocks by influence, least first (ShortGPT, of each token, deletes from the left):',
        _list(names.blocks, order),
        'the n blocks in a row with the least angle between their input and output, / pi (Gromov '
        'et al., by --influence.over=last):',
        *rows,
    ]


def singles(record, names: subjects.Names) -> list[str]:
    """Blocks by the loss without them."""
    order = np.argsort(mean_of_finite(record.loss_SL), kind='stable')
    return ['blocks by the loss without them, least missed first:', _list(names.blocks, order)]


def greedy(record, names: subjects.Names) -> list[str]:
    """The order in which blocks, or layers, were deleted, network by network."""
    U = record.deleted_SL.shape[1]
    units = names.blocks if len(names.blocks) == U else [f'layer {u}' for u in range(U)]
    return [
        f'{network} loses, in this order: {_listed(units, order)}'
        for network, order in zip(names.networks, record.deleted_SL, strict=True)
        if (np.asarray(order) >= 0).all()
    ]


def layer_swaps(record, names: subjects.Names) -> list[str]:
    """How far the shares that are kept reach, without the first and the last layer too."""
    lines = []
    for what, kept_SX in (
        ('without one layer', record.deleted_kept_SU),
        ('with two neighbours swapped', record.swapped_kept_SW),
    ):
        kept_X = 100 * mean_of_finite(kept_SX)
        kept_X = kept_X[np.isfinite(kept_X)]
        inner_X = kept_X[1:-1]
        if inner_X.size:
            lines.append(
                f'first guesses kept {what}: {kept_X.min():.0f} to {kept_X.max():.0f} %, but for '
                f'the first and the last {inner_X.min():.0f} to {inner_X.max():.0f} %'
            )
    return lines


def interactions(record, names: subjects.Names) -> list[str]:
    """Blocks by their exact Shapley value of the loss."""
    value_L = mean_of_finite(record.shapley_loss_SL)
    order = np.argsort(value_L, kind='stable')
    worst = ', '.join(f'{names.blocks[l]} {value_L[l]:+.3f}' for l in order)
    return ['exact Shapley values of the loss in nats, what helps most first:', f'    {worst}']


def effective_depths(record, names: subjects.Names) -> list[str]:
    """The depths of each network with their intervals."""
    S, U = record.cosine_SU.shape
    lines = [
        f'effective depth, of {U} layers; 95 % over examples, by {int(record.resamples):,} '
        'resamples:'
    ]
    for s in range(S):
        parts = [
            f'{by} {_depth(record.depth_SQ[s, q])} {_interval(record, s, q)}'
            for q, by in enumerate(effective_depth.BY)
        ]
        lines.append(f'    {names.networks[s]}: {", ".join(parts)}')
    return lines


def best_spans(distance_NN) -> list[tuple[int, int, float]]:
    """(n, first block, distance) of the n blocks in a row whose ends are nearest, n = 1, 2, ..."""
    found = []
    for n in range(1, len(distance_NN)):
        across = np.diagonal(distance_NN, n)
        if np.isfinite(across).any():
            first = int(np.nanargmin(across))
            found.append((n, first, float(across[first])))
    return found


def mean_of_finite(values_S) -> np.ndarray:
    """The mean over networks of what is finite; NaN where nothing is."""
    there_S = np.isfinite(values_S)
    number = there_S.sum(0)
    total = np.where(there_S, values_S, 0).sum(0)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)


def _list(names: Sequence[str], order) -> str:
    return f'    {_listed(names, order)}'


def _listed(names: Sequence[str], order) -> str:
    return ', '.join(names[l] for l in order)


def _span(names: Sequence[str], first: int, n: int) -> str:
    return names[first] if n == 1 else f'{names[first]} to {names[first + n - 1]}'


def _interval(record, s: int, q: int) -> str:
    if np.isnan(record.low_SQ[s, q]):
        return f'[no interval: {100 * record.lacking_SQ[s, q]:.0f} % of the resamples have none]'
    return f'[{_depth(record.low_SQ[s, q])}, {_depth(record.high_SQ[s, q])}]'


def _depth(depth: float) -> str:
    return 'none' if np.isnan(depth) else f'{depth:.0f}'
