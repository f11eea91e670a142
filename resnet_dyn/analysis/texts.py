"""Sequences of tokens for a published network: cut from a text, a line each, or given as numbers.

    a text      pieces of one length that follow on one another, at random places that do not
                overlap; what the tokenizer puts around a text stands around each
    its lines   a sequence each, cut at the length, filled up at the end
    an array    (N,) is a text, (N, T) are sequences, where -1 at the end is no token

Places and lines are chosen by a seed and stand in the order of the text.
"""

import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from resnet_dyn import errors


class Sequences(NamedTuple):
    """B sequences of at most T tokens."""

    tokens_BT: np.ndarray  # int32; 0 where there is none
    mask_BT: np.ndarray  # False where there is none: at the end of a sequence
    source: str  # of what they are, for people


def default() -> tuple[str, str]:
    """A text that is there offline wherever Python is, and what it is."""
    from pydoc_data import topics

    text = '\n\n'.join(topics.topics[name] for name in sorted(topics.topics))
    return text, "Python's own documentation (pydoc_data.topics)"


def read(path) -> str:
    """The text of a file in UTF-8; DataError where there is none."""
    try:
        return pathlib.Path(path).expanduser().read_text(encoding='utf-8')
    except (OSError, UnicodeDecodeError) as error:
        raise errors.DataError(
            f'{path} cannot be read as a text ({errors.reason(error)}): give a file of plain text '
            'in UTF-8'
        ) from error


def of_text(tokenizer: Any, text: str, source: str, number: int, length: int, seed: int = 0):
    """`Sequences` of `length` tokens, special ones included, from a text by its tokenizer.

    Fewer than `number` where the text has no more; DataError where it has none.
    """
    tokenizer = _plain(tokenizer)
    before, after = _around(tokenizer)
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    return of_stream(ids, source, number, length, seed, before, after)


def of_stream(
    ids: Sequence[int],
    source: str,
    number: int,
    length: int,
    seed: int = 0,
    before: Sequence[int] = (),
    after: Sequence[int] = (),
) -> Sequences:
    """`Sequences` cut from one long row of tokens."""
    ids = np.asarray(ids, np.int64)
    piece = length - len(before) - len(after)
    there = len(ids) // piece if piece > 0 else 0
    if not there:
        raise errors.DataError(
            f'{source} has {len(ids):,} tokens, and a sequence of {length} needs '
            f'{max(piece, 1)} of them: give a longer text, or a smaller --length'
        )
    number = min(number, there)
    random = np.random.default_rng(seed)
    start = random.integers(len(ids) - there * piece + 1)
    slots = np.sort(random.choice(there, number, replace=False))
    pieces = ids[start + slots[:, None] * piece + np.arange(piece)]
    around = (np.broadcast_to(np.array(x, np.int64), (number, len(x))) for x in (before, after))
    first, last = around
    tokens_BT = np.concatenate([first, pieces, last], 1).astype(np.int32)
    return Sequences(tokens_BT, np.ones(tokens_BT.shape, bool), source)


def of_lines(tokenizer: Any, text: str, source: str, number: int, length: int, seed: int = 0):
    """`Sequences` of the lines of a text that are not blank, each cut at `length` tokens."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise errors.DataError(f'{source} has no line that is not blank: give a text with lines')
    chosen = _chosen(len(lines), number, seed)
    tokenizer = _plain(tokenizer)
    tokenizer.enable_truncation(length)
    rows = [tokenizer.encode(lines[i]).ids for i in chosen]
    return _filled([row for row in rows if row], f'lines of {source}')


def of_file(path, number: int, length: int | None = None, seed: int = 0) -> Sequences:
    """`Sequences` of a .npy file of whole numbers, (N,) or (N, T), -1 at the end no token."""
    try:
        array = np.load(pathlib.Path(path).expanduser(), allow_pickle=False)
    except (OSError, ValueError) as error:
        raise errors.DataError(
            f'{path} cannot be read as an array ({errors.reason(error)}): give a .npy file of '
            'whole numbers, (N,) or (N, T)'
        ) from error
    if (
        not isinstance(array, np.ndarray)
        or array.dtype.kind not in 'iu'
        or array.ndim not in (1, 2)
    ):
        said = f'{array.dtype} {array.shape}' if isinstance(array, np.ndarray) else 'an archive'
        raise errors.DataError(
            f'{path} holds {said}: tokens are whole numbers, (N,) as one long text or (N, T)'
        )
    if array.ndim == 1:
        return of_stream(array, str(path), number, length or len(array), seed)
    if not array.size:
        raise errors.DataError(f'{path} holds no token, in shape {array.shape}')
    rows = array[_chosen(len(array), number, seed), :length].astype(np.int64)
    there = rows != -1
    if (there[:, 1:] & ~there[:, :-1]).any():
        raise errors.DataError(
            f'{path} has -1 between tokens: it says that there is none, and stands at the end of a '
            'sequence alone'
        )
    return _filled([row[mask] for row, mask in zip(rows, there, strict=True)], str(path))


def next_tokens(sequences: Sequences) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(tokens, mask, labels), all (B, T - 1): each token but the last, and the one behind it.

    Labels are -1 where none follows.
    """
    tokens_BT, mask_BT, _ = sequences
    labels_BT = np.where(mask_BT[:, 1:], tokens_BT[:, 1:], -1)
    # a token before padding is there, though nothing is asked behind it
    return tokens_BT[:, :-1], mask_BT[:, :-1], labels_BT


def _filled(rows: Sequence, source: str) -> Sequences:
    """Rows of several lengths as one array; DataError where none has two tokens."""
    longest = max(map(len, rows), default=0)
    if longest < 2:
        raise errors.DataError(f'{source}: no sequence has two tokens, so nothing can be asked')
    rows = [row for row in rows if len(row) > 1]
    tokens_BT = np.zeros((len(rows), longest), np.int32)
    mask_BT = np.zeros((len(rows), longest), bool)
    for b, row in enumerate(rows):
        tokens_BT[b, : len(row)], mask_BT[b, : len(row)] = row, True
    return Sequences(tokens_BT, mask_BT, source)


def said(tokens_BT, mask_BT, source: str) -> str:
    """How many sequences of how many tokens there are, for people."""
    number, longest = tokens_BT.shape
    lengths = f'{longest}' if mask_BT.all() else f'{mask_BT.sum(1).min()} to {longest}'
    return f'{number:,} sequences of {lengths} tokens of {source}'


def _chosen(there: int, number: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    return np.sort(random.choice(there, min(number, there), replace=False))


def _plain(tokenizer: Any) -> Any:
    """A copy that cuts and fills up nothing by itself."""
    copy = type(tokenizer).from_str(tokenizer.to_str())
    copy.no_truncation()
    copy.no_padding()
    return copy


def _around(tokenizer: Any) -> tuple[list[int], list[int]]:
    """What the tokenizer puts before and behind a text."""
    encoding = tokenizer.encode('a')
    special = np.array(encoding.special_tokens_mask, bool)
    ids, inner = np.array(encoding.ids), np.flatnonzero(~special)
    if not inner.size:
        return [], []
    return ids[: inner[0]].tolist(), ids[inner[-1] + 1 :].tolist()
