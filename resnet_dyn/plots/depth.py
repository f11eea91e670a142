"""The predicted depth of the virtual ensemble over training: gains, depth law, mean length.

b_l^2 = E|branch|^2 / E|skip|^2;  incoherent law in the middle, both laws on the right
"""

import numpy as np

from resnet_dyn.plots import style


def law(records_T, heading: str, note: str):
    """The picture of `analysis.depth_measures.DepthLaw` records, one a step, in order."""
    steps_T = np.array([int(record.step) for record in records_T])
    gains_TSL = np.stack([record.gains_SL for record in records_T])
    law_TSR = np.stack([record.incoherent_SR for record in records_T])
    lengths = law_TSR.shape[-1]
    fig = style.figure(11.0, 3.4)
    gains, laws, means = fig.subplots(1, 3)
    style.lines_over_time(gains, steps_T, gains_TSL**2)
    gains.set(title='Power gain of every block', xlabel='block', yscale='log')
    gains.set_ylabel('b² = E|branch|² / E|skip|²')
    style.plain_log_ticks(gains.yaxis)
    style.lines_over_time(laws, steps_T, law_TSR, first=1)
    laws.set(title='Depth law, incoherent', ylabel='ε$_r$²')
    laws.set_xlabel('path length r (r − 1 branches used)')
    laws.set_xlim(1, _visible(law_TSR))
    style.time_bar(fig, [gains, laws], steps_T)
    half, highest = (lengths + 1) / 2, 0.0
    for name, colour, line in (
        ('incoherent', style.BLUE, '-'),
        ('coherent', style.VERMILION, '--'),
    ):
        mean_ST = np.stack([getattr(record, f'{name}_mean_S') for record in records_T]).T
        style.band(means, steps_T, mean_ST, colour, name, linestyle=line)
        highest = max(highest, mean_ST.max())
    means.axhline(half, color=style.GREY, linestyle=':', linewidth=1, label='half depth')
    means.set(title=f'Mean length, of at most {lengths}', xlabel='training step', ylabel='E[r]')
    means.set_ylim(1, 1.35 * max(half, highest))  # room for the legend above all lines
    style.over_steps(means, steps_T)
    means.legend(loc='upper right')
    style.heading(fig, heading)
    style.footnote(fig, note)
    return fig


def _visible(law_TSR) -> int:
    """The longest path that is worth an axis: beyond it, no law has a thousandth of its peak."""
    seen_R = (law_TSR > 1e-3 * law_TSR.max()).any((0, 1))
    return max(2, int(np.flatnonzero(seen_R).max()) + 1)
