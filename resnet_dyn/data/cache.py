"""A cache of decoded data sets: one uncompressed .npz file each, named by a digest of its source.

A file is written whole under another name and then renamed, so that readers and writers need no
lock; zip's checksums are checked on reading, and a file that fails them counts as absent and is
replaced. Without a folder that can be written, all works, only slower.
"""

import logging
import os
import pathlib
import uuid

import numpy as np

from resnet_dyn import errors
from resnet_dyn.data import archive, splits

FORMAT = 1  # part of every file's name: raise it when what is decoded or stored changes
KEYS = ('train_inputs', 'train_labels', 'test_inputs', 'test_labels', 'classes', 'note')

log = logging.getLogger(__name__)


def path(folder: str | None, name: str, key: str) -> pathlib.Path:
    """Where the data set of this key lies; `folder` None: $XDG_CACHE_HOME or ~/.cache."""
    base = os.environ.get('XDG_CACHE_HOME') or os.path.join(os.path.expanduser('~'), '.cache')
    home = pathlib.Path(folder or os.path.join(base, 'resnet_dyn'))
    return pathlib.Path(os.path.expanduser(home)) / f'{name}-{FORMAT}-{key[:24]}.npz'


def read(file: pathlib.Path) -> splits.Pair | None:
    """What `write` put there, or None if there is nothing, or nothing sound."""
    if not file.exists():
        return None
    try:
        *arrays, classes, note = archive.read(file, KEYS).values()
        return splits.Pair(
            splits.Split(*arrays[:2]), splits.Split(*arrays[2:]), int(classes), str(note)
        )
    except errors.DataError as error:
        said = str(error)
    except OSError as error:
        said = f'{file} cannot be read ({errors.reason(error)})'
    log.warning('the cache %s: decoding again', said)
    return None


def write(file: pathlib.Path, pair: splits.Pair) -> None:
    """Stores `pair`; if the folder cannot be written, says so and goes on."""
    part = file.with_name(f'.{file.name}.{uuid.uuid4().hex[:8]}.part')
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open('wb') as stream:
                np.savez(
                    stream,
                    train_inputs=pair.train.inputs,
                    train_labels=pair.train.labels,
                    test_inputs=pair.test.inputs,
                    test_labels=pair.test.labels,
                    classes=pair.classes,
                    note=pair.note,
                )
            part.replace(file)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        log.warning(
            'decoded images could not be kept in %s (%s): the next run decodes them again; '
            'config.data.cache names another folder',
            file.parent,
            error,
        )
