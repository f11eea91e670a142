"""Folders of data sets that tensorflow-datasets prepared as array_record: found, opened, errors.

Nothing is ever downloaded: preparing a set needs TensorFlow, and `DataError` tells how to do it in
an environment of its own.
"""

import contextlib
import errno
import json
import logging
import os
import pathlib
import re
from collections.abc import Iterator, Sequence

from resnet_dyn import config, errors

FORMAT = 'array_record'
DAMAGE = (None, errno.EINVAL, errno.ENOENT, errno.ENOTDIR, errno.EISDIR)  # else it is the disk

_BY_HAND = {  # before a set can be prepared, with the folder of all sets
    'imagenet2012': 'put ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar, which ImageNet gives '
    'to those with an account, into {}/downloads/manual, then '
}


def find(data: config.Data) -> pathlib.Path:
    """<dir>/<name>/<version>/, the newest version that is there as array_record.

    `dir` unset means $TFDS_DATA_DIR, or ~/tensorflow_datasets. Raises DataError for none.
    """
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


@contextlib.contextmanager
def said_of(name: str, folder: pathlib.Path) -> Iterator[None]:
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
            f'{recipe(name, folder.parent.parent)}'
        ) from error


def opened(folder: pathlib.Path, parts: Sequence[str]):
    """The data sources of these splits by name, images as their bytes, and the `DatasetInfo`."""
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(folder)
    with no_word_of_group_size():
        sources = builder.as_data_source(
            {part: part for part in parts},
            decoders={'image': tfds.decode.SkipDecoding()},
            file_format=FORMAT,
        )
    return sources, builder.info


@contextlib.contextmanager
def no_word_of_group_size() -> Iterator[None]:
    """Keeps array_record from logging an ERROR about record groups, which slow shuffling alone."""

    def keep(record: logging.LogRecord) -> bool:
        return 'group size' not in record.getMessage()

    logger = logging.getLogger('absl')
    logger.addFilter(keep)
    try:
        yield
    finally:
        logger.removeFilter(keep)


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


def _absent(data: config.Data, root: pathlib.Path) -> str:
    where = (
        'config.data.dir is unset, so $TFDS_DATA_DIR or ~/tensorflow_datasets is taken'
        if data.dir is None
        else 'config.data.dir, the folder that holds the data sets'
    )
    return (
        f'there is no {data.name} in {root} ({where}): no '
        f'{root / data.name}/<version>/dataset_info.json. Nothing is downloaded here. If it is '
        f'elsewhere, set config.data.dir; else {recipe(data.name, root)}'
    )


def _wrong_format(name: str, folder: pathlib.Path) -> str:
    return (
        f'{name} in {folder} is there as {", ".join(_formats(folder))} alone, which cannot be read '
        f'without TensorFlow; here {FORMAT} is read. Convert it once, in an environment of its '
        f'own: {_environment("apache-beam")} && prepare/bin/python -c "from '
        'tensorflow_datasets.scripts.cli import convert_format_utils; '
        f"convert_format_utils.convert_dataset(dataset_version_dir='{folder}', out_dir=None, "
        f"out_file_format='{FORMAT}')\", which writes beside the old files; or remove it and "
        f'{recipe(name, folder.parent.parent)}'
    )


def recipe(name: str, root: pathlib.Path) -> str:
    """How a set is prepared."""
    by_hand = _BY_HAND.get(name, '').format(root)
    return (
        'prepare it once, on any machine with a network, in an environment of its own, because '
        f'that takes TensorFlow: {by_hand}{_environment("scipy")} && prepare/bin/python -c "import '
        f"tensorflow_datasets as tfds; tfds.builder('{name}', data_dir='{root}', "
        f"file_format='{FORMAT}').download_and_prepare()\"; a folder {name} prepared elsewhere "
        f'can be copied into {root}'
    )


def _environment(extra: str) -> str:
    packages = f'tensorflow tensorflow-datasets array_record importlib_resources {extra}'
    return f'python3 -m venv prepare && prepare/bin/pip install {packages}'
