"""How an analysis ends: its table on the screen and as files, and its pictures."""

import pathlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from resnet_dyn.analysis import archive, trajectories
from resnet_dyn.reports import notes, pictures, selection, tables


class Analysis(NamedTuple):
    """What an analysis was of, beside its visits."""

    selection: selection.Selection
    networks: tuple[str, ...]  # their names
    source: str  # what is said of the data
    network: int | None = None  # the index of the one that was looked at


def found(visits: Sequence[trajectories.Visit], names: Sequence[str]):
    """The records of the visits by measure, each in the order of the steps."""
    return {
        name: records_T
        for name in names
        if (records_T := [visit.found[name] for visit in visits if name in visit.found])
    }


def show(
    visits: Sequence[trajectories.Visit],
    analysis: Analysis,
    say: Callable[[str], None],
    workdir=None,
) -> list[pathlib.Path]:
    """Says the table of the visits and its note; in a workdir writes both and draws the pictures.

    Files: table.txt, table.csv, pictures/*; their paths are said and returned.
    """
    by_name = found(visits, list(analysis.selection.requests))
    if not by_name:
        say('no record, so no table and no picture')
        return []
    by_record = {name: [one.record for one in found_T] for name, found_T in by_name.items()}
    sound = min(_sound(found_T, len(analysis.networks)) for found_T in by_name.values())
    text = tables.text(by_record)
    note = notes.note(analysis.source, analysis.selection, sound=sound)
    say(f'\n{text}\n\n{note}\n')
    if workdir is None:
        return []
    whichs = {
        name: pictures.which(workdir, name, found_T, analysis.network)
        for name, found_T in by_name.items()
    }
    one = '' if analysis.network is None else f'-network{analysis.network}'
    stem = f'table{one}{max(whichs.values(), key=len)}'
    table = archive.folder(workdir) / f'{stem}.txt'
    table.write_text(f'{text}\n\n{note}\n')
    files = [table, tables.write_csv(table.with_name(f'{stem}.csv'), by_record, analysis.networks)]
    for name in by_name:
        # Without `sound`: a picture counts the networks that it leaves out itself, and since when.
        here = notes.note(analysis.source, analysis.selection, name)
        files += pictures.draw(workdir, name, by_record[name], here, analysis.network, whichs[name])
    for file in files:
        say(str(file))
    return files


def _sound(found_T: Sequence[archive.Found], networks: int) -> int:
    """The least number of networks that are in the records."""
    return int(np.min([networks - len(one.origin.get('left_out') or {}) for one in found_T]))
