"""Where records of measures stand, and which of them serves what is asked for.

    records/<measure>[-network<s>]-<step>-<settings>.npz

Records of other settings live side by side: `settings` are eight hex digits of all that their
numbers depend on beside the checkpoint. What is asked for is fixed in some of it (the checkpoint,
the data, what was given by hand) and a lower bound in the rest (the default number of examples or
draws): a dearer record serves, a cheaper one never replaces it.
"""

import json
import pathlib
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from resnet_dyn import errors, records


class Wanted(NamedTuple):
    """The settings of a record that is asked for; those in `at_least` may be larger."""

    settings: Mapping[str, Any]
    at_least: frozenset[str] = frozenset()

    def served_by(self, settings: Mapping[str, Any]) -> bool:
        """Whether a record of these settings is as good as the one asked for."""
        if set(settings) != set(self.settings):
            return False
        return all(
            settings[name] >= value if name in self.at_least else settings[name] == value
            for name, value in self.settings.items()
        )


class Found(NamedTuple):
    """A record and its provenance, in which `settings` and `left_out` stand."""

    record: NamedTuple
    origin: dict[str, Any]


def folder(workdir) -> pathlib.Path:
    """The folder of the records of a workdir."""
    return pathlib.Path(workdir) / 'records'


def path(workdir, name: str, step: int, settings: Mapping[str, Any], network: int | None = None):
    """The file of a record of these settings, of all networks or of the one at an index."""
    kept = {key: value for key, value in settings.items() if key != 'checkpoint'}
    digest = zlib.crc32(json.dumps(kept, sort_keys=True).encode())
    return folder(workdir) / f'{_stem(name, network)}-{step:08d}-{digest:08x}.npz'


def find(
    workdir, name: str, kind: type, step: int, wanted: Wanted, network: int | None = None
) -> Found | None:
    """The dearest record that serves what is wanted; None where there is none."""
    serving = [
        found
        for found in _at(workdir, name, kind, step, network)
        if wanted.served_by(found.origin.get('settings') or {})
    ]
    return max(serving, key=_dearness, default=None)


def read(workdir, name: str, kind: type, network: int | None = None) -> list[Found]:
    """The dearest record of each step, whatever its settings, in the order of the steps."""
    numbers = sorted({step for step, _ in _files(workdir, name, network)})
    every = (list(_at(workdir, name, kind, step, network)) for step in numbers)
    return [max(found, key=_dearness) for found in every if found]


def _at(workdir, name: str, kind: type, step: int, network: int | None) -> Iterator[Found]:
    """All records of a measure at a step that can be read."""
    for there, file in _files(workdir, name, network):
        if there == step:
            try:
                yield Found(*records.load(file, kind))
            except errors.RecordError:  # damaged, or of another version: made again where asked for
                continue


def _files(workdir, name: str, network: int | None) -> Iterator[tuple[int, pathlib.Path]]:
    """(step, file) of all records of a measure; names of earlier versions lack the settings."""
    begin, here = f'{_stem(name, network)}-', folder(workdir)
    for file in sorted(here.iterdir()) if here.is_dir() else ():
        step = file.name.removeprefix(begin)[:8]
        if file.name.startswith(begin) and file.suffix == '.npz' and step.isdecimal():
            yield int(step), file


def _stem(name: str, network: int | None) -> str:
    return name if network is None else f'{name}-network{network}'


def _dearness(found: Found) -> tuple:
    settings = found.origin.get('settings') or {}
    numbers = {k: v for k, v in settings.items() if isinstance(v, int) and k != 'checkpoint'}
    estimated = settings.get('statistics') != 'running'
    date = found.origin.get('date', '')
    return numbers.pop('examples', 0), sum(numbers.values()), estimated, date
