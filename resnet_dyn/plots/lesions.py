"""What deleting one block costs, over training: by block, and beside the error of the full net."""

import numpy as np

from resnet_dyn.plots import style


def singles(records_T, heading: str, note: str):
    """The picture of `analysis.lesion_curves.SingleLesions` records, one a step, in order."""
    steps_T = np.array([int(record.step) for record in records_T])
    full_TS = np.stack([record.full_error_S for record in records_T])
    error_TSL = np.stack([record.error_SL for record in records_T])
    fig = style.figure(9.5, 3.6)
    cost, errors = fig.subplots(1, 2, width_ratios=(1.25, 1.0))
    style.lines_over_time(cost, steps_T, 100 * (error_TSL - full_TS[..., None]))
    cost.axhline(0, color=style.GREY, linewidth=0.8, linestyle=':')
    cost.set(title='Error added by deleting one block', xlabel='deleted block')
    cost.set_ylabel('test error minus that of the full net (points)')
    style.time_bar(fig, [cost], steps_T)
    curves = (
        ('the most important block deleted', error_TSL.max(-1), style.VERMILION, '--'),
        ('one block deleted, mean over blocks', error_TSL.mean(-1), style.ORANGE, '-'),
        ('full net', full_TS, style.BLUE, '-'),
    )
    for label, error_TS, colour, line in curves:
        style.band(errors, steps_T, 100 * error_TS.T, colour, label, linestyle=line)
    errors.set(title='Over training', xlabel='training step', ylabel='test error (%)')
    errors.set_ylim(0, None)
    style.count_steps(errors.xaxis)
    errors.legend()
    style.heading(fig, heading)
    style.footnote(fig, note)
    return fig
