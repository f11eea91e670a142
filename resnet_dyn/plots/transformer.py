"""A transformer over its training, with and without LayerNorm scaling: depth by four measures.

Lines are means over networks with one standard deviation, steps on an axis that is linear below 1.
"""

from resnet_dyn.plots import legends, scales, style

LOOKS = {'pre_ln': ('pre-LN', style.BLUE), 'ln_scaling': ('LayerNorm scaling', style.VERMILION)}


@style.styled
def draw(record):
    """A `Transformer` record of `experiments.transformer`: eight panels."""
    L = record.gains_NTSL.shape[-1]
    over_time = (
        ('loss_NST', 'Test loss', 'nats a character'),
        ('predicted_NST', f'Predicted depth, of at most {L + 1}', 'E[r] of power gains'),
        ('length_NST', f'Paths of the gradient, of at most {L}', 'mean k by |G$_k$|²'),
        ('lens_NST', f'Depth in use, of at most {L}', 'blocks until the readout is done'),
        ('deleted_NST', 'One block deleted', 'loss added, 2nd half over 1st'),
    )
    by_block = (
        ('gains_NTSL', 'Power gain at the end', 'b² = E|branch|² / E|skip|²'),
        ('influence_NTSL', 'Block influence at the end', '1 − cos(skip, output)'),
        ('added_NTSL', 'One block deleted, at the end', 'loss added, nats'),
    )
    fig = style.figure(11.5, 5.6)
    panels = iter(fig.subplots(2, 4).flat)
    for field, title, label in over_time:
        axes = next(panels)
        for name, values_ST in zip(record.runs_N, getattr(record, field), strict=True):
            text, colour = LOOKS[str(name)]
            style.band(axes, record.steps_T, values_ST, colour, text, marker='o', markersize=3)
        axes.set_xscale('symlog', linthresh=1)
        axes.set(title=title, ylabel=label, xlabel='training step')
    for field, title, label in by_block:
        axes = next(panels)
        for name, values_TSL in zip(record.runs_N, getattr(record, field), strict=True):
            text, colour = LOOKS[str(name)]
            style.band(axes, range(L), values_TSL[-1], colour, text, marker='o', markersize=3)
        if field == 'added_NTSL':  # which may be below 0
            axes.set_yscale('symlog', linthresh=0.01)
        else:
            scales.logarithmic(axes.yaxis, getattr(record, field)[:, -1])
        axes.set(title=title, ylabel=label, xlabel='block (even: attention)')
        scales.whole_numbers(axes.xaxis)
    legends.above(fig)
    fast = ' A rough look.' if record.fast else ''
    style.heading(fig, 'A transformer over its training, with and without LayerNorm scaling')
    style.footnote(
        fig,
        f'{record.setting}. Mean of {record.loss_NST.shape[1]} networks ± 1 standard deviation, '
        f'{int(record.examples):,} test sequences ({int(record.fewer):,} for paths).{fast}',
    )
    return fig
