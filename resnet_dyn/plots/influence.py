"""What each block does to signal and gradient, and how far the depths of a network are apart."""

import numpy as np

from resnet_dyn.plots import scales, style


@style.picture()
def influences(records_T, heading: str, note: str):
    """The picture of `analysis.block_influence.Influences` records, one a step, in order."""
    steps_T = [int(record.step) for record in records_T]
    fig = style.figure(11.5, 7.0)
    left, right = fig.subfigures(1, 2, width_ratios=(1.0, 1.05))
    panels = left.subplots(3, 1, sharex=True)
    lines = (
        ('branch_over_skip_SL', 'Size of the branch', '|branch| / |skip|'),
        ('block_influence_SL', 'Turn of the signal', '1 − cos(skip, output)'),
        ('gradient_cosine_SL', 'Along the gradient', 'cos(branch, ∂loss/∂h)'),
    )
    for axes, (name, title, label) in zip(panels, lines, strict=True):
        style.field_over_time(axes, records_T, name, (-1, 1) if axes is panels[2] else (0, np.inf))
        axes.set(title=title, ylabel=label)
    panels[2].axhline(0, color=style.GREY, linewidth=0.8, linestyle=':')
    panels[2].set_xlabel('block')
    style.time_bar(left, panels, steps_T)
    _distances(right, records_T[-1])
    style.heading(fig, heading)
    style.footnote(
        fig,
        f'{note} Every quantity is taken for each example and then averaged. Below 0 in the third '
        'panel a branch goes down the loss. Grey: depths of different shapes.',
    )
    return fig


def _distances(fig, record):
    """The angle between any two depths at the last step, in units of pi."""
    distance_NN, _ = style.over_seeds(record.angular_distance_SNN)
    axes = fig.subplots()
    scales.square(fig, axes, distance_NN, 'angle / π', aspect=28, shrink=0.78)
    axes.set(title=f'Angle between depths, step {int(record.step):,}')
    axes.set(xlabel='depth (blocks passed)', ylabel='depth (blocks passed)')
