"""The predicted depth of the virtual ensemble over training: gains, depth law, mean length.

`law` from measured gains, b_l^2 = E|branch|^2 / E|skip|^2, with the incoherent law in the middle
and both laws on the right; `of_gammas` from gammas alone, with sigma recomputed and frozen.
"""

import numpy as np

from resnet_dyn.plots import scales, style


@style.picture()
def law(records_T, heading: str, note: str):
    """The picture of `analysis.depth_measures.DepthLaw` records, one a step, in order."""

    def gains(axes, steps_T):
        gains_TSL = np.stack([record.gains_SL for record in records_T])
        style.lines_over_time(axes, steps_T, gains_TSL**2, log=True)
        axes.set(title='Power gain of every block', xlabel='block')
        axes.set_ylabel('b² = E|branch|² / E|skip|²')

    names = {'incoherent': 'incoherent', 'coherent': 'coherent'}
    said = {'title': 'Depth law, incoherent', 'ylabel': 'ε$_r$²'}
    return _picture(records_T, gains, names, said, heading, note)


@style.picture()
def of_gammas(records_T, heading: str, note: str):
    """The picture of `analysis.gamma_depth.GammaDepth` records, one a step, in order."""

    def gammas(axes, steps_T):
        gamma_TSL = np.stack([record.gamma_SL for record in records_T])
        style.lines_over_time(axes, steps_T, gamma_TSL, bounds=(0, np.inf))
        axes.set(title='Last gamma of every block', xlabel='block')
        axes.set_ylabel('root mean square over channels')
        scales.from_zero(axes)

    names = {'recomputed': 'sigma recomputed', 'frozen': 'sigma frozen'}
    said = {'title': 'Depth law, sigma recomputed', 'ylabel': 'P(r)'}
    return _picture(records_T, gammas, names, said, heading, note)


def _picture(records_T, first, names: dict[str, str], said: dict[str, str], heading, note):
    """What a law is of, drawn by `first`; the law that `names` has first; both mean lengths."""
    steps_T = [int(record.step) for record in records_T]
    law_TSR = np.stack([getattr(record, f'{next(iter(names))}_SR') for record in records_T])
    lengths = law_TSR.shape[-1]
    fig = style.figure(11.0, 3.7)
    causes, laws, means = fig.subplots(1, 3)
    first(causes, steps_T)
    lengths_R = np.arange(1, lengths + 1)
    style.lines_over_time(laws, steps_T, law_TSR, lengths_R, bounds=style.SHARE)
    laws.set(**said)
    laws.set_xlabel('path length r (r − 1 branches used)')
    style.time_bar(fig, [causes, laws], steps_T)
    _means(means, records_T, names, lengths)
    style.heading(fig, heading)
    style.footnote(fig, note)
    return fig


def _means(axes, records_T, names: dict[str, str], lengths: int) -> None:
    """E[r] of two laws of the records over the steps, by the names of their fields."""
    steps_T = [int(record.step) for record in records_T]
    looks = ((style.BLUE, '-'), (style.VERMILION, '--'))
    for (field, label), (colour, line) in zip(names.items(), looks, strict=True):
        mean_ST = np.stack([getattr(record, f'{field}_mean_S') for record in records_T]).T
        style.band(axes, steps_T, mean_ST, colour, label, (1, lengths), linestyle=line)
    axes.axhline(
        (lengths + 1) / 2, color=style.GREY, linestyle=':', linewidth=1, label='half depth'
    )
    axes.set(title=f'Mean length, of at most {lengths}', ylabel='E[r]')
    scales.lengths(axes, 1, lengths)
    scales.over_steps(axes, steps_T)
