"""Folders of runs: what takes a run takes such a folder too, for all that are in it.

A sweep has its runs in its workdir, a study in `runs/` below it.
"""

import pathlib

from resnet_dyn.training import description

BELOW = 'runs'
LOCK = '.lock'  # of a run, held by the process that trains it


def runs_of(folder) -> list[pathlib.Path]:
    """The runs of a folder by name: itself, else those in it, else those in its `runs/`.

    [] where there is none; a run that has not begun has no config.json, and is none.
    """
    folder = pathlib.Path(folder)
    if is_run(folder):
        return [folder]
    for place in (folder, folder / BELOW):
        found = [path for path in place.iterdir() if is_run(path)] if place.is_dir() else []
        if found:
            return sorted(found)
    return []


def is_run(folder: pathlib.Path) -> bool:
    """Whether a run has begun in a folder."""
    return (folder / description.NAME).is_file()
