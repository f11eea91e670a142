"""The gammas of a run over training: by block, one panel a norm, and their mean over time."""

import numpy as np

from resnet_dyn.plots import scales, style

LABEL = 'mean |γ| over channels'
STEM = ('stem_mean_S', 'stem_spread_S')  # NaN for a network whose stem has no norm


@style.picture(*STEM)
def profiles(records_T, heading: str, note: str):
    """The picture of `analysis.gamma_profiles.Gammas` records, one a step, in order."""
    norms_N = [str(name) for name in records_T[-1].norms_N]
    mean_TSLN = np.stack([record.mean_SLN for record in records_T])
    stem_TS = np.stack([record.stem_mean_S for record in records_T])
    steps_T = [int(record.step) for record in records_T]
    fig = style.figure(3.1 * len(norms_N) + 4.2, 3.7)
    *panels, over_time = fig.subplots(1, len(norms_N) + 1)
    for n, (axes, name) in enumerate(zip(panels, norms_N, strict=True)):
        style.lines_over_time(axes, steps_T, mean_TSLN[..., n])
        axes.set(title=f'{name} of every block', xlabel='block', ylabel=LABEL)
    style.time_bar(fig, panels, steps_T)
    marks = (style.BLUE, style.GREEN, style.VERMILION)
    for n, name in enumerate(norms_N):
        of_blocks_LTS = np.moveaxis(mean_TSLN[..., n], -1, 0)
        rest_TS, _ = style.over_seeds(of_blocks_LTS)  # a block may lack the norm
        style.band(over_time, steps_T, rest_TS.T, marks[n % 3], f'blocks, {name}')
    if np.isfinite(stem_TS).any():
        style.band(over_time, steps_T, stem_TS.T, style.ORANGE, 'stem')
    over_time.set(title='Over training', ylabel=LABEL)
    scales.over_steps(over_time, steps_T)
    style.heading(fig, heading)
    style.footnote(fig, note)
    return fig
