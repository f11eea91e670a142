"""The closing table of an analysis: a line a step, a column a number, and what each means.

Numbers are mean ± standard deviation over networks; a network that is not finite is left out of
them, and how many are in is said where it is not all.
"""

import csv
import io
import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from resnet_dyn import records
from resnet_dyn.analysis.measure import Column
from resnet_dyn.reports import measures

WIDTH = 100  # characters of a table


def text(found: Mapping[str, Sequence], steps: Sequence[int] = ()) -> str:
    """The table of records by measure, each in the order of the steps, and a line for each column.

    `steps` are those that have a row in any case: 'none' where no network was finite.

    What is wider than `WIDTH` goes on in another table below, which begins with the step again.
    """
    tables: list[list[_Cells]] = []
    for name, records_T in found.items():
        for column in measures.MEASURES[name].columns:
            there = {int(r.step): _said(column, r) for r in records_T}
            cells = _Cells(column.title, dict.fromkeys(steps, 'none') | there)
            if not tables or max(map(len, _lines([*tables[-1], cells]))) > WIDTH:
                tables.append([])
            tables[-1].append(cells)
    parts = ['\n'.join(_lines(table)) for table in tables]
    return '\n\n'.join([*parts, meanings(list(found))])


def meanings(names: Sequence[str]) -> str:
    """A line for each column of these measures."""
    columns = [column for name in names for column in measures.MEASURES[name].columns]
    width = max(len(column.title) for column in columns)
    return '\n'.join(f'{column.title:{width}}  {column.meaning}' for column in columns)


def write_csv(path, found: Mapping[str, Sequence], networks: Sequence[str]) -> pathlib.Path:
    """The same numbers network by network, one a line: step, measure, number, network, value."""
    writer = csv.writer(lines := io.StringIO())
    writer.writerow(('step', 'measure', 'number', 'network', 'value'))
    for name, records_T in found.items():
        for record in records_T:
            for column in measures.MEASURES[name].columns:
                for network, value in zip(networks, _values(column, record), strict=True):
                    row = (int(record.step), name, column.title, network, f'{value:.8g}')
                    writer.writerow(row)
    return records.write_text(path, lines.getvalue())


class _Cells(NamedTuple):
    title: str
    by_step: dict[int, str]


def _lines(table: Sequence[_Cells]) -> list[str]:
    steps = sorted({step for column in table for step in column.by_step})
    rows = [['step', *(column.title for column in table)]]
    rows += [[f'{step:,}', *(column.by_step.get(step, '') for column in table)] for step in steps]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        '  '.join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    ]


def _values(column: Column, record) -> np.ndarray:
    return np.atleast_1d(np.asarray(column.value(record), float))


def _said(column: Column, record) -> str:
    values_S = _values(column, record)
    sound = values_S[np.isfinite(values_S)]
    if not len(sound):
        return 'none'
    mean = f'{sound.mean():{column.form}}'
    spread = f' ± {sound.std(ddof=1):{column.form}}' if len(sound) > 1 else ''
    return f'{mean}{spread}' + (f' ({len(sound)})' if len(sound) < len(values_S) else '')
