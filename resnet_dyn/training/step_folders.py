"""The folders of the steps of a run: which there are, which are whole, and what is said of them."""

import contextlib
import os
import pathlib
import re
import sys

from resnet_dyn import errors
from resnet_dyn.training import soundness

LISTINGS = 20  # how often the steps are listed again because one that was listed has gone

_NEARLY = re.compile(r'[-+\s]*\d[\d_.]*\s*')  # what may have been meant as a step
_SAID = 3  # of a list in a message


def steps(workdir) -> list[int]:
    """The whole steps of a run in order; [] where there is none. Reads manifests and sizes only."""
    for _ in range(LISTINGS):
        with contextlib.suppress(soundness.Gone):
            return [
                step for step in folders(workdir) if soundness.is_whole(place(workdir) / str(step))
            ]
    raise too_fast(workdir)


def folders(workdir) -> list[int]:
    """The steps that have a folder, whole or damaged, in order; [] where there is none.

    CheckpointError where `checkpoints` is there and is no folder.
    """
    folder = place(workdir)
    return sorted(int(name) for name in _names(folder) if _is_step(name))


def place(workdir) -> pathlib.Path:
    """The folder that holds those of the steps."""
    return pathlib.Path(os.path.expanduser(workdir)).absolute() / 'checkpoints'


def say_what_is_nearly_a_step(folder: pathlib.Path) -> None:
    """One warning of the names in it that may have been meant as steps."""
    names = [name for name in _names(folder) if _NEARLY.fullmatch(name) and not _is_step(name)]
    if names:
        say(
            f'{folder} has {some([repr(name) for name in sorted(names)])}, which no step is '
            'written as (40 is), so they are passed over: rename those that are steps'
        )


def too_fast(workdir) -> errors.CheckpointError:
    """The error of a reader whose steps went away again and again."""
    return errors.CheckpointError(
        f'{place(workdir)} changes faster than it can be read: try again, or let the run that '
        'writes there keep more (config.checkpoint.keep)'
    )


def some(words: list[str]) -> str:
    """The first of many, and how many more there are."""
    more = len(words) - _SAID
    return '; '.join(words[:_SAID]) + (f'; and {more} more' if more > 0 else '')


def say(line: str) -> None:
    """A warning on stderr."""
    print(f'warning: {line}', file=sys.stderr, flush=True)


def _names(folder: pathlib.Path) -> list[str]:
    if not os.path.lexists(folder):
        return []
    if not folder.is_dir():
        raise errors.CheckpointError(
            f'{folder} is a file, or a link that leads to no folder, and the checkpoints are to be '
            'in it: see that what it leads to is there, or move it away'
        )
    return soundness.patiently(folder, lambda: os.listdir(folder))


def _is_step(name: str) -> bool:
    return name.isdecimal() and str(int(name)) == name
