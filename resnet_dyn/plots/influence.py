"""What each block does to signal and gradient, and how far the depths of a network are apart."""

import numpy as np
from matplotlib import ticker

from resnet_dyn.plots import style


def influences(records_T, heading: str, note: str):
    """The picture of `analysis.block_influence.Influences` records, one a step, in order."""
    steps_T = np.array([int(record.step) for record in records_T])
    fig = style.figure(11.5, 6.6)
    left, right = fig.subfigures(1, 2, width_ratios=(1.0, 1.05))
    panels = left.subplots(3, 1, sharex=True)
    lines = (
        ('branch_over_skip_SL', 'Size of the branch', '|branch| / |skip|'),
        ('block_influence_SL', 'Turn of the signal', '1 − cos(skip, output)'),
        ('gradient_cosine_SL', 'Along the gradient', 'cos(branch, ∂loss/∂h)'),
    )
    for axes, (name, title, label) in zip(panels, lines, strict=True):
        values_TSL = np.stack([getattr(record, name) for record in records_T])
        style.lines_over_time(axes, steps_T, values_TSL)
        axes.set(title=title, ylabel=label)
    for axes in panels[:2]:
        axes.set_ylim(0, None)
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
    distance_NN = record.angular_distance_SNN.mean(0)
    axes = fig.subplots()
    axes.set_facecolor('#E4E4E4')
    image = axes.imshow(distance_NN, cmap='viridis_r', vmin=0, vmax=np.nanmax(distance_NN))
    image.axes.invert_yaxis()
    bar = fig.colorbar(image, ax=axes, pad=0.02, aspect=28, shrink=0.78, label='angle / π')
    bar.outline.set_visible(False)
    axes.spines[:].set_visible(False)
    axes.set(title=f'Angle between depths, step {int(record.step):,}')
    axes.set(xlabel='depth (blocks passed)', ylabel='depth (blocks passed)')
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(ticker.MaxNLocator(nbins=10, integer=True))
