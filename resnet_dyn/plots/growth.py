"""Theorem 3's condition and drive by block, Theorem 4's brackets over training."""

import numpy as np

from resnet_dyn.plots import scales, style

# NaN where nothing has a slope, or the gradient is 0
MAY_MISS = ('condition_SL', 'drive_SL', 'first_condition_S', 'bracket_S', 'scale_bracket_S')
_LOOKS = ((style.BLUE, '-'), (style.VERMILION, '--'), (style.GREEN, '-.'))
_LINE = {'color': style.GREY, 'linewidth': 0.8, 'linestyle': ':'}


@style.picture(*MAY_MISS, 'cosine_S')
def theorems(records_T, heading: str, note: str):
    """The picture of `analysis.growth.Growth` records, one a step, in order."""
    steps_T = [int(record.step) for record in records_T]
    fig = style.figure(12.5, 7.0)
    (condition, drive, slope), (hypotheses, brackets, growing) = fig.subplots(2, 3)
    lines = (
        (condition, 'condition_SL', 'Theorem 3: its condition', '|Σ slope| / Σ |slope|'),
        (drive, 'drive_SL', 'Theorem 3: what drives the scale', '(|g$_p$|² + g$_p$·g$_m$) / |g|²'),
        (slope, 'slope_SL', 'Slope by the branch’s scale', '∂loss/∂gate, mean'),
    )
    for axes, name, title, label in lines:
        values_TSL = np.stack([getattr(record, name) for record in records_T])
        bounds = style.SHARE if axes is condition else style.UNBOUNDED
        style.lines_over_time(axes, steps_T, values_TSL, bounds=bounds)
        axes.axhline(0, **_LINE)
        axes.set(title=title, ylabel=label, xlabel='block')
    style.time_bar(fig, [condition, drive, slope], steps_T)
    over_time = (
        (
            hypotheses,
            'Hypotheses (0: it holds)',
            (
                ('Theorem 3, blocks', [style.over_seeds(r.condition_SL.T)[0] for r in records_T]),
                ('Theorem 3, first layer', [r.first_condition_S for r in records_T]),
                ('Theorem 4, |cos(w, g)|', [np.abs(r.cosine_S) for r in records_T]),
            ),
        ),
        (
            brackets,
            'Theorem 4: brackets over |g|²',
            (
                ('by length, eq 25', [r.bracket_S for r in records_T]),
                ('of all weights', [r.scale_bracket_S for r in records_T]),
            ),
        ),
        (growing, 'Blocks driven to grow', (('drive above 0', _growing(records_T)),)),
    )
    for axes, title, curves in over_time:
        bounds = style.UNBOUNDED if axes is brackets else style.SHARE
        for (label, values_TS), (colour, line) in zip(curves, _LOOKS, strict=False):
            style.band(axes, steps_T, np.array(values_TS).T, colour, label, bounds, linestyle=line)
        axes.axhline(0, **_LINE)
        axes.set(title=title)
        scales.over_steps(axes, steps_T)
    growing.set(ylabel='share of the blocks')
    style.heading(fig, heading)
    style.footnote(
        fig,
        f'{note} Of the mean cross-entropy, taken as linear in the output, norms held; g by all '
        'kernels. After a step of the weights a scale grows where its condition is 0 and its '
        'drive positive.',
    )
    return fig


def _growing(records_T) -> list[np.ndarray]:
    """The share of the blocks whose drive is positive, (S,) a step; NaN where there is none."""
    return [
        np.where(np.isnan(r.drive_SL).any(1), np.nan, (r.drive_SL > 0).mean(1)) for r in records_T
    ]
