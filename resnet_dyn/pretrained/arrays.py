"""The arrays of a network, read from the safetensors files of its folder into their places.

Everything that can be wrong with names, shapes and dtypes is looked at in the headers, before an
array is read. A stacked array is allocated once and filled layer by layer, so that nothing is held
twice.
"""

import re
from typing import Any

import jax
import ml_dtypes
import numpy as np

from resnet_dyn import errors
from resnet_dyn.pretrained import layouts, leaves
from resnet_dyn.pretrained.reading import Folder, Tensor

DTYPES = {
    'BF16': np.dtype(ml_dtypes.bfloat16),
    'F16': np.dtype(np.float16),
    'F32': np.dtype(np.float32),
    'F64': np.dtype(np.float64),
}
PIECE = 1 << 24  # bytes that are read at once where an array is cast
ALIGNED = 64  # bytes: what is aligned so, JAX takes on a CPU without a copy


def read(source: Folder, layout: leaves.Layout, dtype=None):
    """The layout's tree with JAX's arrays for its leaves, of `dtype` or of that of the file.

    Raises PretrainedError, before anything is read, where tensors are missing, left over, or of
    another shape or dtype than can be.
    """
    found = _by_short_name(source, layout)
    tree = jax.tree.structure(layout.leaves)
    wanted = jax.tree.leaves(layout.leaves)
    _check_names(source, layout, found, wanted)
    _check_shapes(found, wanted)
    target = _dtype(source, [found[name] for leaf in wanted for name in leaf.names], dtype)
    for a, b in layout.equal:
        if a in found and b in found:
            _check_equal(found[a], found[b], a, b)
    arrays: dict[leaves.Leaf, Any] = {}
    for leaf in wanted:  # one that stands in several places is read once
        if leaf not in arrays:
            array = jax.device_put(_read_leaf(leaf, found, target))
            arrays[leaf] = array.block_until_ready()
    return jax.tree.unflatten(tree, [arrays[leaf] for leaf in wanted])


def _read_leaf(leaf: leaves.Leaf, found: dict[str, Tensor], dtype) -> np.ndarray:
    """One array, allocated once."""
    blank = np.broadcast_to(np.zeros((), dtype), leaf.shape)
    shape = leaves.taken(leaf, blank).shape
    array = _allocate((len(leaf.names), *shape) if leaf.stacked else shape, dtype)
    for i, name in enumerate(leaf.names):
        place = array[i] if leaf.stacked else array
        if leaf.take is None:
            _read_into(place, found[name])
        else:
            whole = np.empty(leaf.shape, dtype)
            _read_into(whole, found[name])
            place[...] = leaves.taken(leaf, whole)
    return array


def _read_into(place: np.ndarray, tensor: Tensor) -> None:
    """Fills a contiguous array with a tensor, cast piece by piece where the dtypes differ."""
    dtype, flat = DTYPES[tensor.dtype], place.reshape(-1)
    with tensor.path.open('rb') as file:
        file.seek(tensor.start)
        if dtype == place.dtype:
            _fill(file, flat, tensor)
            return
        step = PIECE // dtype.itemsize
        for start in range(0, flat.size, step):
            piece = np.empty(min(step, flat.size - start), dtype)
            _fill(file, piece, tensor)
            flat[start : start + step] = piece


def _fill(file, array: np.ndarray, tensor: Tensor) -> None:
    if file.readinto(array.view(np.uint8)) != array.nbytes:
        raise errors.PretrainedError(f'{tensor.path} ended while it was read: fetch it again')


def _allocate(shape: tuple[int, ...], dtype) -> np.ndarray:
    """An array that JAX takes on a CPU without a copy."""
    size = int(np.prod(shape)) * dtype.itemsize
    room = np.empty(size + ALIGNED, np.uint8)
    start = -room.ctypes.data % ALIGNED
    return room[start : start + size].view(dtype).reshape(shape)


def _by_short_name(source: Folder, layout: leaves.Layout) -> dict[str, Tensor]:
    """The tensors by their names without the prefix."""
    found, long = {}, {}
    for name, tensor in source.tensors.items():
        short = next((name.removeprefix(p) for p in layout.prefixes if name.startswith(p)), name)
        for pattern, other in layout.renames:
            short = re.sub(pattern, other, short)
        if short in found:
            raise errors.PretrainedError(
                f'{source.path} has {long[short]} and {name}, two tensors for one: it is not known '
                'which is meant'
            )
        found[short], long[short] = tensor, name
    return found


def _check_names(source: Folder, layout, found, wanted) -> None:
    names = {name for leaf in wanted for name in leaf.names}
    missing = sorted(names - set(found))
    passed = re.compile('|'.join(f'(?:{p})' for p in layout.passed_by) or r'(?!)')
    tied = {name for pair in layout.equal for name in pair}
    rest = sorted(n for n in set(found) - names - tied if not passed.fullmatch(n))
    if missing:
        raise errors.PretrainedError(
            f'{source.path} lacks {_some(missing)}, which a {layouts.kind(source.config)} of '
            'its config has'
            + (f'; it has {_some(rest)}, which is not needed' if rest else '')
            + '. The weights and config.json are of different networks, or the file was saved '
            'without them (a base model without its head, say)'
        )
    if rest:
        raise errors.PretrainedError(
            f'{source.path} has {_some(rest)}, which a {layouts.kind(source.config)} of its '
            'config does not have: without them it would be another network. The weights and '
            'config.json are of different networks, or it is a variant that needs an adapter: '
            'docs/pretrained.md, "How to write an adapter"'
        )


def _some(names: list[str]) -> str:
    more = f' and {len(names) - 3} more' if len(names) > 3 else ''
    return ', '.join(names[:3]) + more


def _check_shapes(found: dict[str, Tensor], wanted: list[leaves.Leaf]) -> None:
    for leaf in wanted:
        for name in leaf.names:
            if found[name].shape != leaf.shape:
                raise errors.PretrainedError(
                    f'{found[name].path}: {name} has shape {found[name].shape}, where config.json '
                    f'makes it {leaf.shape}: they are of different networks'
                )


def _dtype(source: Folder, tensors: list[Tensor], dtype) -> np.dtype:
    """The dtype that the arrays will have."""
    known = ', '.join(sorted(str(d) for d in DTYPES.values()))
    for tensor in tensors:
        if tensor.dtype not in DTYPES:
            raise errors.PretrainedError(
                f'{tensor.path} has weights of dtype {tensor.dtype}: expected one of {known}. '
                'Weights that were quantised, or packed in integers, are no longer those of the '
                'network: fetch the network that they were made from'
            )
    if dtype is None:
        kinds = sorted({tensor.dtype for tensor in tensors})
        if len(kinds) > 1:
            raise errors.PretrainedError(
                f'{source.path} has weights of several dtypes, {", ".join(kinds)}: say in which '
                "the network is to be, e.g. dtype='float32'"
            )
        target = DTYPES[kinds[0]]
    else:
        try:
            target = np.dtype(dtype)
        except TypeError as error:
            raise errors.PretrainedError(f'dtype={dtype!r}: expected one of {known}') from error
        if target not in DTYPES.values():
            raise errors.PretrainedError(f'dtype={dtype!r}: expected one of {known}')
    if target == np.float64 and not jax.config.jax_enable_x64:
        raise errors.PretrainedError(
            f'{source.path} in float64 needs JAX with 64 bits (JAX_ENABLE_X64=1): set that, or '
            "give dtype='float32'"
        )
    return target


def _check_equal(a: Tensor, b: Tensor, name: str, other: str) -> None:
    """That two tensors, tied by the config, hold the same."""
    one, two = (np.memmap(t.path, np.uint8, 'r', t.start, _bytes(t)) for t in (a, b))
    same = a.dtype == b.dtype and a.shape == b.shape and len(one) == len(two)
    if not same or any(
        not np.array_equal(one[i : i + PIECE], two[i : i + PIECE])
        for i in range(0, len(one), PIECE)
    ):
        raise errors.PretrainedError(
            f'{a.path}: config.json ties {name} and {other}, and they differ: it is not known '
            'which is meant. Set tie_word_embeddings to false in config.json if they are apart'
        )


def _bytes(tensor: Tensor) -> int:
    return int(np.prod(tensor.shape)) * DTYPES[tensor.dtype].itemsize
