"""What it costs to swap blocks: error against Kendall's tau, and against the number of swaps.

Means stand where there are orders, and nowhere else.
"""

import numpy as np

from resnet_dyn.plots import scales, style

BINS = 8  # of tau, for the running mean


@style.picture()
def reorder(records_T, heading: str, note: str):
    """The picture of `analysis.orders.Reorders` records, one a step, in order.

    Dots are orders at the last step, each the mean over networks.
    """
    steps_T = [int(record.step) for record in records_T]
    last = records_T[-1]
    fig = style.figure(9.5, 4.2)
    by_tau, by_swaps = fig.subplots(1, 2, sharey=True)
    _by_tau(by_tau, last)
    _by_swaps(by_swaps, steps_T, records_T)
    full = 100 * style.over_seeds(last.full_error_S)[0]
    for axes in (by_tau, by_swaps):
        axes.axhline(full, color=style.GREY, linewidth=0.8, linestyle=':', label='as trained')
    scales.errors(by_tau, by_swaps)
    style.time_bar(fig, [by_swaps], steps_T)
    style.heading(fig, heading)
    style.footnote(
        fig,
        f'{note} Drawn: {len(once(last))} of the {_count(last.possible_orders)} orders that exist, '
        'the same for all networks, without the one as trained; an order counts once for each '
        'number of swaps that led to it.',
    )
    return fig


def _by_tau(axes, record):
    swaps_J, mappable = np.unique(record.swaps_N), style.time_colours([1])[1]
    for n, swaps in enumerate(swaps_J):
        shade = mappable.cmap(0.15 + 0.75 * n / max(1, len(swaps_J) - 1))
        these_N = record.swaps_N == swaps
        error_N = 100 * style.over_seeds(record.error_SN[:, these_N])[0]
        label = f'{swaps} swaps' if swaps > 1 else '1 swap'
        look = {'color': shade, 'markersize': 4, 'mew': 0, 'label': label}
        axes.plot(record.kendall_N[these_N], error_N, 'o', **look)
    once_N = once(record)
    centres, mean_SX = binned_means(record.kendall_N[once_N], 100 * record.error_SN[:, once_N])
    look = {'linewidth': 1.5, 'marker': '_', 'markersize': 8}
    style.band(axes, centres, mean_SX, style.VERMILION, 'mean', style.PERCENT, **look)
    axes.set(title=f'By how much is out of order, step {int(record.step):,}')
    axes.set(xlabel="Kendall's τ (1: as trained)", ylabel='test error (%)')
    lowest = min(record.kendall_N, default=0)
    margin = 0.04 * (1 - lowest) + 0.005
    axes.set_xlim(1 + margin, lowest - margin)


def _by_swaps(axes, steps_T, records_T):
    colours_T, _ = style.time_colours(steps_T)
    for t, record in enumerate(records_T):
        swaps_J, mean_SJ = means_by(record.swaps_N, 100 * record.error_SN)
        look = {'marker': 'o', 'markersize': 3}
        if t < len(records_T) - 1:
            look |= {'color': colours_T[t], 'linewidth': 1.2}
            axes.plot(np.log2(swaps_J), style.over_seeds(mean_SJ)[0], **look)
            continue
        look |= {'linewidth': 2.0, 'bounds': style.PERCENT}
        name = f'step {steps_T[-1]:,}'
        style.band(axes, np.log2(swaps_J), mean_SJ, colours_T[t], name, **look)
    drawn = np.unique(np.concatenate([record.swaps_N for record in records_T]))
    axes.set_xticks(np.log2(drawn), [f'{swaps}' for swaps in drawn])
    axes.set(title='By the number of swaps', xlabel='random swaps')


def once(record) -> np.ndarray:
    """The rows of orders that differ, each once."""
    return np.sort(np.unique(record.orders_N, return_index=True)[1])


def means_by(x_N, values_SN) -> tuple[np.ndarray, np.ndarray]:
    """The different x (X,), and the means of the values at each (S, X)."""
    x_X = np.unique(x_N)
    means = [style.over_seeds(values_SN[:, x_N == x].T)[0] for x in x_X]
    return x_X, np.reshape(means, (len(x_X), len(values_SN))).T


def binned_means(x_N, values_SN) -> tuple[np.ndarray, np.ndarray]:
    """Means of x (X,) and of the values (S, X) in bins of x that hold about as many orders each.

    Equal x are never parted; few different x have a bin each.
    """
    if len(np.unique(x_N)) <= BINS:
        return means_by(x_N, values_SN)
    edges = np.unique(np.quantile(x_N, np.linspace(0, 1, BINS + 1)))
    which_N = np.clip(np.searchsorted(edges, x_N, side='right') - 1, 0, len(edges) - 2)
    _, mean_SX = means_by(which_N, values_SN)
    return means_by(which_N, x_N[None])[1][0], mean_SX


def _count(number) -> str:
    return f'{float(number):,.0f}' if number < 1e6 else f'{float(number):.2g}'
