"""How blocks act together: the variance over all sub-networks by order, and Shapley values."""

import numpy as np

from resnet_dyn.plots import scales, style

ORDER = 'order (blocks that act together)'


@style.picture()
def spectra(records_T, heading: str, note: str):
    """The picture of `analysis.interaction_spectra.Interactions` records, one a step, in order."""
    steps_T = [int(record.step) for record in records_T]
    walsh_TSR = np.stack([record.walsh_SR for record in records_T])
    moebius_TSR = np.stack([record.moebius_SR for record in records_T])
    fig = style.figure(13.0, 4.0)
    walsh, moebius, shapley = fig.subplots(1, 3)
    orders_R = np.arange(1, walsh_TSR.shape[-1])
    shares_TSR = style.shares(walsh_TSR[..., 1:])
    style.lines_over_time(walsh, steps_T, shares_TSR, orders_R, log=True, bounds=style.SHARE)
    walsh.set(title='Variance over all sub-networks, by order', xlabel=ORDER)
    walsh.set_ylabel('share of the variance, Walsh')
    style.lines_over_time(moebius, steps_T, moebius_TSR, log=True)
    moebius.set(title='Against the empty net', xlabel=ORDER)
    moebius.set_ylabel('sum of squares, Möbius')
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
    scales.whole_numbers(axes.xaxis)
