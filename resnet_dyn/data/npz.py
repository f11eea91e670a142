"""The user's own images and labels, from one .npz file; what a run could not use is refused.

The file holds train_images, train_labels, test_images, test_labels: images (N, H, W, C) or
(N, H, W), uint8 or floating; or vectors (N, D), floating. Labels (N,) are the integers 0..K-1.
Images with the channels first, (N, C, H, W), have shapes that images with the channels last could
have, and would train as such: what looks like them (`_channels_first`) is refused.
"""

import logging
import os
import pathlib

import numpy as np

from resnet_dyn import config, errors
from resnet_dyn.data import archive, splits

KEYS = ('train_images', 'train_labels', 'test_images', 'test_labels')
CHANNELS = 4  # of a picture, at the most: gray, RGB or RGBA
LOSS = 0.01  # of a standard deviation, by rounding to float32, that is too much
LIMIT = np.float32(2.0**125)  # so that differences are finite, and 1 / std is no denormal number


log = logging.getLogger(__name__)


def load(data: config.Data) -> splits.Pair:
    """Both splits of the file `data.dir`: uint8 stays, floating inputs become float32.

    Gray images (N, H, W) get a channel axis; the note is the file's name. Raises `DataError` for
    a file that is absent, damaged or no .npz, a missing array, shapes, dtypes or lengths that do
    not fit, channels first, NaN or Inf, numbers that float32 cannot tell apart, and labels other
    than 0..K-1 with each of them in the training set. More channels than pictures have are said.
    """
    if data.dir is None:
        raise errors.DataError('config.data.name=npz needs config.data.dir=<the .npz file>')
    path = pathlib.Path(os.path.expanduser(data.dir))
    arrays = _read(path)
    train, test = (
        splits.Split(
            _inputs(f'{path}: {name}_images', arrays[f'{name}_images']),
            _labels(f'{path}: {name}_labels', arrays[f'{name}_labels']),
        )
        for name in ('train', 'test')
    )
    _check_agreement(path, train, test)
    _say_channels(path, train.inputs.shape)
    classes = _classes(path, train.labels, test.labels)
    train, test = (s._replace(labels=s.labels.astype(np.int32)) for s in (train, test))
    return splits.Pair(train, test, classes, path.name)


def _read(path: pathlib.Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise errors.DataError(
            f'there is no file {path} (config.data.dir): it must be a .npz file with the arrays '
            f'{", ".join(KEYS)}, as np.savez writes it'
        )
    recipe = f'np.savez(path, {", ".join(f"{key}=..." for key in KEYS)})'
    try:
        return archive.read(path, KEYS)
    except errors.DataError as error:
        raise errors.DataError(f'{error}; write it by {recipe}') from error
    except OSError as error:
        raise errors.DataError(
            f'{path} cannot be read ({errors.reason(error)}): see to its permissions and its disk'
        ) from error


def _inputs(name: str, inputs: np.ndarray) -> np.ndarray:
    if inputs.ndim not in (2, 3, 4) or inputs.size == 0:
        raise errors.DataError(
            f'{name} has the shape {inputs.shape}: it must be (N, H, W, C), (N, H, W) or (N, D), '
            'with no axis of length 0'
        )
    floating = np.issubdtype(inputs.dtype, np.floating)
    if not floating and (inputs.dtype != np.uint8 or inputs.ndim == 2):
        raise errors.DataError(
            f'{name} is {inputs.dtype} of shape {inputs.shape}: images must be uint8 or floating, '
            'vectors (N, D) floating; convert them by .astype(np.uint8) if all values are whole '
            'and in 0..255, else by .astype(np.float32)'
        )
    if floating:
        inputs = _as_float32(name, inputs)
    if _channels_first(inputs.shape):
        raise errors.DataError(
            f'{name} has the shape {inputs.shape}, which looks like channels first (N, C, H, W), '
            'and the channels must come last: write images.transpose(0, 2, 3, 1). If they are '
            f'{inputs.shape[1]} pixels high and have {inputs.shape[3]} channels, lay them on their '
            'side: images.transpose(0, 2, 1, 3)'
        )
    return inputs[..., None] if inputs.ndim == 3 else inputs


def _as_float32(name: str, inputs: np.ndarray) -> np.ndarray:
    bad = ~((inputs >= -LIMIT) & (inputs <= LIMIT))
    if bad.any():
        at = tuple(map(int, np.argwhere(bad)[0]))
        raise errors.DataError(
            f'{name} has {np.count_nonzero(bad):,} of {inputs.size:,} values that are NaN, Inf or '
            f'beyond {LIMIT:.2g}, too near the end of float32; the first is {inputs[at]} at {at}: '
            'remove those examples, or put numbers in their place'
        )
    rounded = inputs.astype(np.float32, copy=False)
    if inputs.dtype.itemsize > rounded.dtype.itemsize:
        _check_rounding(name, inputs, rounded)
    return rounded


def _check_rounding(name: str, inputs: np.ndarray, rounded: np.ndarray) -> None:
    """DataError where a feature or channel, or a gray image, has another std in float32.

    Of what varies by rounding alone in its own dtype nothing can be lost.
    """
    axes = tuple(range(inputs.ndim - 1)) if inputs.ndim != 3 else (0, 1, 2)
    first = inputs[(slice(1),) * inputs.ndim] if inputs.ndim == 3 else inputs[(0,) * len(axes)]
    exact, found = ((a - first).std(axes, dtype=np.float64) for a in (inputs, rounded))
    noise = 1e-13 * np.abs(inputs).max(axes)
    bad = np.flatnonzero((exact > noise) & (np.abs(found - exact) > LOSS * exact))
    if bad.size:
        of = f' of its channel or feature {bad[0]}' if np.ndim(exact) else ''
        one, other = (np.ravel(std)[bad[0]] for std in (exact, found))
        raise errors.DataError(
            f'{name} is {inputs.dtype}, and float32, in which networks compute, cannot tell its '
            f'values apart: the standard deviation{of} is {one:.3g}, rounded {other:.3g}. Subtract '
            'the mean first, of train_images from both parts, and divide by the standard deviation'
        )


def _say_channels(path: pathlib.Path, shape: tuple[int, ...]) -> None:
    if len(shape) == 4 and shape[-1] > CHANNELS:
        log.warning(
            '%s: images of %d x %d pixels with %d channels, which come last: if that is not what '
            'they are, write images.transpose(0, 2, 3, 1)',
            path,
            *shape[1:],
        )


def _channels_first(shape: tuple[int, ...]) -> bool:
    """Whether (N, A, B, C) are pictures (N, channels, height, width).

    A is a number of channels that pictures have, 1 to 4; B and C are more, and neither is more
    than twice the other. Read with the channels last they would be A <= 4 pixels high, longer, and
    have as many channels as pixels along: feature maps of that shape may exist, pictures do not.
    """
    if len(shape) != 4:
        return False
    _, first, *rest = shape
    return first <= CHANNELS < min(rest) and max(rest) <= 2 * min(rest)


def _labels(name: str, labels: np.ndarray) -> np.ndarray:
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise errors.DataError(
            f'{name} is {labels.dtype} of shape {labels.shape}: it must be integers of shape (N,); '
            'one-hot labels become that by .argmax(-1), a column of them by [:, 0], whole numbers '
            'by .astype(np.int32), names by np.unique(names, return_inverse=True)[1]'
        )
    if labels.size and labels.min() < 0:
        raise errors.DataError(
            f'{name} has the label {labels.min()}: labels must be 0..K-1; remove the examples '
            'without a label, and number the classes from 0'
        )
    return labels


def _check_agreement(path: pathlib.Path, train: splits.Split, test: splits.Split) -> None:
    for name, split in (('train', train), ('test', test)):
        if len(split.inputs) != len(split.labels):
            raise errors.DataError(
                f'{path}: {len(split.inputs)} {name}_images but {len(split.labels)} '
                f'{name}_labels: every image needs one label'
            )
    one, other = ((split.inputs.shape[1:], split.inputs.dtype) for split in (train, test))
    if one != other:
        raise errors.DataError(
            f'{path}: an example of train_images is {one[1]} of shape {one[0]}, one of '
            f'test_images {other[1]} of shape {other[0]}: they must be the same'
        )


def _classes(path: pathlib.Path, train_labels: np.ndarray, test_labels: np.ndarray) -> int:
    present = np.unique(train_labels)
    classes = len(present)
    recipe = 'renumber them by np.unique(labels, return_inverse=True)[1]'
    if present[-1] != classes - 1:
        raise errors.DataError(
            f'{path}: train_labels has {classes} different labels from {present[0]} to '
            f'{present[-1]}: labels must be 0..K-1 with each of them there; {recipe}'
        )
    if test_labels.max() >= classes:
        raise errors.DataError(
            f'{path}: test_labels has the label {test_labels.max()}, and train_labels only '
            f'0..{classes - 1}: both must have the same classes; {recipe} of both together'
        )
    if classes < 2:
        raise errors.DataError(f'{path}: train_labels has one class alone: a task needs two')
    return classes
