"""Claims and numbers of the virtual ensemble, a function a measure: its record in words.

Each gives (claim, number) for the rows of the README; `on` says on what the record was measured.
"""

from experiments import words
from resnet_dyn.analysis import summaries


def _random(record, on):
    half = summaries.half_deleted(record)
    yield (
        f'its error {on} with {half.deleted} of {half.blocks} blocks deleted at random, %',
        words.plus_minus(100 * half.error_S),
    )


def _pairs(record, on):
    errors_SP = 100 * summaries.pair_errors(record)
    ends = (errors_SP.min(1), errors_SP.mean(1), errors_SP.max(1))
    claim = f'its error {on} without two blocks, %: the pair missed least; mean; worst'
    yield claim, '; '.join(map(words.plus_minus, ends))


def _reorder(record, on):
    ends = sorted({record.swaps_N.min(), record.swaps_N.max()})
    orders = [f'{swaps} ({_orders((record.swaps_N == swaps).sum())})' for swaps in ends]
    yield (
        f'its error {on} after random swaps of blocks of equal shape, %: {"; ".join(orders)}',
        '; '.join(words.plus_minus(100 * summaries.swapped_error(record, swaps)) for swaps in ends),
    )


def _orders(number: int) -> str:
    return f'{number} order' if number == 1 else f'{number} orders'


def _paths(record, on):
    yield (
        f'share of the energy of its gradient {on} in paths of at most half of the blocks (of all '
        f'paths: {summaries.short_paths(record):.3g})',
        words.plus_minus(summaries.short_share(record)),
    )
    yield (
        'its gradient less the sum of the parts by path length, relative norm',
        words.plus_minus(record.closure_S),
    )


def _interactions(record, on):
    yield (
        f'share of the variance of its logits {on} over all '
        f'{2 ** (record.walsh_SR.shape[1] - 1):,} sub-networks that blocks make by themselves',
        words.plus_minus(summaries.alone_share(record)),
    )


NUMBERS = {
    'random': _random,
    'pairs': _pairs,
    'reorder': _reorder,
    'paths': _paths,
    'interactions': _interactions,
}
