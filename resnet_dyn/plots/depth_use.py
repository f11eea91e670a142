"""How far into a network its blocks matter: the measures of language models, and depths by them."""

import numpy as np

from resnet_dyn.plots import scales, style

DEPTH = 'depth (blocks passed)'
# NaN where a network lacks it: a change of sign, a block behind, a lens at any depth but the last
MAY_MISS = ('sign_change_S', 'later_change_SL', 'change_SLL', 'divergence_depth_S')


@style.picture(*MAY_MISS, 'overlap_depth_S')
def uses(records_T, heading: str, note: str):
    """The picture of `analysis.depth_use.DepthUse` records, one a step, in order."""
    steps_T = [int(record.step) for record in records_T]
    fig = style.figure(12.5, 7.0)
    (cosine, divergence, overlap), (later, change, depths) = fig.subplots(2, 3)
    lines = (
        (cosine, 'cosine_SL', 'Branch along its skip', 'cos(branch, skip)', (-1, 1)),
        (divergence, 'divergence_SN', 'Head applied early', 'KL(lens ‖ output), nats', (0, np.inf)),
        (overlap, 'overlap_SN', 'Its likeliest classes', 'share in common', style.SHARE),
        (later, 'later_change_SL', 'Without one block', 'change of later branches', (0, np.inf)),
    )
    for axes, name, title, label, bounds in lines:
        style.field_over_time(axes, records_T, name, bounds)
        axes.set(title=title, ylabel=label, xlabel='block' if name.endswith('L') else DEPTH)
    look = {'color': style.GREY, 'linewidth': 0.8, 'linestyle': ':'}
    cosine.axhline(0, **look)
    overlap.axhline(float(records_T[-1].chance), label='by chance', **look)
    later.set(xlabel='block left out')
    style.time_bar(fig, [cosine, divergence, overlap], steps_T)
    _changes(fig, change, records_T[-1])
    _depths(depths, steps_T, records_T)
    style.heading(fig, heading)
    style.footnote(
        fig,
        f'{note} Change: root mean square over examples, over that of the branches as they are. '
        'Grey: no block behind, or none that adds anything. Depths: the last change of the cosine '
        'from below 0; from where on the divergence is below half of its largest, and the overlap '
        'more than 0.3 of the way from chance to 1.',
    )
    return fig


def _changes(fig, axes, record):
    change_LL, _ = style.over_seeds(record.change_SLL)
    scales.square(fig, axes, change_LL, 'relative change', aspect=25)
    axes.set(title=f'Of each later branch, step {int(record.step):,}')
    axes.set(xlabel='branch that changes (block)', ylabel='block left out')


def _depths(axes, steps_T, records_T):
    L = records_T[-1].cosine_SL.shape[-1]
    curves = (
        ('sign of the cosine', 'sign_change_S', style.BLUE, '-'),
        ('divergence', 'divergence_depth_S', style.VERMILION, '--'),
        ('overlap', 'overlap_depth_S', style.GREEN, '-.'),
    )
    for label, name, colour, line in curves:
        values_ST = np.stack([getattr(record, name) for record in records_T]).T
        if np.isfinite(values_ST).any():
            style.band(axes, steps_T, values_ST, colour, label, (0, L), linestyle=line)
    axes.set(title=f'Depth that is used, of at most {L}', ylabel='blocks')
    scales.lengths(axes, 0, L)
    scales.over_steps(axes, steps_T)
