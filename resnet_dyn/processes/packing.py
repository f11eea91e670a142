"""Trees as bytes, to be sent to another process: JSON with arrays behind it, no pickles.

8 bytes, length of the JSON   JSON, an array being {"#": [dtype, shape]}   the arrays' bytes
"""

import json
import math
from typing import Any

import ml_dtypes  # noqa: F401  NumPy then knows bfloat16 by its name
import numpy as np

_LENGTH = 8
_ARRAY = '#'


def packed(value: Any) -> bytes:
    """A tree of dicts by text, lists, tuples, arrays and what JSON can say, as bytes."""
    arrays: list[np.ndarray] = []
    text = json.dumps(_plain(value, arrays)).encode()
    return b''.join((len(text).to_bytes(_LENGTH), text, *(array.tobytes() for array in arrays)))


def unpacked(data: bytes) -> Any:
    """The inverse of `packed`, but for tuples, which become lists."""
    start = _LENGTH + int.from_bytes(data[:_LENGTH])
    tree, _ = _filled(json.loads(data[_LENGTH:start]), data, start)
    return tree


def _plain(value: Any, arrays: list[np.ndarray]) -> Any:
    if isinstance(value, dict):
        return {name: _plain(item, arrays) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, arrays) for item in value]
    if hasattr(value, 'dtype'):
        array = np.asarray(value)
        arrays.append(array)
        name = array.dtype.str if array.dtype.kind == 'U' else array.dtype.name
        return {_ARRAY: [name, list(array.shape)]}
    return value


def _filled(tree: Any, data: bytes, start: int) -> tuple[Any, int]:
    """The tree with its arrays, which begin at `start`, and where they end."""
    if isinstance(tree, list):
        items = []
        for item in tree:
            item, start = _filled(item, data, start)
            items.append(item)
        return items, start
    if not isinstance(tree, dict):
        return tree, start
    if set(tree) == {_ARRAY}:
        name, shape = tree[_ARRAY]
        dtype, size = np.dtype(name), math.prod(shape)
        array = np.frombuffer(data, dtype, size, start).reshape(shape).copy()
        return array, start + array.nbytes
    made = {}
    for name, item in tree.items():
        made[name], start = _filled(item, data, start)
    return made, start
