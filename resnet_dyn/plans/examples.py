"""Data sets of zeros in the shapes of those that a config names: enough to compile for.

What is of a fixed size is known here and looked for nowhere; digits and the user's own are read.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from resnet_dyn import config
from resnet_dyn.data import datasets, splits

# shape of an image, classes, examples to train on and to test on
SETS = {
    'cifar10': ((32, 32, 3), 10, 50_000, 10_000),
    'cifar100': ((32, 32, 3), 100, 50_000, 10_000),
    'svhn_cropped': ((32, 32, 3), 10, 73_257, 26_032),
    'fashion_mnist': ((28, 28, 1), 10, 60_000, 10_000),
}
IMAGENET = (1_000, 1_281_167, 50_000)  # classes, examples to train on and to test on


@dataclasses.dataclass(frozen=True)
class Zeros:
    """A stream (`training.feed.Stream`) of zeros."""

    size: int
    shape: tuple[int, ...]
    dtype: Any = np.uint8

    @property
    def inputs(self) -> np.ndarray:
        """The examples, of no memory."""
        return np.broadcast_to(np.zeros((), self.dtype), (self.size, *self.shape))

    @property
    def labels(self) -> np.ndarray:
        """Their labels."""
        return np.broadcast_to(np.zeros((), np.int32), (self.size,))

    def batches(self, start: int, batch_size: int, rows: slice) -> Iterator[splits.Split]:
        """Without end."""
        while True:
            yield splits.Split(self.inputs[:batch_size][rows], self.labels[:batch_size][rows])

    def padded(self, batch_size: int, rows: slice) -> Iterator[splits.Split]:
        """As many as hold all."""
        for _ in range(0, self.size, batch_size):
            yield splits.Split(*(np.zeros((batch_size, *a.shape[1:]), a.dtype)[rows] for a in self))

    def sample(self, size: int, seed: int) -> splits.Split:
        """The first ones."""
        return splits.Split(self.inputs[:size], self.labels[:size])

    def __iter__(self):
        return iter((self.inputs, self.labels))


def of_config(data: config.Data) -> datasets.Dataset:
    """The data set of a config; zeros take no memory.

    DataError as in `datasets.load` where one that is read, digits or the user's own, is not there.
    """
    if data.name == 'imagenet2012':
        shape, (classes, train, test) = (data.image_size, data.image_size, 3), IMAGENET
        return _of(
            data.name,
            Zeros(data.train_size or train, shape),
            Zeros(data.test_size or test, shape),
            classes,
        )
    if data.name == 'gaussians':
        known = ((data.dimension,), data.classes, data.train_size, data.test_size)
    elif data.name in SETS:
        known = SETS[data.name]
    else:
        found = datasets.load(data)
        if not datasets.is_streamed(found):
            return found
        parts = [Zeros(one.size, tuple(one.inputs.shape[1:])) for one in (found.train, found.test)]
        return _of(data.name, *parts, found.classes)
    shape, classes, train, test = known
    dtype = np.float32 if data.name == 'gaussians' else np.uint8
    return _of(
        data.name,
        _split(data.train_size or train, shape, dtype),
        _split(data.test_size or test, shape, dtype),
        classes,
    )


def _of(name: str, train, test, classes: int) -> datasets.Dataset:
    zeros = np.zeros(train.inputs.shape[-1:], np.float32)
    return datasets.Dataset(train, test, zeros, zeros, classes, datasets.Source(name, '', ''))


def _split(size: int, shape: tuple[int, ...], dtype) -> splits.Split:
    inputs = np.broadcast_to(np.zeros((), dtype), (size, *shape))
    return splits.Split(inputs, np.broadcast_to(np.zeros((), np.int32), (size,)))
