"""The three effective depths of language models: curves over layers, and depths over steps."""

import numpy as np

from resnet_dyn.plots import scales, style

MAY_MISS = ('divergence_SV', 'overlap_SV', 'depth_SQ', 'low_SQ', 'high_SQ')


@style.picture(*MAY_MISS)
def depths(records_T, heading: str, note: str):
    """The picture of `analysis.effective_depth.EffectiveDepth` records, one a step, in order."""
    steps_T = [int(record.step) for record in records_T]
    fig = style.figure(12.5, 3.8)
    cosine, divergence, overlap, depth = fig.subplots(1, 4)
    lines = (
        (cosine, 'cosine_SU', 'Layers along the stream', 'cos(layer, h)', (-1, 1), 'layer'),
        (divergence, 'divergence_SV', 'Head applied early', 'KL, nats', (0, np.inf), ''),
        (overlap, 'overlap_SV', 'Its likeliest classes', 'share in common', style.SHARE, ''),
    )
    for axes, name, title, label, bounds, place in lines:
        style.field_over_time(axes, records_T, name, bounds)
        axes.set(title=title, ylabel=label, xlabel=place or 'layers passed')
    cosine.axhline(0, color=style.GREY, linewidth=0.8, linestyle=':')
    style.time_bar(fig, [overlap], steps_T)
    _over_steps(depth, steps_T, records_T)
    style.heading(fig, heading)
    style.footnote(
        fig,
        f'{note} Depths: the last layer, from 0, of a cosine below 0 before one that is not; '
        'layers passed from which on the divergence is below a share of its largest, and the '
        'overlap above one. Bars: 95 % over resamples of the examples, of one network; of several: '
        'mean ± standard deviation.',
    )
    return fig


def _over_steps(axes, steps_T, records_T):
    U = records_T[-1].cosine_SU.shape[-1]
    looks = (('cosine', style.BLUE), ('divergence', style.VERMILION), ('overlap', style.GREEN))
    for q, (label, colour) in enumerate(looks):
        depth_ST = np.stack([record.depth_SQ[:, q] for record in records_T]).T
        if not np.isfinite(depth_ST).any():
            continue
        style.band(axes, steps_T, depth_ST, colour, label)
        if len(depth_ST) == 1:
            low_T, high_T = (
                np.stack([getattr(record, name)[0, q] for record in records_T])
                for name in ('low_SQ', 'high_SQ')
            )
            axes.vlines(steps_T, low_T, high_T, color=colour, linewidth=1.2)
    axes.set(title=f'Effective depth, of {U}', ylabel='layers')
    scales.lengths(axes, 0, U)
    scales.over_steps(axes, steps_T)
