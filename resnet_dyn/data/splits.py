"""Labelled examples: the type that every data set is made of, and the choice of a part of them."""

from typing import NamedTuple

import numpy as np

SUBSET_STREAM = 1


class Split(NamedTuple):
    """N labelled examples.

    inputs: (N, H, W, C), uint8 as decoded or float32, or (N, D) float32; labels: (N,) int32.
    """

    inputs: np.ndarray
    labels: np.ndarray


class Pair(NamedTuple):
    """The two splits of a data set, its number of classes, and what must be said of its origin."""

    train: Split
    test: Split
    classes: int
    note: str = ''


def subset(split: Split, size: int, seed: int) -> Split:
    """`size` examples of `split`, in their old order: a random choice, fixed by `seed`.

    Every class keeps its share to within one example, and a smaller choice is part of a larger
    one of the same seed.
    """
    labels = split.labels
    shuffled = np.random.default_rng([seed, SUBSET_STREAM]).permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind='stable')]
    counts = np.bincount(labels)
    first = np.cumsum(counts) - counts
    place = np.empty(len(labels))
    place[by_class] = np.arange(len(labels)) - np.repeat(first, counts)
    # The i-th chosen of a class with n examples stands at (i + 1/2) / n of the whole.
    position = (place + 0.5) / counts[labels]
    rows = np.sort(shuffled[np.argsort(position[shuffled], kind='stable')][:size])
    return Split(split.inputs[rows], labels[rows])
