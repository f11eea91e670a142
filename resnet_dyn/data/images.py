"""CIFAR-10, CIFAR-100, SVHN and Fashion-MNIST, prepared by tensorflow-datasets as array_record.

They are read by the random-access data source of tfds, which needs no TensorFlow, decoded once by
Pillow, and kept in a cache under a digest of the record files. Nothing is ever downloaded:
preparing a set needs TensorFlow, and `DataError` tells how to do it in an environment of its own.
"""

import contextlib
import errno
import hashlib
import io
import json
import logging
import os
import pathlib
import re
from collections.abc import Iterator

import numpy as np

from resnet_dyn import config, errors
from resnet_dyn.data import cache, splits

FORMAT = 'array_record'
CHUNK = 4_096
DAMAGE = (None, errno.EINVAL, errno.ENOENT, errno.ENOTDIR, errno.EISDIR)  # else it is the disk
MODES = {1: 'L', 3: 'RGB'}

log = logging.getLogger(__name__)


def load(data: config.Data) -> splits.Pair:
    """Both splits: images (N, H, W, C) uint8, labels (N,) int32.

    They are looked for in <dir>/<name>/<version>/, the newest version that is there as
    array_record; `dir` unset means $TFDS_DATA_DIR, or ~/tensorflow_datasets. The note says so if
    images are not the PNGs that tfds makes of these sets. Raises `DataError` if the set is absent,
    there in another file format alone, or damaged.
    """
    folder = _find(data)
    with _said_of(data.name, folder):
        sources, info = _open(folder)
        files = [file for name in sources for file in info.splits[name].filepaths]
        digest = _digest(folder, files)
    kept = cache.path(data.cache, data.name, digest)
    pair = cache.read(kept)
    if pair is None:
        log.info('decoding %s, once', data.name)
        with _said_of(data.name, folder):
            pair = _decode(sources, info.features)
        cache.write(kept, pair)
    return pair


@contextlib.contextmanager
def _said_of(name: str, folder: pathlib.Path) -> Iterator[None]:
    """Whatever tfds, array_record and Pillow raise on a broken copy is said of the copy.

    What the disk refuses is said of the disk, and too little memory is no matter of the copy.
    """
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno not in DAMAGE:
            raise errors.DataError(
                f'{name} in {folder} cannot be read ({errors.reason(error)}): see to its '
                'permissions and its disk'
            ) from error
        raise errors.DataError(
            f'{name} in {folder} cannot be read ({errors.reason(error)}): the copy is not whole. '
            'Copy the folder again, or remove it and '
            f'{_recipe(name, folder.parent.parent)}'
        ) from error


def _open(folder: pathlib.Path):
    """The data sources of both splits by name, and the `DatasetInfo`."""
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(folder)
    sources = builder.as_data_source(
        {'train': 'train', 'test': 'test'},
        decoders={'image': tfds.decode.SkipDecoding()},
        file_format=FORMAT,
    )
    return sources, builder.info


def _find(data: config.Data) -> pathlib.Path:
    root = data.dir or os.environ.get('TFDS_DATA_DIR') or '~/tensorflow_datasets'
    root = pathlib.Path(os.path.expanduser(root))
    found = {}
    for file in root.glob(f'{data.name}/*/dataset_info.json'):
        if re.fullmatch(r'\d+\.\d+\.\d+', file.parent.name):
            found[tuple(map(int, file.parent.name.split('.')))] = file.parent
    folders = [found[version] for version in sorted(found, reverse=True)]
    for folder in folders:
        if FORMAT in _formats(folder):
            return folder
    if folders:
        raise errors.DataError(_wrong_format(data.name, folders[0]))
    raise errors.DataError(_absent(data, root))


def _formats(folder: pathlib.Path) -> list[str]:
    try:
        info = json.loads((folder / 'dataset_info.json').read_text())
        formats = [info.get('fileFormat', 'tfrecord'), *info.get('alternativeFileFormats', ())]
    except (OSError, ValueError, AttributeError, TypeError) as error:  # or it is JSON of no mapping
        raise errors.DataError(
            f'{folder}/dataset_info.json cannot be read ({errors.reason(error)}): copy the folder '
            'again'
        ) from error
    return list(map(str, formats))


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
    with _no_word_of_group_size():
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


@contextlib.contextmanager
def _no_word_of_group_size() -> Iterator[None]:
    """Keeps array_record from logging an ERROR about record groups, which slow shuffling alone."""

    def keep(record: logging.LogRecord) -> bool:
        return 'group size' not in record.getMessage()

    logger = logging.getLogger('absl')
    logger.addFilter(keep)
    try:
        yield
    finally:
        logger.removeFilter(keep)


def _absent(data: config.Data, root: pathlib.Path) -> str:
    where = (
        'config.data.dir is unset, so $TFDS_DATA_DIR or ~/tensorflow_datasets is taken'
        if data.dir is None
        else 'config.data.dir, the folder that holds the data sets'
    )
    return (
        f'there is no {data.name} in {root} ({where}): no '
        f'{root / data.name}/<version>/dataset_info.json. Nothing is downloaded here. If it is '
        f'elsewhere, set config.data.dir; else {_recipe(data.name, root)}'
    )


def _wrong_format(name: str, folder: pathlib.Path) -> str:
    return (
        f'{name} in {folder} is there as {", ".join(_formats(folder))} alone, which cannot be read '
        f'without TensorFlow; here {FORMAT} is read. Convert it once, in an environment of its '
        f'own: {_environment("apache-beam")} && prepare/bin/python -c "from '
        'tensorflow_datasets.scripts.cli import convert_format_utils; '
        f"convert_format_utils.convert_dataset(dataset_version_dir='{folder}', out_dir=None, "
        f"out_file_format='{FORMAT}')\", which writes beside the old files; or remove it and "
        f'{_recipe(name, folder.parent.parent)}'
    )


def _recipe(name: str, root: pathlib.Path) -> str:
    return (
        'prepare it once, on any machine with a network, in an environment of its own, because '
        f'that takes TensorFlow: {_environment("scipy")} && prepare/bin/python -c "import '
        f"tensorflow_datasets as tfds; tfds.builder('{name}', data_dir='{root}', "
        f"file_format='{FORMAT}').download_and_prepare()\"; a folder {name} prepared elsewhere "
        f'can be copied into {root}'
    )


def _environment(extra: str) -> str:
    packages = f'tensorflow tensorflow-datasets array_record importlib_resources {extra}'
    return f'python3 -m venv prepare && prepare/bin/pip install {packages}'
