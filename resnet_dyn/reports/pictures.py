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
) -> tuple[pathlib.Path, ...]:
    """Draws the picture of a measure from records in the order of their steps; the two paths."""
    draw, heading, last_only = measures.MEASURES[name].picture
    if last_only:
        records_T = records_T[-1:]
    when = 'over training' if len(records_T) > 1 else f'at step {int(records_T[0].step):,}'
    stem = name if network is None else f'{name}-network{network}'
    with style.context():
        figure = draw(records_T, f'{heading} {when}', note)
        return style.save(figure, pathlib.Path(workdir) / 'pictures' / f'{stem}{which}')


def which(workdir, name: str, found_T: Sequence[archive.Found], network: int | None = None) -> str:
    """What the name of a picture of these records says beside the measure; '' for all there is."""
    measure = measures.MEASURES[name]
    there = archive.read(workdir, name, measure.record, network)
    if measure.picture.last_only:
        there, found_T = there[-1:], found_T[-1:]
    dearest = {int(found.record.step): found for found in there}
    steps = [int(found.record.step) for found in found_T]
    parts = []
    if set(dearest) != set(steps):
        parts.append(f'step{steps[0]}' if len(steps) == 1 else f'steps{steps[0]}to{steps[-1]}')
    here = _settings(found_T[-1])
    best = _settings(dearest.get(steps[-1], found_T[-1]))
    parts += [f'{key}{value}' for key, value in here.items() if value != best.get(key, value)]
    return ''.join(f'-{part}' for part in parts)


def _settings(found: archive.Found) -> dict[str, Any]:
    settings = found.origin.get('settings') or {}
    return {
        key: value for key, value in settings.items() if key not in ('checkpoint', 'source', 'seed')
    }
