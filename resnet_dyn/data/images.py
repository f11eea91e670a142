"""CIFAR-10, CIFAR-100, SVHN and Fashion-MNIST, prepared by tensorflow-datasets as array_record.

They are read by the random-access data source of tfds, which needs no TensorFlow, decoded once by
Pillow, and kept in a cache under a digest of the record files (`prepared` finds them).
"""

import hashlib
import io
import logging
import os
import pathlib

import numpy as np

from resnet_dyn import config
from resnet_dyn.data import cache, prepared, splits

CHUNK = 4_096
MODES = {1: 'L', 3: 'RGB'}

log = logging.getLogger(__name__)


def load(data: config.Data) -> splits.Pair:
    """Both splits: images (N, H, W, C) uint8, labels (N,) int32.

    They are looked for in <dir>/<name>/<version>/, the newest version that is there as
    array_record; `dir` unset means $TFDS_DATA_DIR, or ~/tensorflow_datasets. The note says so if
    images are not the PNGs that tfds makes of these sets. Raises `DataError` if the set is absent,
    there in another file format alone, or damaged.
    """
    folder = prepared.find(data)
    with prepared.said_of(data.name, folder):
        sources, info = prepared.opened(folder, ('train', 'test'))
        files = [file for name in sources for file in info.splits[name].filepaths]
        digest = _digest(folder, files)
    kept = cache.path(data.cache, data.name, digest)
    pair = cache.read(kept)
    if pair is None:
        log.info('decoding %s, once', data.name)
        with prepared.said_of(data.name, folder):
            pair = _decode(sources, info.features)
        cache.write(kept, pair)
    return pair


def _digest(folder: pathlib.Path, files: list[os.PathLike]) -> str:
    """Of the content of the records, and of what says how to read them."""
    total = hashlib.sha256()
    for file in (folder / 'dataset_info.json', folder / 'features.json', *files):
        with open(file, 'rb') as stream:
            total.update(hashlib.file_digest(stream, 'sha256').digest())
    return total.hexdigest()


def _decode(sources: dict, features) -> splits.Pair:
    formats = set()
    shape = features['image'].shape
    with prepared.no_word_of_group_size():
        train, test = (_decode_split(sources[name], shape, formats) for name in ('train', 'test'))
    classes = features['label'].num_classes
    for name, labels in (('train', train.labels), ('test', test.labels)):
        if not len(labels):
            raise ValueError(f'there are no {name} examples')
        if labels.min() < 0 or labels.max() >= classes:
            wrong = labels[(labels < 0) | (labels >= classes)][0]
            raise ValueError(f'a {name} label is {wrong}, and there are {classes} classes')
    copies = ', '.join(sorted(formats - {'PNG'}))
    note = f'{copies} copy, not the original images' if copies else ''
    return splits.Pair(train, test, classes, note)


def _decode_split(source, shape: tuple[int, int, int], formats: set[str]) -> splits.Split:
    """Decodes all records; adds the image formats met, told by their bytes, to `formats`."""
    from PIL import Image

    inputs = np.empty((len(source), *shape), np.uint8)
    labels = np.empty(len(source), np.int32)
    for start in range(0, len(source), CHUNK):
        examples = source.__getitems__(range(start, min(start + CHUNK, len(source))))
        for row, example in enumerate(examples, start):
            with Image.open(io.BytesIO(example['image'])) as image:
                formats.add(image.format)
                inputs[row] = np.asarray(image.convert(MODES[shape[-1]])).reshape(shape)
            labels[row] = example['label']
    return splits.Split(inputs, labels)
