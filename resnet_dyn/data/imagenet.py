"""ImageNet of 2012, as tensorflow-datasets prepares it as array_record: records read one by one."""

import io
import os
import pathlib
from collections.abc import Iterator, Sequence

from resnet_dyn import config
from resnet_dyn.data import prepared

PARTS = ('train', 'validation')


class Records:
    """The records of a split (`streams.Source`); each process opens the files for itself.

    Labels stand in the records alone, beside the images, and are read with them.
    """

    labels = None

    def __init__(self, name: str, folder: pathlib.Path, part: str, size: int):
        self._name, self._folder, self._part, self._size = name, folder, part, size
        self._opened = None

    def __len__(self) -> int:
        return self._size

    def __getstate__(self):
        return {**self.__dict__, '_opened': None}

    def read(self, ids: Sequence[int]) -> Iterator[tuple[object, int, str]]:
        """The bytes as a file, the label and the name of each of these examples."""
        with prepared.said_of(self._name, self._folder):
            if self._opened is None:
                sources, _ = prepared.opened(self._folder, (self._part,))
                self._opened = sources[self._part]
            examples = self._opened.__getitems__([int(i) for i in ids])
        for i, example in zip(ids, examples, strict=True):
            name = f'{self._part} example {i} of {self._folder}'
            yield io.BytesIO(example['image']), int(example['label']), name

    def update(self, digest) -> None:
        """What says how to read the records, and names and sizes of their files, into a digest."""
        for name in ('dataset_info.json', 'features.json'):
            digest.update((self._folder / name).read_bytes())
        for file in sorted(self._folder.glob(f'*{self._part}*')):
            digest.update(f'{file.name} {file.stat().st_size}\n'.encode())


def load(data: config.Data) -> tuple[Records, Records, int]:
    """Both splits, train and validation, and the number of classes.

    They are looked for as `images.load` looks for its sets; DataError where they are not there, or
    not as array_record, or a file of records is missing.
    """
    folder = prepared.find(data)
    with prepared.said_of(data.name, folder):
        _, info = prepared.opened(folder, PARTS)
        for part in PARTS:
            for file in info.splits[part].filepaths:
                os.stat(file)
        sizes = [info.splits[part].num_examples for part in PARTS]
        classes = info.features['label'].num_classes
    train, test = (Records(data.name, folder, *part) for part in zip(PARTS, sizes, strict=True))
    return train, test, classes
