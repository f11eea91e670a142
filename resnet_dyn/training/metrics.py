"""Metrics of a run: JSON lines are the record, TensorBoard event files a view of it.

Every line is one JSON object with its `step`. A process killed while it writes can tear the last
line only; readers and a resumed writer drop it.
"""

import contextlib
import json
import math
import os
import pathlib
import queue
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorboardX
from tensorboardX import record_writer
from tensorboardX.proto import event_pb2

from resnet_dyn import errors

_WAITING = 10_000  # events that may wait for the disk
_BY_NETWORK = ('test_accuracy', 'test_loss', 'test_loss_median')  # what of a line is read again
_RATE = 'images_per_second'
_PATIENCE = 5.0  # seconds that closing waits for them


class JsonLines:
    """Appends lines to `path`; each is on its way to the disk when `write` returns.

    A disk that is full, or may not be written to, raises RunError; closing then raises nothing,
    since nothing is held back. `check` is called before the file is touched, and may raise.
    """

    def __init__(self, path, check: Callable[[], None] = lambda: None):
        self.path, self._check = pathlib.Path(path).absolute(), check
        self._open()

    def write(self, step: int, **values: Any) -> None:
        """One line. Arrays become lists; what JSON cannot say (NaN, Inf) becomes null."""
        line = json.dumps({'step': int(step)} | _plain(values), allow_nan=False)
        self._check()
        with writing(self.path):
            _write_all(self._file, f'{line}\n'.encode())

    def cut_after(self, step: int) -> None:
        """Drops the lines of steps after `step`: what a resumed run will write again."""
        self.close()
        with writing(self.path):
            lines = self.path.read_bytes().splitlines(keepends=True)
            steps = [
                _parse(line, self.path, number)['step'] for number, line in enumerate(lines, 1)
            ]
            kept = [line for line, at in zip(lines, steps, strict=True) if at <= step]
            if len(kept) < len(lines):
                self._check()
                _replace(self.path, b''.join(kept))
        self._open()

    def close(self) -> None:
        self._file.close()

    def _open(self) -> None:
        self._check()
        with writing(self.path):
            if self.path.exists():
                _drop_torn_line(self.path)
            self._file = open(self.path, 'ab', buffering=0)  # noqa: SIM115, as long as the run


class TensorBoard:
    """Event files in `folder`; with `purge_step`, the viewer drops earlier events from there on.

    A list over the S networks is shown as its mean. This is a view, not the record, so that it
    never blocks, ends or delays a run: a thread writes, and where it cannot, or falls far behind,
    the view is dropped with one warning.
    """

    def __init__(self, folder, purge_step: int | None = None):
        self._folder = pathlib.Path(folder).absolute()
        self._waiting: queue.Queue = queue.Queue(_WAITING)
        self._dropped, self._dropping = False, threading.Lock()
        self._thread = threading.Thread(target=self._run, name='tensorboard', daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:  # no more threads
            self._drop(error)
        self._put(file_version='brain.Event:2')
        if purge_step is not None:
            start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
            self._put(step=purge_step, session_log=start)

    def write(self, step: int, **values: Any) -> None:
        for name, value in values.items():
            scalar = tensorboardX.summary.scalar(name, float(np.mean(value)))
            self._put(step=int(step), summary=scalar)

    def close(self) -> None:
        """Waits for what is still to be written, but not long."""
        with self._dropping:  # the warning is said to its end
            if self._dropped:
                return
        with contextlib.suppress(queue.Full):
            self._waiting.put_nowait(None)
        self._thread.join(_PATIENCE)
        if self._thread.is_alive():
            self._drop(TimeoutError('the disk does not answer'))

    def _put(self, **event: Any) -> None:
        if not self._dropped:
            try:
                self._waiting.put_nowait(event_pb2.Event(wall_time=time.time(), **event))
            except queue.Full:
                self._drop(TimeoutError('the disk does not keep up'))

    def _run(self) -> None:
        name = f'events.out.tfevents.{int(time.time())}.{socket.gethostname()}.{time.time_ns()}'
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with open(self._folder / name, 'xb', buffering=0) as file:
                while (event := self._waiting.get()) is not None and not self._dropped:
                    _write_all(file, _framed(event.SerializeToString()))
        except Exception as error:
            self._drop(error)

    def _drop(self, error: Exception) -> None:
        with self._dropping:
            if not self._dropped:
                self._dropped = True
                print(
                    f'warning: the TensorBoard events in {self._folder} end here '
                    f'({type(error).__name__} {error}); the run goes on, and '
                    f'{self._folder.parent} has its record all the same',
                    file=sys.stderr,
                    flush=True,
                )


@contextlib.contextmanager
def writing(path: pathlib.Path):
    """Within it, a disk that is full, or does not let us write to `path`, is a RunError."""
    try:
        yield
    except OSError as error:
        raise errors.RunError(
            f'{path} cannot be written ({error}): look for free space there and for the right to '
            'write, and start the run again: it goes on from its last checkpoint'
        ) from error


def read(path) -> list[dict[str, Any]]:
    """The lines of a file that `JsonLines` wrote; a torn last line is left out.

    A file that is not there has no lines; a damaged line before the last raises RunError.
    """
    path = pathlib.Path(path)
    try:
        whole, _, _ = path.read_bytes().rpartition(b'\n')
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise errors.RunError(
            f'{path} cannot be read ({error}): see that the disk answers and that you may read '
            'there, and try again'
        ) from error
    return [_parse(line, path, number) for number, line in enumerate(whole.splitlines(), 1)]


def _write_all(file, data: bytes) -> None:
    """Writes to a file without a buffer, which may take less than all at a time."""
    while data:
        data = data[file.write(data) :]


def _framed(data: bytes) -> bytes:
    """One record of a TFRecord file: length, its CRC32C, the data, theirs."""
    length = struct.pack('<Q', len(data))
    length_crc, data_crc = (
        struct.pack('<I', record_writer.masked_crc32c(part)) for part in (length, data)
    )
    return length + length_crc + data + data_crc


def _replace(path: pathlib.Path, data: bytes) -> None:
    temporary = path.with_name(f'{path.name}.tmp')
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def _parse(line: bytes, path: pathlib.Path, number: int) -> dict[str, Any]:
    try:
        values = json.loads(line)
        _check(values)
    except (ValueError, RecursionError) as error:
        raise errors.RunError(
            f'{path} is damaged in line {number}, {line[:80]!r}: {errors.reason(error)}. Mend or '
            'remove that line, or move the file away to start a new one'
        ) from error
    return values


def _check(values: Any) -> None:
    """ValueError, naming the field, where a line has not the step and the numbers that are read."""
    if not isinstance(values, dict):
        raise ValueError(f'it holds a {type(values).__name__}, and an object was expected')
    if type(values.get('step')) is not int:
        raise ValueError(f'step={values.get("step")!r} is not a whole number')
    for name in _BY_NETWORK:
        value = values.get(name, [])
        if not (isinstance(value, list) and all(x is None or _is_number(x) for x in value)):
            raise ValueError(f'{name}={value!r:.60} is not a list of numbers')
    if not _is_number(values.get(_RATE, 0)):
        raise ValueError(f'{_RATE}={values[_RATE]!r:.60} is not a number')


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


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
