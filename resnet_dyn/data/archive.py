"""Arrays of one .npz file, each read to its last byte, so that zip's checksum is always compared.

`np.load` reads no further than the header of an array says, and then nobody looks at the checksum:
a header that lost a bit would give fewer rows, or another dtype, without a word.
"""

import errno
import pathlib
import warnings
import zipfile
from collections.abc import Sequence

import numpy as np

from resnet_dyn import errors


def read(path: pathlib.Path, keys: Sequence[str]) -> dict[str, np.ndarray]:
    """The arrays `keys` of the .npz file `path`, sound.

    Raises OSError where the disk does not give the file, and `DataError` where the file is no
    .npz, is damaged, lacks an array, or holds one that only pickle could read; its text ends
    without a mend, which is the caller's to add.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _members(archive, keys)
    except Exception as error:  # zipfile, decompressors and NumPy raise anything on broken bytes
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        raise errors.DataError(
            f'{path} cannot be read as a .npz file of plain arrays ({errors.reason(error)})'
        ) from error


def _members(archive: zipfile.ZipFile, keys: Sequence[str]) -> dict[str, np.ndarray]:
    found = {name.removesuffix('.npy'): name for name in archive.namelist()}
    missing = [key for key in keys if key not in found]
    if missing:
        raise ValueError(f'it lacks {", ".join(missing)} and has {", ".join(found) or "nothing"}')
    return {key: _member(archive, found[key]) for key in keys}


def _member(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    with archive.open(name) as stream, warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of headers that look like Python 2: the checksum decides
        array = np.lib.format.read_array(stream, allow_pickle=False)
        if stream.read(1):  # at the end of a member, and only there, zipfile compares the checksum
            raise ValueError(f'{name} goes on behind its array')
    return array
