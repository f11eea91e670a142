"""What all figures have in common: what comes of one."""

import pathlib
from typing import NamedTuple


class Result(NamedTuple):
    """What came of it: whether all is done, the files, and the findings in words."""

    finished: bool
    files: tuple[pathlib.Path, ...] = ()
    findings: tuple[str, ...] = ()
    diverged: tuple[str, ...] = ()  # trainings of which networks are left out
