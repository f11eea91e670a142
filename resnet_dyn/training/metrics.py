"""Metrics of a run: JSON lines are the record, TensorBoard event files a view of it.

Every line is one JSON object with its `step`. A process killed while it writes can tear the last
line only; readers and a resumed writer drop it.
"""

import json
import math
import os
import pathlib
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorboardX

from resnet_dyn import errors


class JsonLines:
    """Appends lines to `path`; each is on its way to the disk when `write` returns."""

    def __init__(self, path):
        self.path = pathlib.Path(path).absolute()
        self._open()

    def write(self, step: int, **values: Any) -> None:
        """One line. Arrays become lists; what JSON cannot say (NaN, Inf) becomes null."""
        line = json.dumps({'step': int(step)} | _plain(values), allow_nan=False)
        self._file.write(f'{line}\n'.encode())
        self._file.flush()

    def cut_after(self, step: int) -> None:
        """Drops the lines of steps after `step`: what a resumed run will write again."""
        self.close()
        lines = self.path.read_bytes().splitlines(keepends=True)
        kept = [line for line in lines if _parse(line, self.path)['step'] <= step]
        if len(kept) < len(lines):
            temporary = self.path.with_name(f'{self.path.name}.tmp')
            temporary.write_bytes(b''.join(kept))
            os.replace(temporary, self.path)
        self._open()

    def close(self) -> None:
        self._file.close()

    def _open(self) -> None:
        if self.path.exists():
            _drop_torn_line(self.path)
        self._file = open(self.path, 'ab')  # noqa: SIM115, open as long as the run


class TensorBoard:
    """Event files in `folder`; with `purge_step`, the viewer drops earlier events from there on.

    A list over the S networks is shown as its mean. tensorboardX puts everything on disk only
    when it is closed, so a killed run loses the end of the view, not of the record.
    """

    def __init__(self, folder, purge_step: int | None = None):
        self._writer = tensorboardX.SummaryWriter(
            str(folder),
            purge_step=purge_step,
            filename_suffix=f'.{time.time_ns()}',  # two starts within a second: two files
        )

    def write(self, step: int, **values: Any) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, float(np.mean(value)), int(step))

    def close(self) -> None:
        self._writer.close()


def read(path) -> list[dict[str, Any]]:
    """The lines of a file that `JsonLines` wrote; a torn last line is left out.

    A file that is not there has no lines; a damaged line before the last raises RunError.
    """
    path = pathlib.Path(path)
    if not path.exists():
        return []
    whole, _, _ = path.read_bytes().rpartition(b'\n')
    return [_parse(line, path) for line in whole.splitlines()]


def _parse(line: bytes, path: pathlib.Path) -> dict[str, Any]:
    try:
        values = json.loads(line)
        values['step'] = int(values['step'])
    except (ValueError, TypeError, KeyError) as error:
        raise errors.RunError(
            f'{path} has a line that is no JSON object with a step: {line[:80]!r}. Mend or remove '
            'that line, or move the file away to start a new one'
        ) from error
    return values


def _drop_torn_line(path: pathlib.Path) -> None:
    with open(path, 'rb+') as file:
        if file.seek(0, os.SEEK_END) and file.seek(-1, os.SEEK_END) >= 0 and file.read() != b'\n':
            file.seek(0)
            file.truncate(file.read().rfind(b'\n') + 1)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if value is None or isinstance(value, (str, bool)):
        return value
    if not isinstance(value, (list, tuple)):
        value = np.asarray(value).tolist()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, (bool, int, str)) or math.isfinite(value) else None
