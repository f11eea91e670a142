"""The front door to data: `load(config.data)` gives a data set as arrays, with where it is from.

Of a set that fits in memory the splits are arrays: the caller puts them on the devices once, and
each step takes its batch there (`batches`). Of a set that does not, like ImageNet, they are streams
(`streams.Examples`): batches read on the host as they are needed, and arrays that read what they
are indexed by. `load` is the place that chooses between the two, by the name.
"""

import hashlib
from typing import NamedTuple

import numpy as np

from resnet_dyn import config, errors
from resnet_dyn.data import digits, gaussians, images, labels, npz, splits, streams, text

Split = splits.Split
EXAMPLES = {'gaussians': 'examples', 'npz': 'examples', 'text': 'sequences'}  # else: images
BLOCK = 64
MODULES = {'gaussians': gaussians, 'digits': digits, 'npz': npz, 'text': text}  # else: images
SMALLEST = 2.0**-116  # of a std: XLA takes a float32 below 2^-126 for 0


class Source(NamedTuple):
    """Where a data set is from: its name, the SHA-256 of inputs and labels, and what to say of it.

    note: '' or words that belong beside every number, as 'JPEG copy, not the original images', or
    the name of the user's own file. The digest alone says whether two data sets are the same.
    """

    name: str
    digest: str
    note: str


class Dataset(NamedTuple):
    """A data set, in memory or as streams.

    mean, std: (C,) or (D,) float32, in units of the stored inputs, for `batches.normalise`; (0,) of
    tokens, which are taken as they are.
    """

    train: Split | streams.Examples
    test: Split | streams.Examples
    mean: np.ndarray
    std: np.ndarray
    classes: int
    source: Source


def examples_of(name: str) -> str:
    """What the examples of a data set are called."""
    return EXAMPLES.get(name, 'images')


def load(data: config.Data) -> Dataset:
    """The data set that `data` describes, as NumPy arrays on the host or as streams.

    `train_size` and `test_size` choose a part, in proportion to the classes and fixed by
    `data.seed` (`splits.subset`); `data` is filled in (`config.parse`). Mean and std are those of
    the chosen training inputs, per channel or feature; for gaussians 0 and sqrt(1 + separation^2),
    so that E x_i^2 = 1; for streams those of ImageNet; for text there are none. With `label_noise`
    the training labels of the chosen part are wrong at that share (`labels.with_noise`), and the
    digest is of those.
    Raises `DataError` if the data is absent, damaged, smaller than asked, or not to be augmented.
    """
    if data.name in config.STREAMED:
        return _streamed(data)
    module = MODULES.get(data.name, images)
    pair = module.load(data)
    if data.augment and pair.train.inputs.ndim != 4:
        raise errors.DataError(
            f'config.data.augment is for images alone, and {data.name} has vectors of '
            f'{pair.train.inputs.shape[-1]} features: leave it unset'
        )
    train = _part(data, 'train', pair.train, data.train_size)
    test = _part(data, 'test', pair.test, data.test_size)
    if data.label_noise:
        train = labels.with_noise(train, data.label_noise, pair.classes, data.seed)
    if data.name == 'text':
        mean = std = np.zeros(0, np.float32)
    elif data.name == 'gaussians':
        mean, std = gaussians.standardisation(data)
    else:
        mean, std = _moments(train.inputs)
    source = Source(data.name, _digest(train, test), pair.note)
    return Dataset(train, test, mean, std, pair.classes, source)


def is_streamed(dataset: Dataset) -> bool:
    """Whether the examples are read as they are needed."""
    return not isinstance(dataset.train, splits.Split)


def check_family(dataset: Dataset, family: str) -> None:
    """Raises `DataError` where networks of `family` cannot take the examples of a data set.

    Fully connected networks flatten images; convolutions need them.
    """
    shape = dataset.train.inputs.shape[1:]
    if family == 'transformer' or dataset.source.name == 'text':
        return  # either goes with the other alone, as the config says
    if family != 'fully_connected' and len(shape) != 3:
        raise errors.DataError(
            f'config.model.family={family} needs images (H, W, C), and an example of '
            f'{dataset.source.name} is of shape {shape}: take config.model.family=fully_connected, '
            'or images'
        )


def _streamed(data: config.Data) -> Dataset:
    train, test, classes = streams.load(data)
    for which, part, size in (('train', train, data.train_size), ('test', test, data.test_size)):
        _check_size(data, which, part.size, size)
    train, test = streams.part(train, data.train_size), streams.part(test, data.test_size)
    if data.label_noise:
        train = streams.with_noise(train, data.label_noise)
    source = Source(data.name, streams.digest(train, test), '')
    return Dataset(train, test, *streams.moments(), classes, source)


def _part(data: config.Data, which: str, split: Split, size: int | None) -> Split:
    there = len(split.labels)
    _check_size(data, which, there, size)
    return split if size in (None, there) else splits.subset(split, size, data.seed)


def _check_size(data: config.Data, which: str, there: int, size: int | None) -> None:
    if size is not None and size > there:
        raise errors.DataError(
            f'config.data.{which}_size={size} is more than the {there} {which} examples of '
            f'{data.name}: lower it, or leave it unset for all of them'
        )


def _moments(inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation along the last axis, (C,), (C,) float32; a constant's std is 1.

        mean = c + E(x - c),    std^2 = E(x - c)^2 - (E(x - c))^2,    c the first value

    in float64, in blocks that stay in the processor's cache. The sums are exact for uint8 and 0
    for a constant; c is one of the n values, so that std^2 >= (mean - c)^2 / n, and what cancels
    costs at most a factor n of the rounding, wherever the values lie. What varies by the last bit
    of float32 alone is a constant too, and so is what XLA would take for 0 (`SMALLEST`).
    """
    channels = inputs.shape[-1]
    origin = inputs.reshape(-1, channels)[0].astype(np.float64)
    first, second = np.zeros(channels), np.zeros(channels)
    for start in range(0, len(inputs), BLOCK):
        rows = inputs[start : start + BLOCK].reshape(-1, channels) - origin
        ones = np.ones(len(rows))
        first += ones @ rows
        second += ones @ np.square(rows)
    first, second = (total / (inputs.size // channels) for total in (first, second))
    mean = (origin + first).astype(np.float32)
    std = np.sqrt(np.maximum(second - first**2, 0))
    std[std <= np.maximum(np.spacing(np.abs(mean)) / 2, SMALLEST)] = 1.0
    return mean, std.astype(np.float32)


def _digest(train: Split, test: Split) -> str:
    total = hashlib.sha256()
    for array in (*train, *test):
        total.update(f'{array.dtype.str}{array.shape}'.encode())
        total.update(np.ascontiguousarray(array))
    return total.hexdigest()
