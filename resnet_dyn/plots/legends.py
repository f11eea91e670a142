"""Legends stand above their axes, below the title: never on the data.

The titles of one row of axes stay level: all make room for the tallest legend of the row.
"""

import collections
import math
import re

LETTER = 4.3  # width of a letter of a legend, points, on the wide side
HANDLE = 34.0  # of a line before its label, and the gap behind
LINE, GAP = 11.0, 7.0  # height of a line of a legend, and what is above and below all of it


def above(fig) -> None:
    """Gives all axes of a figure that have labelled curves their legends."""
    rows = collections.defaultdict(list)
    for axes in fig.axes:
        spec = axes.get_subplotspec()
        if spec is not None:
            rows[spec.get_gridspec(), spec.rowspan.start].append(axes)
    for row in rows.values():
        height = max(map(place, row))
        for axes in row:
            if height and axes.get_title(loc='left'):
                axes.set_title(axes.get_title(loc='left'), loc='left', pad=height)


def place(axes) -> float:
    """Draws the legend of axes right above them; returns its height in points, 0 without one."""
    handles, labels = axes.get_legend_handles_labels()
    if not labels:
        return 0.0
    columns = _columns(labels, axes.bbox.width * 72 / axes.figure.dpi)
    axes.legend(
        handles,
        labels,
        ncols=columns,
        loc='lower left',
        bbox_to_anchor=(0, 1),
        borderpad=0,
        borderaxespad=0.4,
        columnspacing=1.2,
        labelspacing=0.25,
    )
    return GAP + LINE * math.ceil(len(labels) / columns)


def _columns(labels, width: float) -> int:
    """The largest number of columns that fit; a legend is filled column by column."""
    widths = [HANDLE + LETTER * len(re.sub(r'[${}_^\\]', '', label)) for label in labels]
    for columns in range(len(labels), 1, -1):
        rows = math.ceil(len(labels) / columns)
        if sum(max(widths[i : i + rows]) for i in range(0, len(labels), rows)) <= width:
            return columns
    return 1
