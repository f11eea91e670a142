"""The predicted depth of the virtual ensemble over training: gains, depth law, mean length.

b_l^2 = E|branch|^2 / E|skip|^2;  incoherent law in the middle, both laws on the right
"""

import numpy as np

from resnet_dyn.plots import scales, style


@style.picture()
def law(records_T, heading: str, note: str):
    """The picture of `analysis.depth_measures.DepthLaw` records, one a step, in order."""
    steps_T = [int(record.step) for record in records_T]
    gains_TSL = np.stack([record.gains_SL for record in records_T])
    law_TSR = np.stack([record.incoherent_SR for record in records_T])
    lengths = law_TSR.shape[-1]
    fig = style.figure(11.0, 3.7)
    gains, laws, means = fig.subplots(1, 3)
    style.lines_over_time(gains, steps_T, gains_TSL**2, log=True)
    gains.set(title='Power gain of every block', xlabel='block')
    gains.set_ylabel('b² = E|branch|² / E|skip|²')
    lengths_R = np.arange(1, lengths + 1)
    style.lines_over_time(laws, steps_T, law_TSR, lengths_R, bounds=style.SHARE)
    laws.set(title='Depth law, incoherent', ylabel='ε$_r$²')
    laws.set_xlabel('path length r (r − 1 branches used)')
    style.time_bar(fig, [gains, laws], steps_T)
    for name, colour, line in (
        ('incoherent', style.BLUE, '-'),
        ('coherent', style.VERMILION, '--'),
    ):
        mean_ST = np.stack([getattr(record, f'{name}_mean_S') for record in records_T]).T
        style.band(means, steps_T, mean_ST, colour, name, (1, lengths), linestyle=line)
    means.axhline(
        (lengths + 1) / 2, color=style.GREY, linestyle=':', linewidth=1, label='half depth'
    )
    means.set(title=f'Mean length, of at most {lengths}', ylabel='E[r]')
    scales.lengths(means, 1, lengths)
    scales.over_steps(means, steps_T)
    style.heading(fig, heading)
    style.footnote(fig, note)
    return fig
