"""The user's own images and labels, from one .npz file; what a run could not use is refused.

The file holds train_images, train_labels, test_images, test_labels: images (N, H, W, C) or
(N, H, W), uint8 or floating; or vectors (N, D), floating. Labels (N,) are the integers 0..K-1.
"""

import pathlib
import zipfile

import numpy as np

from resnet_dyn import config
from resnet_dyn.data import splits

KEYS = ('train_images', 'train_labels', 'test_images', 'test_labels')


def load(data: config.Data) -> splits.Pair:
    """Both splits of the file `data.dir`: uint8 stays, floating inputs become float32.

    Gray images (N, H, W) get a channel axis. Raises `DataError` for a file that is absent or no
    .npz, a missing array, shapes, dtypes or lengths that do not fit, NaN or Inf, and labels other
    than 0..K-1 with each of them in the training set.
    """
    if data.dir is None:
        raise splits.DataError('config.data.name=npz needs config.data.dir=<the .npz file>')
    path = pathlib.Path(data.dir).expanduser()
    arrays = _read(path)
    train, test = (
        splits.Split(
            _inputs(f'{path}: {name}_images', arrays[f'{name}_images']),
            _labels(f'{path}: {name}_labels', arrays[f'{name}_labels']),
        )
        for name in ('train', 'test')
    )
    _check_agreement(path, train, test)
    classes = _classes(path, train.labels, test.labels)
    train, test = (s._replace(labels=s.labels.astype(np.int32)) for s in (train, test))
    return splits.Pair(train, test, classes)


def _read(path: pathlib.Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise splits.DataError(
            f'there is no file {path} (config.data.dir): it must be a .npz file with the arrays '
            f'{", ".join(KEYS)}, as np.savez writes it'
        )
    recipe = f'np.savez(path, {", ".join(f"{key}=..." for key in KEYS)})'
    try:
        with path.open('rb') as stream, np.load(stream, allow_pickle=False) as file:
            names = file.files
            arrays = {key: file[key] for key in KEYS if key in names}
    except (OSError, EOFError, ValueError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise splits.DataError(
            f'{path} cannot be read as a .npz file of plain arrays ({error}); write it by {recipe}'
        ) from error
    missing = [key for key in KEYS if key not in arrays]
    if missing:
        raise splits.DataError(
            f'{path} lacks {", ".join(missing)} and has {", ".join(names)}; write it by {recipe}'
        )
    return arrays


def _inputs(name: str, inputs: np.ndarray) -> np.ndarray:
    if inputs.ndim not in (2, 3, 4) or inputs.size == 0:
        raise splits.DataError(
            f'{name} has the shape {inputs.shape}: it must be (N, H, W, C), (N, H, W) or (N, D), '
            'with no axis of length 0'
        )
    floating = np.issubdtype(inputs.dtype, np.floating)
    if not floating and (inputs.dtype != np.uint8 or inputs.ndim == 2):
        raise splits.DataError(
            f'{name} is {inputs.dtype} of shape {inputs.shape}: images must be uint8 or floating, '
            'vectors (N, D) floating; convert them by .astype(np.uint8) if all values are whole '
            'and in 0..255, else by .astype(np.float32)'
        )
    if floating:
        with np.errstate(over='ignore'):
            inputs = inputs.astype(np.float32)
        bad = np.count_nonzero(~np.isfinite(inputs))
        if bad:
            raise splits.DataError(
                f'{name} has {bad:,} of {inputs.size:,} values that are NaN, Inf or beyond '
                'float32: remove those examples, or put numbers in their place'
            )
    return inputs[..., None] if inputs.ndim == 3 else inputs


def _labels(name: str, labels: np.ndarray) -> np.ndarray:
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise splits.DataError(
            f'{name} is {labels.dtype} of shape {labels.shape}: it must be integers of shape (N,); '
            'one-hot labels become that by .argmax(-1), whole numbers by .astype(np.int32)'
        )
    if labels.size and labels.min() < 0:
        raise splits.DataError(
            f'{name} has the label {labels.min()}: labels must be 0..K-1; remove the examples '
            'without a label, and number the classes from 0'
        )
    return labels


def _check_agreement(path: pathlib.Path, train: splits.Split, test: splits.Split) -> None:
    for name, split in (('train', train), ('test', test)):
        if len(split.inputs) != len(split.labels):
            raise splits.DataError(
                f'{path}: {len(split.inputs)} {name}_images but {len(split.labels)} '
                f'{name}_labels: every image needs one label'
            )
    one, other = ((split.inputs.shape[1:], split.inputs.dtype) for split in (train, test))
    if one != other:
        raise splits.DataError(
            f'{path}: an example of train_images is {one[1]} of shape {one[0]}, one of '
            f'test_images {other[1]} of shape {other[0]}: they must be the same'
        )


def _classes(path: pathlib.Path, train_labels: np.ndarray, test_labels: np.ndarray) -> int:
    present = np.unique(train_labels)
    classes = len(present)
    recipe = 'renumber them by np.unique(labels, return_inverse=True)[1]'
    if present[-1] != classes - 1:
        raise splits.DataError(
            f'{path}: train_labels has {classes} different labels from {present[0]} to '
            f'{present[-1]}: labels must be 0..K-1 with each of them there; {recipe}'
        )
    if test_labels.max() >= classes:
        raise splits.DataError(
            f'{path}: test_labels has the label {test_labels.max()}, and train_labels only '
            f'0..{classes - 1}: both must have the same classes; {recipe} of both together'
        )
    if classes < 2:
        raise splits.DataError(f'{path}: train_labels has one class alone: a task needs two')
    return classes
