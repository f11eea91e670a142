"""Runs as the report takes them from disk: what can be read, and what cannot and why."""

import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from resnet_dyn import commands, errors, records
from resnet_dyn.analysis import archive
from resnet_dyn.reports import series
from resnet_dyn.training import description


class Reading(NamedTuple):
    """Runs by name, their config.json, and what is left out of each or is left out itself."""

    runs: dict[str, series.RunSeries]
    descriptions: dict[str, dict[str, Any]]
    problems: dict[str, list[str]]


def read(folders: Mapping[str, pathlib.Path]) -> Reading:
    """The runs in these folders by name, each as far as it can be read."""
    runs, descriptions, problems = {}, {}, {}
    for name, folder in folders.items():
        try:
            run = series.read(folder)
        except errors.UserError as error:
            problems[name] = [str(error)]
            continue
        problems[name] = damaged(folder)
        if run.series:
            known = description.read(folder)
            runs[name] = run._replace(name=name, total_steps=known.total_steps)
            descriptions[name] = known.everything
        else:
            problems[name].append(
                f'nothing was measured or logged of this run: train it by {commands.said("train")} '
                f'--workdir={folder}, or start that again if it was stopped before its first '
                'checkpoint'
            )
    return Reading(runs, descriptions, {name: why for name, why in problems.items() if why})


def damaged(folder: pathlib.Path) -> list[str]:
    """Why records in a folder cannot be read; they are passed over as if they were not there."""
    found = []
    for file in sorted(archive.folder(folder).glob('*.npz')):
        try:
            records.load(file)
        except errors.RecordError as error:
            found.append(str(error))
    return found
