"""What sublayers of a sentence encoder are worth for retrieval: Shapley, single lesions, sizes."""

import numpy as np

from resnet_dyn.plots import legends, scales, style

COLOURS = {'attention': style.BLUE, 'mlp': style.ORANGE, 'layer': style.GREEN}
NAMES = {'attention': 'attention', 'mlp': 'MLP', 'layer': 'whole layer'}


@style.styled
def draw(record, found):
    """A record of `experiments.sentence_similarity`, and what it reads in it: four panels."""
    fig = style.figure(11.5, 7.4)
    (shapley, single), (sizes, ranks) = fig.subplots(2, 2)
    _bars(shapley, record.names_L, -100 * found.shapley_L, 100 * found.shapley_half_L)
    shapley.set(title='Shapley values over all sub-networks', ylabel='error saved (points)')
    _bars(single, record.names_L, 100 * found.single_L, 100 * found.single_half_L)
    single.set(title='Deleted alone', ylabel='error added (points)')
    L = len(record.names_L)
    kept_M = np.array([index.bit_count() for index in range(2**L)])
    error_M = 100 * record.wrong_MN.mean(1)
    _by_size(sizes, kept_M, error_M)
    k = np.arange(L + 1)
    sizes.plot(k, 100 * found.best_error_K, 's-', color=style.VERMILION, markersize=4, label=BEST)
    sizes.axhline(100 * found.whole_other, color=style.INK, linestyle=':', label=WHOLE)
    sizes.set(title='Error of retrieval by size', ylabel='error (%)', xlabel='blocks kept')
    _by_size(ranks, kept_M, record.rank_correlation_M)
    ranks.set(title='Similarities by size', ylabel='rank correlation with the whole network')
    ranks.set_xlabel('blocks kept')
    legends.above(fig)
    style.heading(fig, f'What {L} blocks of a sentence encoder are worth, by all {2**L:,} sets')
    style.footnote(fig, _note(record))
    return fig


BEST = 'best of its size, chosen on half of the pairs, measured on the others'
WHOLE = 'whole network on the others'


def _bars(axes, names_L, values_L, halves_L) -> None:
    kinds = [str(name).rpartition('.')[2] for name in names_L]
    for kind in dict.fromkeys(kinds):
        at = [l for l, one in enumerate(kinds) if one == kind]
        axes.bar(
            at,
            values_L[at],
            yerr=halves_L[at],
            color=COLOURS.get(kind, style.GREY),
            width=0.7,
            error_kw={'elinewidth': 1, 'capsize': 2, 'ecolor': style.INK},
            label=NAMES.get(kind, kind),
        )
    axes.axhline(0, color=style.INK, linewidth=0.7)
    places = [str(name).partition('.')[0] for name in names_L]
    axes.set_xticks(range(len(places)), places)
    axes.set_xlabel('layer')


def _by_size(axes, kept_M, values_M) -> None:
    sizes = np.unique(kept_M)
    quantiles = np.array([np.nanquantile(values_M[kept_M == k], (0, 0.5, 1)) for k in sizes])
    low, middle, high = quantiles.T
    axes.fill_between(sizes, low, high, color=style.BLUE, alpha=style.BAND_ALPHA, label='all sets')
    axes.plot(sizes, middle, 'o-', color=style.BLUE, markersize=3, label='median')
    scales.whole_numbers(axes.xaxis)


def _note(record) -> str:
    N, topics = len(record.topics_N), len(set(record.topics_N))
    return (
        f'{N} paragraphs of {topics} topics of the documentation of Python {record.python}: the '
        f'first {int(record.length)} tokens of both halves; the second half is looked for among '
        'those of all other topics, by the cosine of mean embeddings. Bars: 95 % intervals over '
        'pairs (Student), the candidates taken as they are. Bands: from the least to the largest '
        'of all sets of that size.'
    )
