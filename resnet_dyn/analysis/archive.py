"""Where records of measures stand, and which of them serves what is asked for.

    records/<measure>[-network<s>]-<step>-<settings>.npz

Records of other settings live side by side: `settings` are eight hex digits of all that their
numbers depend on, but for the checkpoint of a run, whose record a new one replaces. What is asked
for is fixed in some of it (the networks, the data, what was given by hand) and a lower bound in the
rest (the default number of examples or draws): a dearer record serves, a cheaper one never replaces
it.
"""

import json
import pathlib
import re
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from resnet_dyn import errors, records

IDENTITY = ('networks', 'source')  # settings in which records of one table or picture agree

_STEP = re.compile(r'(\d{8,})[-.]')


class Wanted(NamedTuple):
    """The settings of a record that is asked for; those in `at_least` may be larger."""

    settings: Mapping[str, Any]
    at_least: frozenset[str] = frozenset()
    effort: tuple[str, ...] = ()  # settings of which more is dearer, the weightiest first

    def served_by(self, settings: Mapping[str, Any]) -> bool:
        """Whether a record of these settings is as good as the one asked for."""
        if set(settings) != set(self.settings):
            return False
        return all(
            settings[name] >= value if name in self.at_least else settings[name] == value
            for name, value in self.settings.items()
        )


class Found(NamedTuple):
    """A record and its provenance, in which `settings`, `effort` and `left_out` stand."""

    record: NamedTuple
    origin: dict[str, Any]

    @property
    def settings(self) -> dict[str, Any]:
        """All that its numbers depend on."""
        return self.origin.get('settings') or {}


def folder(workdir) -> pathlib.Path:
    """The folder of the records of a workdir."""
    return pathlib.Path(workdir) / 'records'


def path(workdir, name: str, step: int, settings: Mapping[str, Any], network: int | None = None):
    """The file of a record of these settings, of all networks or of the one at an index."""
    kept = {key: value for key, value in settings.items() if key != 'checkpoint'}
    digest = zlib.crc32(json.dumps(kept, sort_keys=True).encode())
    return folder(workdir) / f'{stem(name, network)}-{step:08d}-{digest:08x}.npz'


def find(
    workdir, name: str, kind: type, step: int, wanted: Wanted, network: int | None = None
) -> Found | None:
    """The dearest record that serves what is wanted; None where there is none."""
    serving = [
        found
        for found in _at(workdir, name, kind, step, network)
        if wanted.served_by(found.settings)
    ]
    return max(serving, key=_dearness, default=None)


def read(
    workdir,
    name: str,
    kind: type,
    network: int | None = None,
    like: Mapping[str, Any] | None = None,
) -> list[Found]:
    """The dearest record of each step in the order of the steps, whatever its settings.

    With the settings `like`, those alone that agree with it in networks and data (`IDENTITY`).
    """
    numbers = sorted({step for step, _ in _files(workdir, name, network)})
    dearest = []
    for step in numbers:
        found = [
            one
            for one in _at(workdir, name, kind, step, network)
            if like is None or all(one.settings.get(k) == like.get(k) for k in IDENTITY)
        ]
        dearest += [max(found, key=_dearness)] if found else []
    return dearest


def _at(workdir, name: str, kind: type, step: int, network: int | None) -> Iterator[Found]:
    """All records of a measure at a step, but for those that are damaged or of another version."""
    for there, file in _files(workdir, name, network):
        if there == step:
            try:
                yield Found(*records.load(file, kind))
            except errors.RecordError as error:
                if isinstance(error.__cause__, OSError):
                    raise


def _files(workdir, name: str, network: int | None) -> Iterator[tuple[int, pathlib.Path]]:
    """(step, file) of all records of a measure; names of earlier versions lack the settings."""
    begin, here = f'{stem(name, network)}-', folder(workdir)
    for file in sorted(here.iterdir()) if here.is_dir() else ():
        step = _STEP.match(file.name.removeprefix(begin))
        if file.name.startswith(begin) and file.suffix == '.npz' and step:
            yield int(step[1]), file


def stem(name: str, network: int | None = None) -> str:
    """How files of a measure begin: of all networks, or of the one at an index."""
    return name if network is None else f'{name}-network{network}'


def _dearness(found: Found) -> tuple:
    """More examples first, then more draws; statistics estimated, then the newest."""
    amounts = tuple(found.settings.get(name, 0) for name in found.origin.get('effort') or ())
    estimated = found.settings.get('statistics') != 'running'
    return amounts, estimated, found.origin.get('date', '')
