"""The axes of pictures: steps, blocks, errors, logarithms. Limits hold all that is drawn.

Logarithmic ticks are 1, 2, 3, 5 (x 10^n) over little more than a decade, powers of ten beyond.
"""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib import ticker

MARGIN = 1.3  # beyond the smallest and the largest value of a logarithmic axis, a factor
NARROWEST = 4.2  # of such an axis, highest / lowest: it then has two ticks at least
TICKS = 6  # powers of ten that are labelled, at most


def whole_numbers(axis) -> None:
    """Makes an axis one of blocks, lengths or orders: whole numbers, about ten of them."""
    axis.set_major_locator(ticker.MaxNLocator(nbins=10, integer=True, min_n_ticks=1))


def count_steps(axis) -> None:
    """Makes an axis one of training steps: whole numbers, thousands told apart."""
    axis.set_major_locator(ticker.MaxNLocator(nbins=5, integer=True, min_n_ticks=1))
    axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f'{value:,.0f}'))


def over_steps(axes, steps_T: Sequence[int]) -> None:
    """Makes the x axis one of training steps; one step alone stands in the middle."""
    axes.set_xlabel('training step')
    if len(steps_T) == 1:
        axes.set_xticks(steps_T, [f'{steps_T[0]:,}'])
    else:
        count_steps(axes.xaxis)


def errors(*panels) -> None:
    """Makes the y axes those of errors in percent, from 0 to no more than 100."""
    _from_zero(panels, 1.0, 100.0)


def from_zero(*panels) -> None:
    """Lets the y axes begin at 0 and end beyond all that is drawn; at 1 where that is all 0."""
    _from_zero(panels, 1.0 if _highest(panels) <= 0 else 0.0, math.inf)


def lengths(axes, first: int, last: int) -> None:
    """Makes the y axis one of lengths first..last, with room for lines at its ends."""
    room = 0.03 * max(1, last - first)
    axes.set_ylim(first - room, last + room)


def logarithmic(axis, *values) -> float:
    """Makes an axis logarithmic, from below the smallest positive value to above the largest.

    Returns its lower end. Where nothing is positive, the axis stays linear: returns -inf.
    """
    found = np.concatenate([finite(value) for value in values])
    found = found[found > 0]
    name, axes = axis.axis_name, axis.axes
    if not found.size:
        getattr(axes, f'set_{name}lim')(-0.05, 1)
        return -math.inf
    low, high = found.min() / MARGIN, found.max() * MARGIN
    widen = max(1.0, NARROWEST * low / high) ** 0.5
    low, high = low / widen, high * widen
    getattr(axes, f'set_{name}scale')('log')
    getattr(axes, f'set_{name}lim')(low, high)
    axis.set_major_locator(ticker.FixedLocator(_ticks(low, high)))
    axis.set_major_formatter(ticker.FuncFormatter(_power))
    axis.set_minor_formatter(ticker.NullFormatter())
    return low


def finite(values) -> np.ndarray:
    """The finite ones of some values, in one row."""
    row = np.asarray(values, np.float64).ravel()
    return row[np.isfinite(row)]


def _from_zero(panels, least: float, most: float) -> None:
    highest = min(most, max(least, 1.05 * _highest(panels)))
    for axes in panels:
        axes.set_ylim(0, highest)


def _highest(panels) -> float:
    return max(finite([axes.dataLim.y1 for axes in panels]), default=0.0)


def _ticks(low: float, high: float) -> np.ndarray:
    powers = np.arange(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1.0)
    heads = next(
        heads
        for heads, most in (((1, 2, 3, 5), 30), ((1, 3), 300), ((1,), math.inf))
        if high / low <= most
    )
    ticks = np.multiply.outer(10.0**powers, heads).ravel()
    ticks = ticks[(ticks >= low) & (ticks <= high)]
    return ticks[:: math.ceil(len(ticks) / TICKS)] if heads == (1,) else ticks


def _power(value: float, _) -> str:
    if 1e-4 < value < 1e4:
        return f'{value:g}'
    power = math.floor(math.log10(value) + 1e-9)
    head = round(value / 10.0**power)
    return f'$\\mathdefault{{{"" if head == 1 else f"{head}·"}10^{{{power}}}}}$'


def square(fig, axes, values_NN, label: str, limits=None, colours='viridis_r', **bar):
    """N x N values in colours with their bar, row 0 at the bottom; the image.

    Without limits they go from 0 to the largest, on grey, which shows where values are missing.
    """
    if limits is None:
        axes.set_facecolor('#E4E4E4')
        limits = 0, max(finite(values_NN), default=0) or 1.0
    image = axes.imshow(values_NN, cmap=colours, vmin=limits[0], vmax=limits[1], origin='lower')
    bar = fig.colorbar(image, ax=axes, pad=0.02, label=label, **bar)
    bar.outline.set_visible(False)
    axes.spines[:].set_visible(False)
    for axis in (axes.xaxis, axes.yaxis):
        whole_numbers(axis)
    return image
