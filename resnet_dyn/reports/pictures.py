"""The pictures of an analysis, one a measure, as PNG and PDF.

    pictures/<measure>[-network<s>][-<what>].png, .pdf

The plain name is for all there is of a measure: every step that has a record, the dearest of each.
A picture of other steps or of cheaper settings has these in its name, and replaces none.
"""

import pathlib
from collections.abc import Sequence
from typing import Any

from resnet_dyn.analysis import archive
from resnet_dyn.plots import style
from resnet_dyn.reports import measures


def draw(
    workdir,
    name: str,
    records_T: Sequence,
    note: str,
    network: int | None = None,
    which: str = '',
    trained: bool = True,
) -> tuple[pathlib.Path, ...]:
    """Draws the picture of a measure from records in the order of their steps; the two paths.

    Networks that are not `trained` have no steps to speak of.
    """
    draw, heading, last_only = measures.MEASURES[name].picture
    if last_only:
        records_T = records_T[-1:]
    if trained:
        over = len(records_T) > 1
        heading += ' over training' if over else f' at step {int(records_T[0].step):,}'
    stem = archive.stem(name, network)
    with style.context():
        figure = draw(records_T, heading, note)
        return style.save(figure, pathlib.Path(workdir) / 'pictures' / f'{stem}{which}')


def which(workdir, name: str, found_T: Sequence[archive.Found], network: int | None = None) -> str:
    """What the name of a picture of these records says beside the measure; '' for all there is."""
    measure = measures.MEASURES[name]
    there = archive.read(workdir, name, measure.record, network, found_T[-1].settings)
    if measure.picture.last_only:
        there, found_T = there[-1:], found_T[-1:]
    dearest = {int(found.record.step): _settings(found) for found in there}
    steps = [int(found.record.step) for found in found_T]
    parts = {}
    if set(dearest) > set(steps):
        here = f'step{steps[0]}' if len(steps) == 1 else f'steps{steps[0]}to{steps[-1]}'
        parts[here] = None
    for step, found in zip(steps, found_T, strict=True):
        best = dearest.get(step, {})
        for key, value in _settings(found).items():
            if value != best.get(key, value):
                parts[f'{key}{value}'] = None
    return ''.join(f'-{part}' for part in parts)


def _settings(found: archive.Found) -> dict[str, Any]:
    """Those that a picture is named by where they are not the dearest ones."""
    left = ('checkpoint', 'seed', *archive.IDENTITY)
    return {key: value for key, value in found.settings.items() if key not in left}
