"""Fields of frozen dataclasses: their help, range and use with others, said once and checked here.

The config of a run is a tree of such dataclasses (`config`), the options of a measure are one
(`analysis`). Flags, `--help`, JSON and errors are all made of what a field says.
"""

import dataclasses
import difflib
import functools
import math
import numbers
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from resnet_dyn import errors

LARGEST = 2**63  # what whole numbers are below: programs and files hold them in 64 bits


def field(
    default,
    text,
    *,
    low=None,
    high=None,
    above=None,
    below=None,
    choices=None,
    neutral=False,
    only=None,
    preset=False,
    serves='equal',
):
    """A dataclass field with its help, its valid range, and whether it leaves the result alone.

    The range holds `low` and `high`, and neither `above` nor `below`, where they are given.
    `only` = (path, values): the field is of use where the field at that path has one of these
    values; elsewhere it stays at its default. A `preset` one may be left unset (None), and is
    filled in by what the others are. Of the options of a measure `serves` says which records serve
    one: of an `equal` value, of `more`, or of `any` (no number depends on it).
    """
    metadata = {
        'help': text,
        'low': low,
        'high': high,
        'above': above,
        'below': below,
        'choices': choices,
        'neutral': neutral,
        'only': only,
        'preset': preset,
        'serves': serves,
    }
    return dataclasses.field(default=default, metadata=metadata)


def preset(text, **metadata):
    """A field that others fill in where it is unset, as a family's own values do: see `field`."""
    return field(None, text, preset=True, **metadata)


class Leaf(typing.NamedTuple):
    """One field of a tree: its dotted path, plain type, whether None is allowed, its metadata."""

    path: str
    type: type
    optional: bool
    default: Any
    metadata: Mapping[str, Any]


def leaves(node: type, prefix: str = '') -> Iterator[Leaf]:
    """All fields of a tree of dataclasses in order, as `Leaf`s."""
    return iter(_leaves(node, prefix))


def get(tree, path: str) -> Any:
    """The value at a dotted path, as in `get(config, 'model.depth')`."""
    for name in path.split('.'):
        tree = getattr(tree, name)
    return tree


def build(node: type, values: Mapping[str, Any], prefix: str = ''):
    """A tree of the class `node` from a value for each of its leaves, by dotted path."""
    hints, made = typing.get_type_hints(node), {}
    for item in dataclasses.fields(node):
        path, hint = f'{prefix}{item.name}', hints[item.name]
        tree = dataclasses.is_dataclass(hint)
        made[item.name] = build(hint, values, f'{path}.') if tree else values[path]
    return node(**made)


def replace(tree, changes: Mapping[str, Any]):
    """A copy of `tree` with the values at dotted paths changed; nothing is checked here."""
    here, below = {}, {}
    for path, value in changes.items():
        name, _, rest = path.partition('.')
        if rest:
            below.setdefault(name, {})[rest] = value
        else:
            here[name] = value
    for name, values in below.items():
        here[name] = replace(getattr(tree, name), values)
    return dataclasses.replace(tree, **here)


def flatten(values: Mapping[str, Any], prefix: str = '') -> Iterator[tuple[str, Any]]:
    """(dotted path, value) of nested mappings, as JSON has them."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f'{prefix}{name}.')
        else:
            yield f'{prefix}{name}', value


def given(
    node: type, values: Mapping[str, Any], what: str = 'config', prefix: str = 'config.'
) -> dict[str, Any]:
    """The values that are set (not None), each of its leaf's type and in its range.

    ConfigError for a name that the tree of the class `node` lacks, with the nearest, and for a
    value of another type, off the list or out of range; `what` and `prefix` are how errors call
    the tree and its fields.
    """
    known = {leaf.path: leaf for leaf in leaves(node)}
    for path in values:
        if path not in known:
            raise errors.ConfigError(f'{what} has no field {path!r}{nearest(path, known)}')
    checked = {path: check(known[path], value, prefix) for path, value in values.items()}
    return {path: value for path, value in checked.items() if value is not None}


def check(leaf: Leaf, value: Any, prefix: str = '') -> Any:
    """The value as one of the leaf's type; ConfigError where it is none, or is out of range."""
    name, meta = f'{prefix}{leaf.path}', leaf.metadata
    if value is None:
        if leaf.optional:
            return None
        raise errors.ConfigError(
            f'{name} is unset, and it needs a value of type {leaf.type.__name__}'
        )
    value = _of_type(leaf, value, name)
    if meta['choices'] is not None and value not in meta['choices']:
        hint = nearest(str(value), meta['choices'])
        raise errors.ConfigError(f'{name}={value!r} is none of {", ".join(meta["choices"])}{hint}')
    if leaf.type in (int, float):
        _check_range(leaf, value, name)
    return value


def check_use(tree, prefix: str = '') -> None:
    """ConfigError for a field that is not at its default and has no use with the others."""
    for leaf in leaves(type(tree)):
        value, only = get(tree, leaf.path), leaf.metadata['only']
        if only is None or value == leaf.default or value is None:
            continue
        path, allowed = only
        if get(tree, path) not in allowed:
            raise errors.ConfigError(
                f'{prefix}{leaf.path}={value!r} has no use with '
                f'{prefix}{path}={get(tree, path)}: it is for {" and ".join(allowed)} alone. '
                f'Leave it out, or take another {prefix}{path}'
            )


def nearest(name: str, known) -> str:
    """The hint '; did you mean ...?' with the name of `known` that is most alike, or ''."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f'; did you mean {near[0]!r}?' if near else ''


_WORDS = {bool: 'true or false', int: 'a whole number', float: 'a number', str: 'a word'}
_ABSTRACT = {bool: bool, int: numbers.Integral, float: numbers.Real, str: str}


def _of_type(leaf: Leaf, value: Any, name: str) -> Any:
    right = isinstance(value, _ABSTRACT[leaf.type])
    if not right or (isinstance(value, bool) and leaf.type is not bool):
        raise errors.ConfigError(f'{name}={value!r} is not {_WORDS[leaf.type]}')
    try:
        return leaf.type(value)
    except OverflowError:  # of a whole number for which float has no place
        return math.inf


def _check_range(leaf: Leaf, value: float, name: str) -> None:
    if leaf.type is float and not math.isfinite(value):
        raise errors.ConfigError(f'{name}={value!r} is out of range: it must be a finite number')
    if leaf.type is int and abs(value) >= LARGEST:
        raise errors.ConfigError(f'{name} is out of range: it must be below 2^63')
    low, high, above, below = (leaf.metadata[word] for word in ('low', 'high', 'above', 'below'))
    opening = f'[{-math.inf if low is None else low}' if above is None else f'({above}'
    closing = f'{math.inf if high is None else high}]' if below is None else f'{below})'
    inside = (
        (low is None or low <= value)
        and (high is None or value <= high)
        and (above is None or above < value)
        and (below is None or value < below)
    )
    if not inside:
        raise errors.ConfigError(
            f'{name}={value!r} is out of range: it must be in {opening}, {closing}'
        )


@functools.cache  # types are read from their names, which is slow, and asked for often
def _leaves(node: type, prefix: str) -> tuple[Leaf, ...]:
    hints, found = typing.get_type_hints(node), []
    for item in dataclasses.fields(node):
        path = f'{prefix}{item.name}'
        if dataclasses.is_dataclass(hints[item.name]):
            found += _leaves(hints[item.name], f'{path}.')
            continue
        plain, optional = _plain_type(hints[item.name])
        optional |= item.metadata['preset']
        found.append(Leaf(path, plain, optional, item.default, item.metadata))
    return tuple(found)


def _plain_type(hint) -> tuple[type, bool]:
    if isinstance(hint, types.UnionType):
        return next(part for part in hint.__args__ if part is not types.NoneType), True
    return hint, False
