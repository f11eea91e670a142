"""How blocks act together: the variance over all sub-networks by order, and Shapley values."""

import numpy as np
from matplotlib import ticker

from resnet_dyn.plots import style

ORDER = 'order (blocks that act together)'


def spectra(records_T, heading: str, note: str):
    """The picture of `analysis.interaction_spectra.Interactions` records, one a step, in order."""
    steps_T = np.array([int(record.step) for record in records_T])
    walsh_TSR = np.stack([record.walsh_SR for record in records_T])
    moebius_TSR = np.stack([record.moebius_SR for record in records_T])
    shares_TSR = walsh_TSR[..., 1:] / walsh_TSR[..., 1:].sum(-1, keepdims=True)
    fig = style.figure(13.0, 3.7)
    walsh, moebius, shapley = fig.subplots(1, 3)
    style.lines_over_time(walsh, steps_T, shares_TSR, first=1)
    walsh.set(title='Variance over all sub-networks, by order', xlabel=ORDER)
    walsh.set(ylabel='share of the variance, Walsh', yscale='log')
    style.lines_over_time(moebius, steps_T, moebius_TSR)
    moebius.set(title='Against the empty net', xlabel=ORDER, yscale='log')
    moebius.set(ylabel='sum of squares, Möbius')
    style.time_bar(fig, [walsh, moebius], steps_T)
    _shapley(shapley, records_T[-1])
    style.heading(fig, heading)
    style.footnote(
        fig,
        f'{note} Logits of all 2^{walsh_TSR.shape[-1] - 1} sub-networks; squares summed over '
        'classes and averaged over examples. Walsh: around the mean over all sub-networks; '
        'Möbius: what a set of blocks adds to all its subsets, from the net without blocks up.',
    )
    return fig


def _shapley(axes, record):
    """Bars by block of what each contributes to the gain over the empty net, at the last step."""
    share_SL = -100 * record.shapley_error_SL
    mean_L, std_L = style.over_seeds(share_SL)
    axes.bar(
        np.arange(len(mean_L)),
        mean_L,
        yerr=std_L if len(share_SL) > 1 else None,
        color=style.BLUE,
        width=0.7,
        error_kw={'elinewidth': 1, 'capsize': 2, 'ecolor': style.INK},
    )
    axes.axhline(0, color=style.INK, linewidth=0.7)
    axes.set(title=f'Shapley values, step {int(record.step):,}', xlabel='block')
    axes.set(ylabel='accuracy owed to the block (points)')
    axes.xaxis.set_major_locator(ticker.MaxNLocator(nbins=10, integer=True))
