"""The file of a sweep: TOML whose one table says which values which fields of the config have.

    [grid]                               [list]
    "config.model.depth" = [4, 5]        "config.model.depth" = [4, 5]
    "config.seed" = [0, 1, 2]            "config.seed" = [0, 7]

A grid is all combinations, the last key changing first; a list goes side by side.
"""

import itertools
import math
import pathlib
import tomllib
from collections.abc import Mapping
from typing import Any

from resnet_dyn import config, errors, fields

KINDS = ('grid', 'list')
PREFIX = 'config.'
MOST = 10_000  # runs of a sweep

_EXAMPLE = '[grid], and below it a line such as "config.model.depth" = [4, 5]'


def read(path) -> list[dict[str, Any]]:
    """The fields that each run of a file has, by dotted path of the config, in its order.

    Every value is of its field's type and in its range. Raises ConfigError, naming the file and
    the key, for whatever else stands there.
    """
    path = pathlib.Path(path)
    tables = _parsed(path)
    there = [kind for kind in KINDS if kind in tables]
    for name in tables:
        if name not in KINDS:
            raise errors.ConfigError(f'{path} has {_stray(name, tables[name])}')
    if len(there) != 1:
        has = 'both [grid] and [list]' if there else 'neither [grid] nor [list]'
        mend = 'keep one of them' if there else f'it needs one, as in {_EXAMPLE}'
        raise errors.ConfigError(
            f'{path} has {has}: {mend} (grid: all combinations; list: side by side, all of one '
            'length)'
        )
    (kind,) = there
    if not isinstance(tables[kind], Mapping):
        raise errors.ConfigError(f'{path}: {kind} is no table, as in {_EXAMPLE}')
    columns = {}
    for key, values in tables[kind].items():
        try:
            columns[key.removeprefix(PREFIX)] = _column(key, values)
        except errors.ConfigError as error:
            raise errors.ConfigError(f'{path}, [{kind}]: {error}') from error
    if not columns:
        raise errors.ConfigError(f'{path}: [{kind}] is empty: give it a line as in {_EXAMPLE}')
    return _grid(path, columns) if kind == 'grid' else _side_by_side(path, columns)


def _parsed(path: pathlib.Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_bytes().decode())
    except FileNotFoundError:
        raise errors.ConfigError(
            f'there is no file {path}: --sweep names a file of TOML with {_EXAMPLE}'
        ) from None
    except OSError as error:
        raise errors.ConfigError(
            f'{path} cannot be read ({error}): --sweep names a file of TOML'
        ) from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise errors.ConfigError(
            f'{path} is no TOML ({errors.reason(error)}): mend that line; the whole file may be '
            f'{_EXAMPLE}'
        ) from error


def _stray(name: str, value: Any) -> str:
    """What stands at the top of a file and is no table of a sweep."""
    if isinstance(value, Mapping):
        return (
            f'the table [{name}], and a sweep has [grid] or [list], with keys below it, in quotes, '
            f'as in "config.model.depth" = [4, 5]{fields.nearest(name, KINDS)}'
        )
    return f'{name!r} outside of a table: write [grid] or [list] above it'


def _column(key: str, values: Any) -> list[Any]:
    """The values of a key, each checked."""
    if isinstance(values, Mapping):
        nested = next((path for path, _ in fields.flatten(values, f'{key}.')), key)
        raise errors.ConfigError(
            f'{nested} has no quotes, and TOML makes nested tables of a key with dots: write '
            f'"{nested}" = [..]'
        )
    known = {f'{PREFIX}{leaf.path}': leaf for leaf in config.leaves()}
    if key not in known:
        word = key.lstrip('-')
        raise errors.ConfigError(
            f'there is no flag --{word} of a field of the config, and runs of a sweep differ in '
            f'nothing else{fields.nearest(word, known)}{" (keys have no dashes)" * (word != key)}'
        )
    if not isinstance(values, list):
        raise errors.ConfigError(
            f'{key} = {_said(values)} is no list: write [{_said(values)}], or leave it out and '
            f'give the flag --{key}={_said(values)}, which is for all runs'
        )
    if not values:
        raise errors.ConfigError(f'{key} = [] has no value: give it some, or leave it out')
    return [fields.check(known[key], value, PREFIX) for value in values]


def _grid(path: pathlib.Path, columns: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
    if (number := math.prod(map(len, columns.values()))) > MOST:
        raise errors.ConfigError(
            f'{path}: the grid has {number:,} runs, and a sweep has at most {MOST:,}: take fewer '
            'values, or [list]'
        )
    return [dict(zip(columns, row, strict=True)) for row in itertools.product(*columns.values())]


def _side_by_side(path: pathlib.Path, columns: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
    lengths = {key: len(values) for key, values in columns.items()}
    if len(set(lengths.values())) > 1:
        said = ', '.join(f'{PREFIX}{key} {length}' for key, length in lengths.items())
        raise errors.ConfigError(
            f'{path}, [list]: lists that go side by side are of one length, and these have {said} '
            'values: fill them up, or take [grid], which makes all combinations'
        )
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _said(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value).replace("'", '"')
