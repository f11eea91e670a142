"""Labelled examples: the type that every data set is made of, and the choice of a part of them."""

from typing import NamedTuple

import numpy as np

SUBSET_STREAM = 1


class Split(NamedTuple):
    """N labelled examples.

    inputs: (N, H, W, C), uint8 as decoded or float32, or (N, D) float32; labels: (N,) int32. Of
    sequences both are tokens, (N, T) int32.
    """

    inputs: np.ndarray
    labels: np.ndarray


class Pair(NamedTuple):
    """The two splits of a data set, its number of classes, and what must be said of its origin."""

    train: Split
    test: Split
    classes: int
    note: str = ''


class Unread:
    """N labels that nobody has read yet."""

    def __init__(self, size: int):
        self._size = size

    def __len__(self) -> int:
        return self._size


def subset(split: Split, size: int, seed: int) -> Split:
    """`size` examples of `split`, in their old order: those of `chosen`."""
    rows = chosen(split.labels, size, seed)
    return Split(split.inputs[rows], split.labels[rows])


def chosen(labels: np.ndarray | Unread, size: int, seed: int) -> np.ndarray:
    """The places of `size` of the labels, in order: a random choice, fixed by `seed`.

    Every class keeps its share to within one example, where labels are known and one an example,
    and a smaller choice is part of a larger one of the same seed.
    """
    shuffled = np.random.default_rng([seed, SUBSET_STREAM]).permutation(len(labels))
    if isinstance(labels, Unread) or np.ndim(labels) > 1:
        return np.sort(shuffled[:size])
    by_class = shuffled[np.argsort(labels[shuffled], kind='stable')]
    counts = np.bincount(labels)
    first = np.cumsum(counts) - counts
    place = np.empty(len(labels))
    place[by_class] = np.arange(len(labels)) - np.repeat(first, counts)
    # The i-th chosen of a class with n examples stands at (i + 1/2) / n of the whole.
    position = (place + 0.5) / counts[labels]
    return np.sort(shuffled[np.argsort(position[shuffled], kind='stable')][:size])
