"""SHA-256 of what records are of: arrays, and the files of published networks."""

import hashlib
import pathlib
from collections.abc import Iterable

import numpy as np

PIECE = 1 << 24  # bytes that are read at once


def of_arrays(arrays: Iterable) -> str:
    """Of arrays with their dtypes and shapes."""
    total = hashlib.sha256()
    for array in arrays:
        array = np.ascontiguousarray(array)
        total.update(f'{array.dtype}{array.shape}'.encode())
        total.update(array.reshape(-1).view(np.uint8))
    return total.hexdigest()


def of_files(paths: Iterable[pathlib.Path]) -> str:
    """Of the contents of files, one after the other."""
    total = hashlib.sha256()
    for path in paths:
        with path.open('rb') as file:
            while piece := file.read(PIECE):
                total.update(piece)
    return total.hexdigest()
