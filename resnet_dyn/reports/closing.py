"""How an analysis ends: its table on the screen, tables and pictures of its measures as files."""

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from resnet_dyn import errors, records
from resnet_dyn.analysis import archive, subjects, trajectories
from resnet_dyn.reports import measures, notes, pictures, selection, tables


class Analysis(NamedTuple):
    """What an analysis was of, beside its visits."""

    selection: selection.Selection
    networks: tuple[str, ...]  # their names
    # what is said of the data, for numbers of records of these settings
    note: Callable[[Sequence[Mapping[str, Any]]], str]
    network: int | None = None  # the index of the one that was looked at
    trained: bool = True  # whether it has steps of a training to speak of


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
) -> list[str]:
    """Says the table of the visits and its note; in a workdir writes tables and draws pictures.

    Files: tables/<measure>.txt, .csv and pictures/<measure>.png, .pdf, named as in `pictures`;
    their paths are said. Returns why some could not be written: the others are all the same.
    """
    by_name = found(visits, list(analysis.selection.requests))
    if not by_name:
        say('no record, so no table and no picture')
        return []
    everything = [one for found_T in by_name.values() for one in found_T]
    steps = [visit.step for visit in visits if not visit.damage]
    parts = [tables.text(_records(by_name), steps), *_lines(by_name), _note(analysis, everything)]
    say('\n' + '\n\n'.join(parts) + '\n')
    failed = []
    for name, found_T in by_name.items() if workdir is not None else ():
        try:
            for file in _write(pathlib.Path(workdir), name, found_T, analysis):
                say(str(file))
        except (OSError, errors.RecordError) as error:
            failed.append(f'the table or picture of {name} could not be written ({error})')
            say(f'WARNING: {failed[-1]}')
    return failed


def _write(workdir: pathlib.Path, name: str, found_T, analysis: Analysis) -> list[pathlib.Path]:
    """The table and the picture of a measure."""
    which, one = pictures.which(workdir, name, found_T, analysis.network), {name: found_T}
    stem = archive.stem(name, analysis.network)
    table = workdir / 'tables' / f'{stem}{which}.txt'
    numbers = tables.write_csv(table.with_suffix('.csv'), _records(one), analysis.networks)
    parts = [tables.text(_records(one)), *_lines(one), _note(analysis, found_T, name)]
    records.write_text(table, '\n\n'.join(parts) + '\n')
    # A picture counts the networks that it leaves out itself, and since when.
    source = analysis.note([found.settings for found in found_T])
    note = notes.note(source, analysis.selection, name)
    drawn = pictures.draw(
        workdir, name, _records(one)[name], note, analysis.network, which, analysis.trained
    )
    return [table, numbers, *drawn]


def _lines(by_name) -> list[str]:
    """What measures say beside the table, of their last step."""
    said = []
    for name, found_T in by_name.items():
        lines, last = measures.MEASURES[name].lines, found_T[-1]
        if lines is not None and 'names' in last.origin:
            said.append('\n'.join(lines(last.record, subjects.Names(**last.origin['names']))))
    return [text for text in said if text]


def _records(by_name) -> dict[str, list]:
    return {name: [found.record for found in found_T] for name, found_T in by_name.items()}


def _note(analysis: Analysis, everything: Sequence[archive.Found], name: str | None = None) -> str:
    """What stands below a table of these records."""
    source = analysis.note([found.settings for found in everything])
    left_out = [len(found.origin.get('left_out') or {}) for found in everything]
    return notes.note(source, analysis.selection, name, left_out)
