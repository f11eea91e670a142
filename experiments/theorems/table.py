"""One row of the table of theorems, and the table as text and as Markdown."""

import textwrap
from collections.abc import Sequence
from typing import NamedTuple

STATED, CORRECTED, CONTROL = 'as stated', 'corrected', 'control'
_WIDTHS = {'result': 15, 'statement': 46, 'setting': 30, 'predicted': 24, 'measured': 30}


class Row(NamedTuple):
    """One statement held against numbers.

    result: the lemma, theorem or equation of the paper.
    source: 'as stated' in the paper, or 'corrected': with the hypothesis, factor or range that
      it needs; 'control': what happens without that.
    holds: computed from `predicted` and `measured`, never typed in.
    """

    result: str
    source: str
    statement: str
    setting: str
    predicted: str
    measured: str
    holds: bool

    @property
    def verdict(self) -> str:
        return 'holds' if self.holds else 'FAILS'


def as_text(rows: Sequence[Row]) -> str:
    """The table for a terminal of 160 columns."""
    heads = [[name] for name in (*_WIDTHS, 'verdict')]
    blocks = [_line(heads), '-' * (sum(_WIDTHS.values()) + 2 * len(_WIDTHS) + 7)]
    for row in rows:
        first = [*textwrap.wrap(row.result, _WIDTHS['result']), row.source]
        cells = [first]
        for name in list(_WIDTHS)[1:]:
            cells.append(textwrap.wrap(getattr(row, name), _WIDTHS[name]))
        blocks.append(_line([*cells, [row.verdict]]))
    return '\n'.join(blocks)


def as_markdown(rows: Sequence[Row]) -> str:
    """The same as a Markdown table."""
    names = (*Row._fields[:-1], 'verdict')
    lines = ['| ' + ' | '.join(names) + ' |', '|---' * len(names) + '|']
    for row in rows:
        cells = (getattr(row, name).replace('|', '\\|') for name in names)
        lines.append('| ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines) + '\n'


def _line(cells: Sequence[Sequence[str]]) -> str:
    """Cells side by side, each a list of lines."""
    widths = [*_WIDTHS.values(), 7]
    lines = []
    for i in range(max(map(len, cells))):
        parts = [cell[i] if i < len(cell) else '' for cell in cells]
        padded = (part.ljust(width) for part, width in zip(parts, widths, strict=True))
        lines.append('  '.join(padded).rstrip())
    return '\n'.join([*lines, ''] if len(lines) > 1 else lines)
