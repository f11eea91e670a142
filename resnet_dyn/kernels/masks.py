"""Sets of masks over L blocks: float32 arrays (M, L), 1 keeps a block, 0 deletes it.

In every name j counts *deleted* blocks. Blocks are numbered 0..L-1 from the input.
"""

import itertools
import math
from collections.abc import Sequence

import jax
import numpy as np

from resnet_dyn.models import stack as stack_lib

LARGEST = 2**24  # rows; 54 * 2^24 float32 are 3.6 GB


def single(L: int) -> np.ndarray:
    """All masks that delete one block, block i in row i; the full net has no row. (L, L)"""
    return exactly(L, 1)


def exactly(L: int, j: int) -> np.ndarray:
    """All C(L, j) masks that delete j blocks, in lexicographic order of the deleted blocks."""
    _check(L, j)
    rows = math.comb(L, j)
    _check_rows(rows, f'exactly(L={L}, j={j})')
    masks_ML = np.ones((rows, L), np.float32)
    for row, deleted in zip(masks_ML, itertools.combinations(range(L), j), strict=True):
        row[list(deleted)] = 0
    return masks_ML


def up_to(L: int, j: int) -> np.ndarray:
    """All masks that delete at most j blocks, the full net first."""
    _check(L, j)
    return np.concatenate([exactly(L, i) for i in range(j + 1)])


def all_masks(L: int) -> np.ndarray:
    """All 2^L masks: [i, l] = (i >> l) & 1, so row 0 deletes all and the last row keeps all."""
    _check(L)
    _check_rows(2**L, f'all_masks(L={L})')
    index_M1 = np.arange(2**L)[:, None]
    return ((index_M1 >> np.arange(L)) & 1).astype(np.float32)


def random(key, L: int, j: int, num: int, replace: bool = True) -> np.ndarray:
    """`num` masks that delete j blocks each, uniformly; without `replace`, all different."""
    _check(L, j)
    _check_rows(num, f'random(num={num})')
    generator = host_generator(key)
    if replace:
        return _delete_first(generator.random((num, L)), j)
    total = math.comb(L, j)
    if num > total:
        raise ValueError(f'num={num} different masks of L={L}, j={j}: there are only {total}')
    if total <= 4 * num or total <= 10_000:
        return exactly(L, j)[generator.permutation(total)[:num]]
    masks_ML = np.empty((0, L), np.float32)
    while len(masks_ML) < num:
        more = _delete_first(generator.random((num, L)), j)
        masks_ML = np.concatenate([masks_ML, more])
        _, first = np.unique(masks_ML, axis=0, return_index=True)
        masks_ML = masks_ML[np.sort(first)]
    return masks_ML[:num]


def bernoulli(key, L: int, keep: float, num: int) -> np.ndarray:
    """`num` masks whose blocks are kept independently with probability `keep`."""
    _check(L)
    _check_rows(num, f'bernoulli(num={num})')
    if not 0 <= keep <= 1:
        raise ValueError(f'keep={keep} is no probability: it must be in [0, 1]')
    return (host_generator(key).random((num, L)) < keep).astype(np.float32)


def of_groups(masks_MG, groups: Sequence[Sequence[int]], L: int) -> np.ndarray:
    """Masks over G groups of blocks (whole layers, say) as masks over the L blocks. (M, L)

    The blocks of a group have its gate; those of no group are kept. Raises UserError for groups
    that are empty, overlap or name blocks that are not there, ValueError for masks of another
    number of groups.
    """
    groups = stack_lib.checked_groups(groups, L)
    masks_MG = check(masks_MG, len(groups))
    masks_ML = np.ones((len(masks_MG), L), np.float32)
    for gates_M, group in zip(masks_MG.T, groups, strict=True):
        masks_ML[:, list(group)] = gates_M[:, None]
    return masks_ML


def runs(L: int, length: int) -> np.ndarray:
    """All masks that delete `length` adjacent blocks, by the first of them. (L - length + 1, L)"""
    _check(L, length)
    index = np.arange(L)
    start_M1 = np.arange(L - length + 1)[:, None]
    return (~((index >= start_M1) & (index < start_M1 + length))).astype(np.float32)


def from_names(names: Sequence[str], deleted: Sequence[Sequence[str]]) -> np.ndarray:
    """One mask for each list of names of blocks to delete; `names` are those of all L blocks.

    Two lists may be the same; within a list a name counts once. Raises ValueError for a name that
    no block has, or that two have.
    """
    names = list(names)
    _check(len(names))
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f'two blocks have the name {twice!r}: give every block one of its own')
    index = {name: block for block, name in enumerate(names)}
    masks_ML = np.ones((len(deleted), len(names)), np.float32)
    for row, wanted in zip(masks_ML, deleted, strict=True):
        if isinstance(wanted, str):
            raise ValueError(f'{wanted!r} is one name: give a list of names for each mask')
        if unknown := [name for name in wanted if name not in index]:
            raise ValueError(f'no block {unknown[0]!r}: the blocks are {", ".join(names)}')
        row[[index[name] for name in wanted]] = 0
    return masks_ML


def check(masks, L: int) -> np.ndarray:
    """Masks as an array (M, L) of finite numbers, else ValueError; one mask (L,) is a row."""
    try:
        masks_ML = np.asarray(masks)
    except ValueError:
        lengths = [np.size(mask) for mask in masks]
        raise ValueError(
            f'masks have rows of different lengths, {min(lengths)} to {max(lengths)}, and the net '
            f'has L={L} blocks: give (M, {L})'
        ) from None
    if masks_ML.ndim == 1:
        masks_ML = masks_ML[None]
    if masks_ML.ndim != 2 or masks_ML.shape[1] != L:
        raise ValueError(
            f'masks have shape {np.shape(masks)}, and the net has L={L} blocks: give (M, {L})'
        )
    masks_ML = masks_ML.astype(np.promote_types(masks_ML.dtype, np.float32))
    bad = np.flatnonzero(~np.isfinite(masks_ML).all(1))
    if bad.size:
        raise ValueError(f'mask {bad[0]} is not finite: {masks_ML[bad[0]].tolist()}')
    return masks_ML


def host_generator(key) -> np.random.Generator:
    """NumPy's generator seeded by a JAX key: draws of any shape, and nothing to compile."""
    return np.random.default_rng(np.asarray(jax.random.bits(key, (4,), 'uint32')))


def _delete_first(noise_ML: np.ndarray, j: int) -> np.ndarray:
    masks_ML = np.ones(noise_ML.shape, np.float32)
    deleted = np.argsort(noise_ML, axis=1)[:, :j]
    np.put_along_axis(masks_ML, deleted, 0, axis=1)
    return masks_ML


def _check(L: int, j: int = 0) -> None:
    if L < 1:
        raise ValueError(f'L={L}: a net needs at least 1 block')
    if not 0 <= j <= L:
        raise ValueError(f'{j} deleted blocks of L={L}: the number must be in [0, {L}]')


def _check_rows(rows: int, what: str) -> None:
    if not 0 <= rows <= LARGEST:
        raise ValueError(
            f'{what} has {rows} masks: the most that one array holds is {LARGEST}; take a sample '
            'by masks.random or masks.bernoulli'
        )
