"""One look for all pictures: fonts, colours safe for the colour-blind, one scale over time, files.

Pictures are `matplotlib.figure.Figure`s, made without pyplot and its global state. They bring their
look along: whoever calls a function of this room, draws its figure or saves it gets the same
picture, whatever his settings of matplotlib, and these stay as they are:

    fig = depth.law(records_T, heading, note)
    style.save(fig, workdir / 'pictures' / 'depth')

Later steps of training are darker, on one sequential scale. The same numbers give the same bytes
by the same version of matplotlib: no dates are written, and the ids of elements have a fixed salt.
"""

import contextlib
import functools
import io
import pathlib
import textwrap
from collections.abc import Callable, Iterator, Sequence

import matplotlib
import numpy as np
from matplotlib import cm, colors
from matplotlib import figure as mpl_figure

from resnet_dyn import records
from resnet_dyn.plots import legends, networks, scales

# Okabe & Ito (2008), told apart with any of the usual colour deficiencies.
BLUE = '#0072B2'
VERMILION = '#D55E00'
GREEN = '#009E73'
ORANGE = '#E69F00'
GREY = '#6E6E6E'
INK = '#222222'

BAND_ALPHA = 0.2
PNG_DPI, SCREEN_DPI = 160, 100
UNBOUNDED = (-np.inf, np.inf)
SHARE = (0.0, 1.0)  # between which shares are
PERCENT = (0.0, 100.0)  # between which errors are

_RC = {
    'axes.formatter.useoffset': False,
    'axes.formatter.limits': (-30, 30),  # nor a power of ten at the end of an axis
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


@contextlib.contextmanager
def context() -> Iterator[None]:
    """The context in which a picture is drawn and saved; nothing of it stays behind."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_RC)
        yield


def styled(draw: Callable) -> Callable:
    """A function that draws, within `context`."""

    @functools.wraps(draw)
    def drawn(*args, **kwargs):
        with context():
            return draw(*args, **kwargs)

    return drawn


def picture(*may_miss: str) -> Callable:
    """Makes draw(records_T, heading, note) the picture of records of S networks, one a step.

    It is drawn in this style, legends above the axes. A network that is not finite is NaN in all
    that `draw` sees, and the note counts it (`networks.finite`). Fields of `may_miss` are NaN
    where a network simply lacks what they are of.
    """

    def decorate(draw):
        @styled
        @functools.wraps(draw)
        def drawn(records_T, heading: str, note: str):
            seen_T, left_out = networks.finite(records_T, may_miss)
            fig = draw(seen_T, heading, f'{note} {left_out}'.strip())
            legends.above(fig)
            return fig

        return drawn

    return decorate


class Picture(mpl_figure.Figure):
    """A figure that brings its style along wherever it is drawn, and is shown by notebooks."""

    def draw(self, renderer):
        with context():
            super().draw(renderer)

    def savefig(self, *args, **kwargs):
        with context():
            super().savefig(*args, **kwargs)

    def _repr_png_(self) -> bytes:
        self.savefig(file := io.BytesIO(), format='png', dpi=SCREEN_DPI)
        return file.getvalue()


def figure(width: float, height: float) -> Picture:
    """An empty figure of this size in inches, laid out so that nothing overlaps."""
    return Picture(figsize=(width, height), layout='constrained')


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
    scales.count_steps(bar.ax.yaxis)


def band(axes, x_T, values_ST, colour, label=None, bounds=UNBOUNDED, **line) -> None:
    """The mean over networks as a line, in a band of one standard deviation where S > 1.

    The band ends at `bounds`; where these are above 0, as on a logarithmic axis, means of 0 are
    left out. A single point is a dot with a bar.
    """
    mean_T, std_T = over_seeds(values_ST)
    mean_T = _without_zeros(mean_T, bounds)
    low_T, high_T = (np.clip(edge_T, *bounds) for edge_T in (mean_T - std_T, mean_T + std_T))
    if len(mean_T) == 1:
        bars = (mean_T - low_T, high_T - mean_T) if len(values_ST) > 1 else None
        axes.errorbar(x_T, mean_T, bars, fmt='o', color=colour, label=label, capsize=3)
        return
    axes.plot(x_T, mean_T, color=colour, label=label, **line)
    if len(values_ST) > 1:
        axes.fill_between(x_T, low_T, high_T, color=colour, alpha=BAND_ALPHA, linewidth=0)


def over_seeds(values_S) -> tuple[np.ndarray, np.ndarray]:
    """Mean and sample standard deviation over the leading axis S, of the finite values.

    One value has no deviation: 0. Where none is finite, both are NaN.
    """
    values_S = np.asarray(values_S, np.float64)
    finite_S = np.isfinite(values_S)
    count = finite_S.sum(0)
    mean = _divide(np.where(finite_S, values_S, 0).sum(0), count)
    squares_S = np.where(finite_S, np.where(finite_S, values_S, 0) - mean, 0) ** 2
    std = np.sqrt(squares_S.sum(0) / np.maximum(count - 1, 1))
    return mean, np.where(count > 0, std, np.nan)[()]


def shares(values, axis: int = -1) -> np.ndarray:
    """Values over their sum along an axis; all 0 where the sum is 0, NaN where it is not finite."""
    with np.errstate(over='ignore'):
        total = np.sum(values, axis, keepdims=True)
    total = np.where(np.isfinite(total), total, np.nan)
    return np.where(total == 0, 0.0, values / np.where(total == 0, 1, total))


def lines_over_time(
    axes, steps_T, values_TSX, x_X=None, log=False, bounds=UNBOUNDED, beside=()
) -> None:
    """A line a step, coloured by it: mean over networks against x_X, or 0, 1, 2, ...

    The last step is bold, named in the legend, and has the band of one standard deviation over
    networks. A logarithmic axis holds the values `beside` too, and marks 0 at its lower end.
    """
    colours_T, _ = time_colours(steps_T)
    x_X = np.arange(values_TSX.shape[-1]) if x_X is None else x_X
    mean_TX = np.stack([over_seeds(values_SX)[0] for values_SX in values_TSX])
    if log:
        highest_X = np.minimum(np.add(*over_seeds(values_TSX[-1])), bounds[1])
        low = scales.logarithmic(axes.yaxis, values_TSX, mean_TX, highest_X, beside)
        bounds = (low, bounds[1])
    dotted = len(x_X) <= 30 or (mean_TX == 0).any()  # a value between zeros has no line
    marker = {'marker': 'o', 'markersize': 3} if dotted else {}
    for colour, mean_X in zip(colours_T[:-1], mean_TX[:-1], strict=True):
        axes.plot(x_X, _without_zeros(mean_X, bounds), color=colour, linewidth=1.2, **marker)
    name = f'step {int(steps_T[-1]):,}'
    band(axes, x_X, values_TSX[-1], colours_T[-1], name, bounds, linewidth=2.0, **marker)
    if axes.get_yscale() == 'log':
        _mark_zeros(axes, x_X, mean_TX, colours_T)
    scales.whole_numbers(axes.xaxis)


def field_over_time(axes, records_T, name: str, bounds=UNBOUNDED) -> None:
    """`lines_over_time` of a field (S, X) of records, one a step; from 0 where that is a bound."""
    steps_T = [int(record.step) for record in records_T]
    values_TSX = np.stack([getattr(record, name) for record in records_T])
    lines_over_time(axes, steps_T, values_TSX, bounds=bounds)
    if bounds[0] == 0:
        scales.from_zero(axes)


def _without_zeros(mean_X, bounds):
    return np.where((mean_X == 0) & (bounds[0] > 0), np.nan, mean_X)


def _mark_zeros(axes, x_X, mean_TX, colours_T):
    named = np.flatnonzero((mean_TX == 0).any(1)).max(initial=-1)
    for t, (mean_X, colour) in enumerate(zip(mean_TX, colours_T, strict=True)):
        zeros = x_X[mean_X == 0]
        place = axes.get_xaxis_transform()
        look = {'color': colour, 'markersize': 4, 'clip_on': False, 'transform': place}
        if zeros.size:
            label = 'exactly 0' if t == named else None
            axes.plot(zeros, np.full(zeros.shape, 0.02), 'v', label=label, **look)


def heading(fig: mpl_figure.Figure, text: str, size: float = 10.0) -> None:
    """The heading of a picture, at its left and wrapped to its width."""
    width = int(120 * fig.get_figwidth() / size)
    text = '\n'.join(textwrap.wrap(text, width))
    fig.suptitle(text, x=0.012, ha='left', fontsize=size, weight='bold')


def footnote(fig: mpl_figure.Figure, text: str) -> None:
    """Settings and reservations, small, below a picture and wrapped to its width."""
    width = int(17.5 * fig.get_figwidth())
    fig.supxlabel('\n'.join(textwrap.wrap(text, width)), x=0.012, ha='left', size=7.5, color=GREY)


def save(fig: mpl_figure.Figure, stem: str | pathlib.Path) -> tuple[pathlib.Path, ...]:
    """Writes `<stem>.png` and `<stem>.pdf` at once each, making the folder; the two paths."""
    fig.savefig(png := io.BytesIO(), format='png', dpi=PNG_DPI, metadata={'Software': None})
    fig.savefig(pdf := io.BytesIO(), format='pdf', metadata={'CreationDate': None})
    return (
        records.write_bytes(f'{stem}.png', png.getbuffer()),
        records.write_bytes(f'{stem}.pdf', pdf.getbuffer()),
    )


def _divide(total, count):
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)[()]
