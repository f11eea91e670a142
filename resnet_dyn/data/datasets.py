"""The front door to data: `load(config.data)` gives a data set as arrays, with where it is from.

A set that fits in memory is a `Dataset`: the caller puts its arrays on the devices once, and each
step takes its batch there (`batches`). A set that does not fit, like ImageNet, will come in here
as a second type beside `Dataset` with the same mean, std, classes and source, whose `train` and
`test` are functions of the first step that give an iterator of batches (`Split`s on the host).
`load` is the place that chooses between the two, by the name.
"""

import hashlib
from typing import NamedTuple

import numpy as np

from resnet_dyn import config
from resnet_dyn.data import digits, gaussians, images, npz, splits

DataError = splits.DataError
Split = splits.Split
BLOCK = 64
CONSTANT = 1e-12  # variance over squared mean: below it float32 inputs do not differ


class Source(NamedTuple):
    """Where a data set is from: its name, the SHA-256 of inputs and labels, and what to say of it.

    note: '' or words that belong beside every number, as 'JPEG copy, not the original images'.
    """

    name: str
    digest: str
    note: str


class Dataset(NamedTuple):
    """A data set in memory.

    mean, std: (C,) or (D,) float32, in units of the stored inputs, for `batches.normalise`.
    """

    train: Split
    test: Split
    mean: np.ndarray
    std: np.ndarray
    classes: int
    source: Source


def load(data: config.Data) -> Dataset:
    """The data set that `data` describes, as NumPy arrays on the host.

    `train_size` and `test_size` choose a part, in proportion to the classes and fixed by
    `data.seed` (`splits.subset`); `data` is filled in (`config.parse`). Mean and std are those of
    the chosen training inputs, per channel or feature; for gaussians 0 and sqrt(1 + separation^2),
    so that E x_i^2 = 1. Raises
    `DataError` if the data is absent, damaged, smaller than asked, or not to be augmented.
    """
    module = {'gaussians': gaussians, 'digits': digits, 'npz': npz}.get(data.name, images)
    pair = module.load(data)
    if data.augment and pair.train.inputs.ndim != 4:
        raise DataError(
            f'config.data.augment is for images alone, and {data.name} has vectors of '
            f'{pair.train.inputs.shape[-1]} features: leave it unset'
        )
    train = _part(data, 'train', pair.train, data.train_size)
    test = _part(data, 'test', pair.test, data.test_size)
    if data.name == 'gaussians':
        mean, std = gaussians.standardisation(data)
    else:
        mean, std = _moments(train.inputs)
    source = Source(data.name, _digest(train, test), pair.note)
    return Dataset(train, test, mean, std, pair.classes, source)


def _part(data: config.Data, which: str, split: Split, size: int | None) -> Split:
    there = len(split.labels)
    if size is None or size == there:
        return split
    if size > there:
        raise DataError(
            f'config.data.{which}_size={size} is more than the {there} {which} examples of '
            f'{data.name}: lower it, or leave it unset for all of them'
        )
    return splits.subset(split, size, data.seed)


def _moments(inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation along the last axis, (C,), (C,) float32; a constant's std is 1.

    Float64 sums of x and x^2, exact for uint8, in blocks that stay in the processor's cache.
    """
    channels = inputs.shape[-1]
    first, second = np.zeros(channels), np.zeros(channels)
    for start in range(0, len(inputs), BLOCK):
        rows = inputs[start : start + BLOCK].reshape(-1, channels).astype(np.float64)
        ones = np.ones(len(rows))
        first += ones @ rows
        second += ones @ np.square(rows)
    count = inputs.size // channels
    mean = first / count
    variance = second / count - mean**2
    varies = variance > CONSTANT * mean**2
    std = np.sqrt(variance, where=varies, out=np.ones(channels))
    return mean.astype(np.float32), std.astype(np.float32)


def _digest(train: Split, test: Split) -> str:
    total = hashlib.sha256()
    for array in (*train, *test):
        total.update(f'{array.dtype.str}{array.shape}'.encode())
        total.update(np.ascontiguousarray(array))
    return total.hexdigest()
