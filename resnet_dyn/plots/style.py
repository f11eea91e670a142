"""One look for all pictures: fonts, colours safe for the colour-blind, one scale over time, files.

Pictures are made from `matplotlib.figure.Figure` objects, without pyplot and its global state:

    with style.context():
        fig = style.figure(width=7.0, height=3.0)
        ...
        style.save(fig, workdir / 'pictures' / 'depth')

Later stages of training are darker, on one sequential scale. The same numbers give the same bytes
by the same version of matplotlib: no dates are written, and the ids of elements have a fixed salt.
"""

import pathlib
import textwrap
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib import cm, colors, ticker
from matplotlib import figure as mpl_figure

# Okabe & Ito (2008), told apart with any of the usual colour deficiencies.
BLUE = '#0072B2'
VERMILION = '#D55E00'
GREEN = '#009E73'
ORANGE = '#E69F00'
GREY = '#6E6E6E'
INK = '#222222'

BAND_ALPHA = 0.2
PNG_DPI = 160

_RC = {
    'font.family': 'DejaVu Sans',
    'font.size': 8.0,
    'axes.titlesize': 9.0,
    'axes.titleweight': 'bold',
    'axes.titlelocation': 'left',
    'axes.labelsize': 8.5,
    'axes.spines.top': False,
    'axes.spines.right': False,
    'axes.edgecolor': INK,
    'axes.labelcolor': INK,
    'axes.linewidth': 0.7,
    'text.color': INK,
    'xtick.color': INK,
    'ytick.color': INK,
    'xtick.labelsize': 7.5,
    'ytick.labelsize': 7.5,
    'xtick.major.width': 0.7,
    'ytick.major.width': 0.7,
    'legend.frameon': False,
    'legend.fontsize': 7.5,
    'lines.linewidth': 1.5,
    'figure.constrained_layout.h_pad': 0.06,
    'figure.constrained_layout.w_pad': 0.08,
    'pdf.fonttype': 42,
    'svg.hashsalt': 'resnet_dyn',
}


def context():
    """The context in which a picture is drawn and saved; nothing of it stays behind."""
    return matplotlib.rc_context(_RC)


def figure(width: float, height: float) -> mpl_figure.Figure:
    """An empty figure of this size in inches, laid out so that nothing overlaps."""
    return mpl_figure.Figure(figsize=(width, height), layout='constrained')


def time_colours(steps_T: Sequence[int]):
    """One colour a recorded step, light to dark, (T, 4), and the mappable for a colour bar."""
    # The palest tenth of the map would be lost on white paper.
    ramp = colors.ListedColormap(matplotlib.colormaps['viridis_r'](np.linspace(0.12, 1.0, 256)))
    mappable = cm.ScalarMappable(colors.Normalize(0, max(1, *steps_T)), ramp)
    return mappable.to_rgba(np.asarray(steps_T, float)), mappable


def time_bar(fig: mpl_figure.Figure, axes, steps_T: Sequence[int]) -> None:
    """The colour bar of `time_colours` at the right of these axes; one step needs none."""
    if len(steps_T) == 1:
        return
    _, mappable = time_colours(steps_T)
    bar = fig.colorbar(mappable, ax=axes, pad=0.01, aspect=30)
    bar.set_label('training step')
    bar.outline.set_visible(False)
    count_steps(bar.ax.yaxis)


def band(axes, x_T, values_ST, colour, label=None, **line) -> None:
    """The mean over seeds as a line, in a band of one standard deviation where S > 1.

    A single point is a dot with a bar.
    """
    mean_T, std_T = over_seeds(values_ST)
    if len(mean_T) == 1:
        bar_T = std_T if len(values_ST) > 1 else None
        axes.errorbar(x_T, mean_T, bar_T, fmt='o', color=colour, label=label, capsize=3)
        return
    axes.plot(x_T, mean_T, color=colour, label=label, **line)
    if len(values_ST) > 1:
        low_T, high_T = mean_T - std_T, mean_T + std_T
        axes.fill_between(x_T, low_T, high_T, color=colour, alpha=BAND_ALPHA, linewidth=0)


def over_seeds(values_S) -> tuple[np.ndarray, np.ndarray]:
    """Mean and sample standard deviation over the leading axis S; one seed has no deviation: 0."""
    mean = np.mean(values_S, axis=0)
    return mean, np.std(values_S, axis=0, ddof=1) if len(values_S) > 1 else np.zeros_like(mean)


def lines_over_time(axes, steps_T, values_TSX, first: int = 0) -> None:
    """A line a step, coloured by it: values against x = first, first + 1, ...; mean over seeds.

    The last step has the band of one standard deviation over seeds.
    """
    colours_T, _ = time_colours(steps_T)
    x_X = first + np.arange(values_TSX.shape[-1])
    marker = {'marker': 'o', 'markersize': 3} if len(x_X) <= 30 else {}
    for colour, values_SX in zip(colours_T[:-1], values_TSX[:-1], strict=True):
        axes.plot(x_X, over_seeds(values_SX)[0], color=colour, linewidth=1.2, **marker)
    band(axes, x_X, values_TSX[-1], colours_T[-1], linewidth=2.0, **marker)
    axes.xaxis.set_major_locator(ticker.MaxNLocator(nbins=10, integer=True))


def count_steps(axis) -> None:
    """Makes an axis one of training steps: whole numbers, thousands told apart."""
    axis.set_major_locator(ticker.MaxNLocator(nbins=5, integer=True))
    axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f'{value:,.0f}'))


def over_steps(axes, steps_T: Sequence[int]) -> None:
    """Makes the x axis one of training steps; one step alone stands in the middle."""
    if len(steps_T) == 1:
        axes.set_xticks(steps_T, [f'{steps_T[0]:,}'])
    else:
        count_steps(axes.xaxis)


def plain_log_ticks(axis) -> None:
    """Labels a logarithmic axis in plain numbers: 0.1, 0.2, 0.3, 0.5, 1, ..."""
    axis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 3.0, 5.0)))
    axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f'{value:g}'))
    axis.set_minor_formatter(ticker.NullFormatter())


def heading(fig: mpl_figure.Figure, text: str, size: float = 10.0) -> None:
    """The heading of a picture, at its left."""
    fig.suptitle(text, x=0.012, ha='left', fontsize=size, weight='bold')


def footnote(fig: mpl_figure.Figure, text: str) -> None:
    """Settings and reservations, small, below a picture and wrapped to its width."""
    width = int(17.5 * fig.get_figwidth())
    fig.supxlabel('\n'.join(textwrap.wrap(text, width)), x=0.012, ha='left', size=7.5, color=GREY)


def save(fig: mpl_figure.Figure, stem: str | pathlib.Path) -> tuple[pathlib.Path, ...]:
    """Writes `<stem>.png` and `<stem>.pdf`, making the folder; returns the two paths."""
    stem = pathlib.Path(stem)
    stem.parent.mkdir(parents=True, exist_ok=True)
    png, pdf = stem.with_name(f'{stem.name}.png'), stem.with_name(f'{stem.name}.pdf')
    fig.savefig(png, dpi=PNG_DPI, metadata={'Software': None})
    fig.savefig(pdf, metadata={'CreationDate': None})
    return png, pdf
