"""What it costs to swap blocks: error against Kendall's tau, and against the number of swaps."""

import numpy as np
from matplotlib import ticker

from resnet_dyn.plots import style

BINS = 8  # of tau, for the running mean


def reorder(records_T, heading: str, note: str):
    """The picture of `analysis.orders.Reorders` records, one a step, in order.

    Dots are orders at the last step, each the mean over networks.
    """
    steps_T = np.array([int(record.step) for record in records_T])
    colours_T, mappable = style.time_colours(steps_T)
    last = records_T[-1]
    fig = style.figure(9.5, 3.8)
    by_tau, by_swaps = fig.subplots(1, 2, sharey=True)
    for n, swaps in enumerate(last.swaps_J):
        shade = mappable.cmap(0.15 + 0.75 * n / max(1, len(last.swaps_J) - 1))
        error_N = 100 * last.error_SJN[:, n].mean(0)
        label = f'{swaps} swaps' if swaps > 1 else '1 swap'
        by_tau.plot(last.kendall_JN[n], error_N, 'o', color=shade, markersize=4, mew=0, label=label)
    centres, mean_SX = binned_means(last.kendall_JN, last.error_SJN)
    style.band(by_tau, centres, 100 * mean_SX, style.VERMILION, 'mean', linewidth=2.0)
    full = 100 * last.full_error_S.mean()
    for axes in (by_tau, by_swaps):
        axes.axhline(full, color=style.GREY, linewidth=0.8, linestyle=':', label='as trained')
    by_tau.set(title=f'By how much is out of order, step {steps_T[-1]:,}')
    by_tau.set(xlabel="Kendall's τ (1: as trained)", ylabel='test error (%)')
    margin = 0.04 * (1 - last.kendall_JN.min()) + 0.005
    by_tau.set_xlim(1 + margin, last.kendall_JN.min() - margin)
    by_tau.set_ylim(0, None)
    by_tau.legend(loc='lower right', ncols=2)
    for colour, record in zip(colours_T[:-1], records_T[:-1], strict=True):
        mean_J = 100 * record.error_SJN.mean((0, 2))
        by_swaps.plot(record.swaps_J, mean_J, color=colour, linewidth=1.2, marker='o', markersize=3)
    mean_SJ = 100 * last.error_SJN.mean(2)
    style.band(by_swaps, last.swaps_J, mean_SJ, colours_T[-1], marker='o', markersize=3)
    by_swaps.set(title='By the number of swaps', xlabel='random swaps', xscale='log')
    by_swaps.xaxis.set_major_locator(ticker.FixedLocator(last.swaps_J))
    by_swaps.xaxis.set_major_formatter(ticker.ScalarFormatter())
    by_swaps.xaxis.set_minor_locator(ticker.NullLocator())
    style.time_bar(fig, [by_swaps], steps_T)
    style.heading(fig, heading)
    style.footnote(fig, note)
    return fig


def binned_means(x_JN, values_SJN) -> tuple[np.ndarray, np.ndarray]:
    """Means of x (X,) and of the values (S, X) in bins of x that hold about as many orders each.

    Equal x are never parted.
    """
    x = x_JN.ravel()
    values = values_SJN.reshape(len(values_SJN), -1)
    edges = np.unique(np.quantile(x, np.linspace(0, 1, BINS + 1)))
    which = np.clip(np.searchsorted(edges, x, side='right') - 1, 0, max(0, len(edges) - 2))
    bins = np.unique(which)
    centres = np.array([x[which == b].mean() for b in bins])
    return centres, np.stack([values[:, which == b].mean(1) for b in bins], axis=1)
