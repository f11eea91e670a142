"""Whether two values were made the same way: what functions that hold modules compare by.

A program is compiled for functions that compare equal. Modules that are made anew for each
checkpoint often hold partials, closures (initializers) and lists, which compare equal to themselves
alone; here they are equal where all that they were made of is.
"""

import dataclasses
import functools
import sys
import types
import weakref
from collections.abc import Mapping

import jax
import numpy as np

_PLACE = ('parent', 'name')  # of a Linen module: where it stands, not what it is


@dataclasses.dataclass(frozen=True, eq=False)
class Likeness:
    """What a value is made of: one object for all values that are made the same way."""

    key: tuple


_known: weakref.WeakValueDictionary[tuple, Likeness] = weakref.WeakValueDictionary()


def of(value) -> Likeness:
    """The likeness of a value, the same object while any other of it lives."""
    key = _key(value, ())
    return _known.setdefault(key, Likeness(key))


@dataclasses.dataclass(frozen=True, eq=False)
class _Itself:
    """What nothing but itself is like."""

    value: object

    def __eq__(self, other):
        return isinstance(other, _Itself) and self.value is other.value

    def __hash__(self):
        return id(self.value)


def _key(value, within: tuple):
    if any(value is outer for outer in within):
        return 'again', next(i for i, outer in enumerate(within) if outer is value)
    within, kind = (*within, value), type(value)

    def keys(values):
        return tuple(_key(v, within) for v in values)

    if isinstance(value, functools.partial):
        return kind, keys((value.func, value.args, value.keywords))
    if isinstance(value, types.FunctionType):
        cells = [_contents(cell) for cell in value.__closure__ or ()]
        made_of = keys((value.__defaults__, value.__kwdefaults__, cells, _around(value)))
        return kind, value.__module__, value.__qualname__, value.__code__, made_of
    if isinstance(value, types.MethodType):
        return kind, keys((value.__func__, value.__self__))
    if isinstance(value, Mapping):
        return 'mapping', frozenset((name, _key(item, within)) for name, item in value.items())
    if isinstance(value, tuple | list):
        return 'sequence', keys(value)
    if isinstance(value, np.ndarray) or _is_concrete(value):
        array = np.asarray(value)
        return kind, array.shape, str(array.dtype), array.tobytes()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [f.name for f in dataclasses.fields(value) if f.name not in _PLACE]
        return kind, tuple((name, _key(getattr(value, name, None), within)) for name in names)
    try:
        hash(value)
    except TypeError:
        return _Itself(value)
    return kind, value


def _around(function) -> dict:
    """What a function of a notebook names of it, where all may be written anew."""
    module = sys.modules.get(function.__module__)
    in_file = module is not None and module.__dict__ is function.__globals__
    if in_file and module.__name__ != '__main__':
        return {}
    names, codes = set(), [function.__code__]
    while codes:
        code = codes.pop()
        names.update(code.co_names)
        codes += [inner for inner in code.co_consts if isinstance(inner, types.CodeType)]
    known = function.__globals__
    return {name: known[name] for name in sorted(names) if name in known}


def _contents(cell):
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return None


def _is_concrete(value) -> bool:
    if not isinstance(value, jax.Array) or isinstance(value, jax.core.Tracer):
        return False
    return not jax.dtypes.issubdtype(value.dtype, jax.dtypes.prng_key)
