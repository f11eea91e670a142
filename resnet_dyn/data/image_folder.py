"""A tree of image files with a folder a class: DIR/train/CLASS/*.jpg and DIR/val/CLASS/*.jpg.

The examples are those of torchvision's `ImageFolder`, in its order: classes sorted by name, below
each all files that end like an image, the folders within it too. What begins with a dot is left
out, and the classes of val are those of train. Files are listed with their sizes, not opened.
"""

import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from resnet_dyn import config, errors, fields
from resnet_dyn.data import decoding

ENDINGS = ('.jpg', '.jpeg', '.png', '.ppm', '.bmp', '.pgm', '.tif', '.tiff', '.webp')


class Folder(NamedTuple):
    """The image files of a split (`streams.Source`), small enough to be sent to every worker."""

    root: bytes
    names_N: np.ndarray  # bytes, below the root
    sizes_N: np.ndarray  # int64
    labels_N: np.ndarray  # int32

    def __len__(self) -> int:
        return len(self.names_N)

    @property
    def labels(self) -> np.ndarray:
        """The classes of all examples."""
        return self.labels_N

    def read(self, ids: Sequence[int]) -> Iterator[tuple[object, int, str]]:
        """The file, the label and the name of each of these examples."""
        for i in ids:
            path = os.fsdecode(os.path.join(self.root, self.names_N[i]))
            yield path, int(self.labels_N[i]), path

    def update(self, digest) -> None:
        """Names, sizes and classes of the files go into a digest."""
        for array in (self.names_N, self.sizes_N, self.labels_N):
            digest.update(f'{array.dtype.str}{array.shape}'.encode())
            digest.update(np.ascontiguousarray(array))


def load(data: config.Data) -> tuple[Folder, Folder, int]:
    """Both splits, train and val, and the number of classes.

    Raises DataError for a tree without one of them, a class without an image, a class of val that
    is none of train, an empty file, and what cannot be read.
    """
    root = pathlib.Path(os.path.expanduser(data.dir))
    train, val = (_part(root, part) for part in ('train', 'val'))
    classes = sorted(train)
    if len(classes) < 2:
        raise errors.DataError(
            f'{_shown(root / "train")} has one class, {_shown(classes[0])}: put a folder there for '
            'each of at least two'
        )
    if unknown := sorted(set(val) - set(train)):
        hint = fields.nearest(unknown[0], classes)
        raise errors.DataError(
            f'{_shown(root / "val" / unknown[0])} is a class that {_shown(root / "train")} has '
            f'not, which has {len(classes)}: name the classes of both alike, or remove it{hint}'
        )
    for name in classes:
        if not train[name]:
            raise errors.DataError(
                f'there is no image in {_shown(root / "train" / name)} (files that end in '
                f'{", ".join(ENDINGS)}): put the images of that class there, or remove the folder'
            )
    if not any(val.values()):
        raise errors.DataError(f'there is no image in {_shown(root / "val")}: put some there')
    return _folder(root, 'train', train, classes), _folder(root, 'val', val, classes), len(classes)


def _part(root: pathlib.Path, part: str) -> dict[str, list[tuple[str, int]]]:
    """The files of each class of train or val, with their sizes."""
    folder = root / part
    try:
        if not folder.is_dir():
            raise errors.DataError(_absent(root, part))
        names = [entry.name for entry in os.scandir(folder) if _counts(entry)]
        if not names:
            raise errors.DataError(
                f'there is no folder in {_shown(folder)}: it holds one a class, as in '
                f'{_shown(folder)}/cat/1.jpg'
            )
        return {name: list(_files(folder / name)) for name in names}
    except OSError as error:
        raise errors.DataError(
            f'{_shown(folder)} cannot be read ({decoding.printable(errors.reason(error))}): see to '
            'its permissions and its disk'
        ) from error


def _counts(entry: os.DirEntry) -> bool:
    return entry.is_dir() and not entry.name.startswith('.')


def _files(folder: pathlib.Path) -> Iterator[tuple[str, int]]:
    """The image files of a class by their paths within it, in torchvision's order."""

    def refuse(error: OSError):
        raise error

    for parent, _, names in sorted(os.walk(folder, onerror=refuse, followlinks=True)):
        below = os.path.relpath(parent, folder)
        if any(part.startswith('.') for part in below.split(os.sep) if part != '.'):
            continue
        for name in sorted(names):
            if name.startswith('.') or not name.lower().endswith(ENDINGS):
                continue
            path = os.path.join(parent, name)
            size = os.stat(path).st_size
            if not size:
                raise errors.DataError(
                    f'{_shown(path)} is empty: copy it again, or remove it before a run begins'
                )
            yield os.path.normpath(os.path.join(below, name)), size


def _folder(root, part: str, files: dict[str, list[tuple[str, int]]], classes: list[str]) -> Folder:
    found = [
        (os.fsencode(os.path.join(name, path)), size, label)
        for label, name in enumerate(classes)
        for path, size in files.get(name, ())
    ]
    names, sizes, labels = zip(*found, strict=True)
    return Folder(
        os.fsencode(root / part),
        np.array(names),
        np.array(sizes, np.int64),
        np.array(labels, np.int32),
    )


def _absent(root: pathlib.Path, part: str) -> str:
    layout = (
        f'the images are looked for in {_shown(root)}/train/CLASS/*.jpg and '
        f'{_shown(root)}/val/CLASS/*.jpg'
    )
    if not root.is_dir():
        what = 'is a file' if root.exists() else 'is not there'
        return f'config.data.dir={_shown(root)} {what}: {layout}; name the folder that holds both'
    if root.name in ('train', 'val') and (root.parent / part).is_dir():
        return (
            f'there is no {_shown(root / part)}: {layout}; set '
            f'config.data.dir={_shown(root.parent)}'
        )
    return f'there is no folder {_shown(root / part)}: {layout}; put the images there'


def _shown(path) -> str:
    return decoding.printable(path)
