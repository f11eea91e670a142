"""Image sets that are read as they are needed: ImageNet, and any tree with a folder a class.

Files are decoded, cropped and flipped on the host (`decoding`), ahead of the step that takes them
(`prefetch`), and leave it as uint8. All that is drawn is a function of where it is used:

    order of epoch e             permutation by default_rng([seed, ORDER_STREAM, e])
    crop and flip of example x   default_rng([seed, CROP_STREAM, e, x])

with the seed of the data, so that all networks of a run see the same. grain is given the numbers of
pieces of batches to make, and nothing else: a stream is begun at any step, with any number of
workers and of processes, and its batches are the same. No JAX here: workers import this.
"""

import concurrent.futures
import contextlib
import dataclasses
import functools
import hashlib
import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from resnet_dyn import config
from resnet_dyn.data import decoding, image_folder, imagenet, labels, prefetch, splits

ORDER_STREAM, CROP_STREAM = 3, 4
PIECE = 16  # examples that a worker decodes at a time: it ends within one
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, in units of 255

ALL = slice(None)


class Source(Protocol):
    """Encoded images with their labels, by number; pickled for the workers."""

    labels: np.ndarray | None  # (N,) int32; None where they are read with the images

    def __len__(self) -> int:
        """N."""

    def read(self, ids: Sequence[int]) -> Iterator[tuple[Any, int, str]]:
        """(path or file, label, name for errors) of each of these examples."""

    def update(self, digest) -> None:
        """What tells the source from others, into a digest of hashlib."""


@dataclasses.dataclass(frozen=True, eq=False)
class Examples:
    """A split as a stream (`training.feed.Stream`); as a `Split` its arrays are read when indexed.

    Batches are of crops at random where `augment` is true, elsewhere and all else is of the middle.
    """

    source: Source
    ids_N: np.ndarray  # of the chosen examples, in the source
    shifts_N: np.ndarray | None  # of labels that are wrong on purpose (`labels.shifts`)
    classes: int
    image_size: int
    augment: bool
    seed: int
    workers: int

    @property
    def size(self) -> int:
        """N."""
        return len(self.ids_N)

    @property
    def inputs(self) -> 'Inputs':
        """The images (N, H, W, 3) uint8, decoded when they are indexed."""
        return Inputs(self)

    @property
    def labels(self) -> 'np.ndarray | Labels':
        """The labels (N,) int32, those of records read when they are indexed."""
        if self.source.labels is None:
            return Labels(self)
        return self.shifted(self.source.labels[self.ids_N], np.arange(self.size))

    def batches(
        self, start: int, batch_size: int, rows: slice = ALL, workers: int | None = None
    ) -> Iterator[splits.Split]:
        """Those of the steps start, start + 1, .. without end; of each batch only these `rows`.

        Step t is batch t % (N // B) of epoch t // (N // B); the N % B examples that are left over
        sit the epoch out. Close it, or its workers go on waiting. Raises DataError for an image
        that is damaged, and where a worker process dies.
        """
        return self._read(Pieces(self, batch_size, rows, PIECE, epochs=True), start, None, workers)

    def padded(
        self, batch_size: int, rows: slice = ALL, workers: int | None = None
    ) -> Iterator[splits.Split]:
        """All examples once in their order; the last batch is filled up with zeros."""
        number = -(-self.size // batch_size)
        return self._read(Pieces(self, batch_size, rows, PIECE, epochs=False), 0, number, workers)

    def take(self, rows) -> splits.Split:
        """These examples as arrays in memory, decoded by threads; of their middle."""
        positions = np.arange(self.size)[rows]
        parts = [positions[i : i + PIECE] for i in range(0, len(positions), PIECE)]
        with concurrent.futures.ThreadPoolExecutor(prefetch.cores()) as pool:
            found = list(pool.map(self.decode, parts))
        if not found:
            return self.decode(positions)
        return splits.Split(*map(np.concatenate, zip(*found, strict=True)))

    def decode(self, positions: np.ndarray, epoch: int | None = None) -> splits.Split:
        """The examples at these places of the split; of an `epoch` by its crops if there are any.

        Places past the end are filled with zeros.
        """
        inside = positions[positions < self.size]
        inputs = np.zeros((len(positions), *[self.image_size] * 2, 3), np.uint8)
        found = np.zeros(len(positions), np.int32)
        reading = self.source.read(self.ids_N[inside])
        for row, (position, (file, label, name)) in enumerate(zip(inside, reading, strict=True)):
            if epoch is not None and self.augment:
                rng = np.random.default_rng([self.seed, CROP_STREAM, epoch, int(position)])
                inputs[row] = decoding.random_crop(file, self.image_size, rng, name)
            else:
                inputs[row] = decoding.centre(file, self.image_size, name)
            found[row] = label
        found[: len(inside)] = self.shifted(found[: len(inside)], inside)
        return splits.Split(inputs, found)

    def shifted(self, right: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """The labels that are seen of these places, where they are wrong on purpose."""
        if self.shifts_N is None:
            return right
        return labels.shifted(right, self.shifts_N[positions], self.classes)

    def _read(self, pieces: 'Pieces', start: int, number: int | None, workers: int | None):
        workers = self.workers if workers is None else workers
        each = pieces.of_a_batch
        found = prefetch.ahead(pieces, start * each, workers)
        with contextlib.closing(found):
            for _ in itertools.count() if number is None else range(number):
                batch = itertools.islice(found, each)
                yield splits.Split(*map(np.concatenate, zip(*batch, strict=True)))


class Pieces(NamedTuple):
    """The pieces of the batches of a stream by number: what workers are given to make."""

    examples: Examples
    batch_size: int
    rows: slice
    examples_each: int
    epochs: bool  # else the examples once, in their order

    @property
    def of_a_batch(self) -> int:
        """How many pieces make a batch."""
        return max(1, -(-len(range(self.batch_size)[self.rows]) // self.examples_each))

    def __call__(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        t, piece = divmod(number, self.of_a_batch)
        size, epoch = self.examples.size, None
        if self.epochs:
            epoch, t = divmod(t, size // self.batch_size)
        places = np.arange(t * self.batch_size, (t + 1) * self.batch_size)[self.rows]
        places = places[piece * self.examples_each : (piece + 1) * self.examples_each]
        if self.epochs:
            places = epoch_order(self.examples.seed, epoch, size)[places]
        return tuple(self.examples.decode(places, epoch))


class Inputs:
    """The inputs of a stream, (N, H, W, 3) uint8, as an array that reads what it is indexed by."""

    dtype, ndim = np.dtype(np.uint8), 4

    def __init__(self, examples: Examples):
        self._examples = examples
        self.shape = (examples.size, *[examples.image_size] * 2, 3)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows) -> np.ndarray:
        return self._examples.take(rows).inputs


class Labels(splits.Unread):
    """The labels of a stream, (N,) int32, where they are read with the images."""

    def __init__(self, examples: Examples):
        self._examples = examples

    def __len__(self) -> int:
        return self._examples.size

    def __getitem__(self, rows) -> np.ndarray:
        return self._examples.take(rows).labels


def load(data: config.Data) -> tuple[Examples, Examples, int]:
    """All training and all test examples that `data` names, and the number of classes.

    Raises DataError for data that are not there, or not as they should be.
    """
    module = {'image_folder': image_folder, 'imagenet2012': imagenet}[data.name]
    *sources, classes = module.load(data)
    workers = prefetch.default_workers() if data.workers is None else data.workers
    train, test = (
        Examples(
            source=source,
            ids_N=np.arange(len(source)),
            shifts_N=None,
            classes=classes,
            image_size=data.image_size,
            augment=data.augment,
            seed=data.seed,
            workers=workers,
        )
        for source in sources
    )
    return train, test, classes


def part(examples: Examples, size: int | None) -> Examples:
    """The stream of `size` of the examples, chosen as by `splits.chosen`; None: of all."""
    if size is None or size == examples.size:
        return examples
    rows = splits.chosen(examples.labels, size, examples.seed)
    return dataclasses.replace(examples, ids_N=examples.ids_N[rows])


def with_noise(examples: Examples, share: float) -> Examples:
    """The stream with a share of its labels wrong, as by `labels.with_noise`."""
    shifts_N = labels.shifts(examples.size, share, examples.classes, examples.seed)
    return dataclasses.replace(examples, shifts_N=shifts_N)


def digest(*parts: Examples) -> str:
    """A SHA-256 of the names and sizes of files, of classes, and of which examples were chosen.

    Not of the bytes of images, which nobody would wait for.
    """
    total = hashlib.sha256()
    for one in parts:
        one.source.update(total)
        for array in (one.ids_N, one.shifts_N):
            if array is not None:
                total.update(f'{array.dtype.str}{array.shape}'.encode())
                total.update(array)
    return total.hexdigest()


def moments() -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of ImageNet's pixels, (3,), (3,) float32, taken for any tree."""
    return np.array(MEAN, np.float32) * 255, np.array(STD, np.float32) * 255


@functools.lru_cache(maxsize=2)
def epoch_order(seed: int, epoch: int, size: int) -> np.ndarray:
    """The order of an epoch: a permutation of 0..size-1, (size,) int64, not to be written to."""
    order = np.random.default_rng([seed, ORDER_STREAM, epoch]).permutation(size)
    order.flags.writeable = False
    return order
