"""stdout and stderr as views of a job: where nobody reads them any more, the job goes on.

`| head` closes the pipe after some lines, a log may lie on a disk that is full, a terminal may have
no ±. What cannot be written is dropped, and the job ends with the status that it would have had.
"""

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import TextIO


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """Within, what is printed can fail nobody."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (stream and _View(stream) for stream in before)
    try:
        yield
    finally:
        for view in filter(None, (sys.stdout, sys.stderr)):
            view.flush()
        sys.stdout, sys.stderr = before


class _View:
    """A stream whose writing fails nobody; in all else it is the stream itself."""

    def __init__(self, stream: TextIO):
        self._stream = stream

    def write(self, text: str) -> int:
        with self._dropped():
            try:
                self._stream.write(text)
            except UnicodeEncodeError:  # an encoding without ±, say
                code = self._stream.encoding
                self._stream.write(text.encode(code, 'replace').decode(code))
        return len(text)

    def flush(self) -> None:
        with self._dropped():
            self._stream.flush()

    def __getattr__(self, name):
        return getattr(self._stream, name)

    @contextlib.contextmanager
    def _dropped(self) -> Iterator[None]:
        try:
            yield
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())  # what is left in its buffer goes there too
            os.close(nowhere)
