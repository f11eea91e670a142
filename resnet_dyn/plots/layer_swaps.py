"""What is left of the first guess where a layer is deleted, or two neighbours change places."""

import numpy as np

from resnet_dyn.plots import scales, style


@style.picture('swapped_kept_SW', 'swapped_loss_SW')
def swaps(records_T, heading: str, note: str):
    """The picture of `analysis.layer_swaps.LayerSwaps` records, one a step, in order."""
    steps_T = [int(record.step) for record in records_T]
    fig = style.figure(9.5, 6.4)
    panels = fig.subplots(2, 2)
    rows = (
        ('deleted', 'U', 'layer deleted', 'Without one layer'),
        ('swapped', 'W', 'first of two layers swapped', 'Two neighbours swapped'),
    )
    for (kept, loss), (name, letter, label, title) in zip(panels.T, rows, strict=True):
        kept_TSX, loss_TSX = (
            np.stack([getattr(record, f'{name}_{what}_S{letter}') for record in records_T])
            for what in ('kept', 'loss')
        )
        if not kept_TSX.size:
            continue
        style.lines_over_time(kept, steps_T, 100 * kept_TSX, bounds=style.PERCENT)
        style.lines_over_time(loss, steps_T, loss_TSX, bounds=(0, np.inf))
        kept.set(title=title, ylabel='first guess kept (%)')
        loss.set(xlabel=label, ylabel='loss (nats)')
        scales.from_zero(kept)
        full = style.over_seeds(records_T[-1].full_loss_S)[0]
        loss.axhline(full, color=style.GREY, linewidth=0.8, linestyle=':', label='whole network')
    style.time_bar(fig, list(panels.flat), steps_T)
    style.heading(fig, heading)
    style.footnote(fig, f'{note} Kept: the likeliest class is that of the whole network.')
    return fig
