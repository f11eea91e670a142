"""The runs of a sweep: the config of each, and its folder, named by what differs and a hash.

    depth=4,seed=1-3f2a9c1b

The hash is of what decides the numbers of the run and of what the sweep varies, and it alone tells
which folder is whose: one that is there keeps its name when the file grows by values or keys.
"""

import functools
import hashlib
import json
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from resnet_dyn import config, errors

LONGEST = 120  # characters of what differs

_BAD = re.compile(r'[^\w.+=,-]+')
_DIGITS = 8


class Member(NamedTuple):
    """One run of a sweep."""

    name: str  # of its folder
    workdir: pathlib.Path
    config: config.Config
    values: dict[str, Any]  # what it was made of, by dotted path: the base's, then its own
    own: dict[str, Any]  # what the file says of it

    @property
    def log(self) -> pathlib.Path:
        """The file that has what its processes say."""
        return self.workdir.parent / 'logs' / f'{self.name}.log'

    @property
    def flags(self) -> list[str]:
        """The flags that make its config."""
        return [f'--config.{path}={value}' for path, value in self.values.items()]


def make(
    workdir: pathlib.Path, base: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
) -> list[Member]:
    """The runs of a sweep in `workdir`: `base` with each row of the file over it.

    ConfigError, saying which, for one that cannot be, and for two that are the same.
    """
    differ = [path for path in rows[0] if len({repr(row[path]) for row in rows}) > 1]
    there, members, seen = _there(workdir), [], {}
    for row in rows:
        values = {**base, **row}
        said = ', '.join(f'config.{path}={value}' for path, value in row.items())
        try:
            cfg = config.parse(values)
        except errors.ConfigError as error:
            raise errors.ConfigError(f'the run of {said}: {error}') from error
        digest = _digest(cfg, row)
        if digest in seen:
            raise errors.ConfigError(
                f'two runs of the sweep are the same, {seen[digest]} and {said}: leave one out'
            )
        seen[digest] = said
        name = there.get(digest) or f'{_title({path: row[path] for path in differ})}-{digest}'
        members.append(Member(name, workdir / name, cfg, values, dict(row)))
    return members


def _title(own: Mapping[str, Any]) -> str:
    """What differs in a word that can name a folder."""
    parts = (f'{_short(path)}={_word(value)}' for path, value in own.items())
    return _BAD.sub('_', ','.join(parts))[:LONGEST].rstrip('.') or 'run'


@functools.cache
def _short(path: str) -> str:
    """The end of a path that is no other field's."""
    others = [leaf.path.split('.') for leaf in config.leaves() if leaf.path != path]
    parts = path.split('.')
    length = 1
    while any(other[-length:] == parts[-length:] for other in others):
        length += 1
    return '.'.join(parts[-length:])


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return pathlib.PurePath(value).name if isinstance(value, str) else str(value)


def _digest(cfg: config.Config, own: Mapping[str, Any]) -> str:
    """Of the fields that are not as their line has them, so that a new field renames no run."""
    defaults = {leaf.path: leaf.default for leaf in config.leaves()}
    decides = config.deciding(cfg).items()
    chosen = {path: value for path, value in decides if value != defaults[path]}
    chosen |= {path: value for path, value in own.items() if not config.decides(path)}
    return hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()[:_DIGITS]


def _there(workdir: pathlib.Path) -> dict[str, str]:
    """The names of the folders that are there, by hash."""
    if not workdir.is_dir():
        return {}
    named = (path.name for path in sorted(workdir.iterdir()) if path.is_dir())
    return {name.rpartition('-')[2]: name for name in named}
