"""The manifest of a folder: the size and the CRC32 of every file, so that damage is seen.

A folder is *whole* when its manifest is there and every file that it lists has the recorded size:
that costs a stat a file. What is going to be read is checked by CRC32 as well. Only what is
missing, or disagrees, is damage: a disk that does not answer raises its OSError.
"""

import errno
import json
import pathlib
import stat
import zlib

NAME = 'manifest.json'

_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


def write(folder: pathlib.Path) -> None:
    """Writes the manifest of what `folder` holds now into it."""
    paths = [path for path in sorted(folder.rglob('*')) if path.is_file()]
    files = {
        path.relative_to(folder).as_posix(): {'size': path.stat().st_size, 'crc32': _crc32(path)}
        for path in paths
    }
    (folder / NAME).write_text(json.dumps({'files': files}, indent=1))


def incomplete(folder: pathlib.Path) -> str:
    """What keeps `folder` from being whole, in words; '' where nothing does."""
    try:
        for name, recorded in _read(folder).items():
            size = _size(folder / name)
            if size is None:
                return f'{name} is missing'
            if size != recorded['size']:
                return f'{name} has {size} bytes of {recorded["size"]}'
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return f'{NAME} is unreadable ({error})'
    except OSError as error:
        if error.errno in _NOT_THERE:
            return f'{NAME} is missing'
        raise
    return ''


def damaged(folder: pathlib.Path, below: str) -> str:
    """Which file below the sub-folder `below` of a whole folder has other bytes; '' for none."""
    for name, recorded in _read(folder).items():
        if name.startswith(f'{below}/') and _crc32(folder / name) != recorded.get('crc32'):
            return f'{name} fails its CRC32'
    return ''


def _read(folder: pathlib.Path) -> dict[str, dict[str, int]]:
    return json.loads((folder / NAME).read_bytes())['files']


def _size(path: pathlib.Path) -> int | None:
    """The size of a file; None where there is none."""
    try:
        found = path.stat()
    except OSError as error:
        if error.errno in _NOT_THERE:
            return None
        raise
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def _crc32(path: pathlib.Path) -> int:
    crc32 = 0
    with open(path, 'rb') as file:
        while chunk := file.read(1 << 20):
            crc32 = zlib.crc32(chunk, crc32)
    return crc32
