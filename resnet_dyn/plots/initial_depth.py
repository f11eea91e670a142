"""Depth at initialisation against p: measured networks on the curves of infinite width.

Lines are theory, markers means over networks with one standard deviation; the wider the network,
the fuller the marker.
"""

import numpy as np
from matplotlib import colors

from resnet_dyn.plots import legends, scales, style

LAWS = ('signal', 'gradient', 'coherent')
SCALES = {
    'none': 'as they are',
    'sqrt_index': 'over √l',
    'sqrt_depth': 'over √L',
    'depth': 'over L',
    'skipinit': 'times 0',
}
NORMS = {'batch': 'BN', 'rms': 'rms', 'none': 'no norm'}
LOOKS = {  # of (block, norm)
    ('paper', 'batch'): (style.BLUE, 'o'),
    ('paper', 'rms'): (style.VERMILION, 's'),
    ('paper', 'none'): (style.GREY, 'D'),
    ('preact', 'batch'): (style.GREEN, '^'),
    ('preact', 'rms'): (style.ORANGE, 'v'),
}
REFERENCES = {
    'signal': {'log p': np.log, '2.61': lambda p: 2.60855 + 0 * p, 'p/2': lambda p: p / 2},
    'gradient': {
        '1.467 log p': lambda p: 1.467 * np.log(p),
        '2.61': lambda p: 2.60855 + 0 * p,
        'p/2': lambda p: p / 2,
    },
    'scaled': {'log p': np.log},
    'coherent': {
        '2√p': lambda p: 2 * np.sqrt(p),
        'p/3': lambda p: p / 3,
        'p/2': lambda p: p / 2,
    },
}
SCALE_LOOKS = {
    'sqrt_index': (style.GREEN, 'o'),
    'sqrt_depth': (style.BLUE, 's'),
    'depth': (style.VERMILION, '^'),
    'skipinit': (style.GREY, 'D'),
}


@style.styled
def draw(record):
    """An `InitialDepth` record of `experiments.initial_depth`: four panels."""
    fig = style.figure(11.5, 8.2)
    axes = fig.subplots(2, 2)
    plain = [n for n, scale in enumerate(record.scales_N) if scale == 'none']
    scaled = [n for n, scale in enumerate(record.scales_N) if scale != 'none']
    panels = (
        (axes[0, 0], 'signal', plain, 'Signal: E|branch|² / E|skip|², incoherent'),
        (axes[0, 1], 'gradient', plain, 'Gradient: |Jᵀg|² / |g|², incoherent'),
        (axes[1, 0], 'coherent', plain, 'Signal, coherent'),
        (axes[1, 1], 'signal', scaled, 'Signal, incoherent, branches scaled'),
    )
    for panel, law, cases, title in panels:
        for n in cases:
            _case(panel, record, law, n)
        panel.set(title=title, xlabel='p = L + 1', ylabel='E[r]')
        scales.logarithmic(panel.xaxis, record.depths_P)
        shown = (getattr(record, f'{law}_{what}')[cases] for what in ('theory_NP', 'NCSP'))
        scales.logarithmic(panel.yaxis, *shown)
        _references(panel, record.depths_P, law if cases is plain else 'scaled')
    legends.above(fig)
    fast = ' A rough look.' if record.fast else ''
    style.heading(fig, 'Depth of the virtual ensemble before training')
    style.footnote(fig, _note(record) + fast)
    return fig


def _case(axes, record, law: str, n: int) -> None:
    block, norm, scale = (str(one[n]) for one in (record.blocks_N, record.norms_N, record.scales_N))
    colour, marker = LOOKS[block, norm] if scale == 'none' else SCALE_LOOKS[scale]
    line = '-' if scale == 'none' or norm != 'none' else '--'
    name = f'{block}, {NORMS[norm]}' if scale == 'none' else f'{SCALES[scale]}, {NORMS[norm]}'
    theory_P = getattr(record, f'{law}_theory_NP')[n]
    axes.plot(record.depths_P, theory_P, line, color=colour, linewidth=1, label=name)
    values_CSP = getattr(record, f'{law}_NCSP')[n]
    widths = len(values_CSP)
    for c, values_SP in enumerate(values_CSP):
        mean_P, std_P = style.over_seeds(values_SP)
        look = {'color': colour, 'markersize': 5, 'markeredgewidth': 0.8, 'capsize': 2}
        face = colors.to_rgba(colour, (c + 1) / widths) if c or widths == 1 else 'white'
        beside_P = record.depths_P * 1.04 ** (c - (widths - 1) / 2)
        axes.errorbar(
            beside_P, mean_P, std_P, fmt=marker, markerfacecolor=face, linewidth=1, **look
        )


def _references(axes, depths_P, law: str) -> None:
    """The asymptotes of theory, dotted, each with its formula at its end."""
    p = np.geomspace(min(depths_P), max(depths_P), 50)
    for formula, of in REFERENCES[law].items():
        axes.plot(p, of(p), ':', color=style.INK, linewidth=0.8, zorder=1)
        end = {'xytext': (8, 0), 'textcoords': 'offset points', 'va': 'center', 'fontsize': 7}
        axes.annotate(formula, (p[-1], of(p)[-1]), annotation_clip=True, **end)


def _note(record) -> str:
    widths = ' and '.join(f'{width:,}' for width in record.widths_C)
    seeds = record.signal_NCSP.shape[2]
    return (
        'Lines: infinite width; dotted: p → ∞ (p/3: coherent, gates open half of the time). '
        f'Markers: mean of {seeds} networks ± 1 standard deviation, widths {widths} (the narrowest '
        f'empty), {int(record.examples):,} inputs N(0, 1), statistics of norms of that batch. '
        'One net serves several p, as its first p layers; where a branch is scaled by L each p has '
        'its own. Theory has one σ a layer, rms one a unit: hence its gradient. Nets without '
        'norms and scales are missing where their signal, which doubles at each block, is beyond '
        'float32.'
    )
