"""SIGTERM and SIGINT, heard whatever the main thread does.

Python runs its handlers between two instructions of the main thread, and a compiled program may
keep that for minutes. So a thread hears the signals too. Work that asks `stop()` leaves by itself,
with words of its own, and is given a moment to do so; then the thread ends the process, as soon as
what is `unsaved` is saved, where the job has said that it may. A job that waits for processes of
its own says nothing, and asks. The second signal is left to Python, and ends the process at once.
"""

import contextlib
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import NoReturn

from resnet_dyn import errors, unsaved

DONE, FAILED, DIVERGED, STOPPED = 0, 1, 3, 42

PATIENCE = 1.0  # seconds that the main thread has to leave by itself once nothing is unsaved
_TICK, _AT_MOST = 0.1, 5.0  # seconds between two looks, and of patience in all
_SAYING = 2.0  # seconds that the last words may take: nobody may be reading
_WORDS = 'stopped by a signal: what was finished is on disk, start again to go on'
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Signals:
    """stop() is true once a signal has come; to be made in the main thread, and closed by it."""

    def __init__(self):
        os.environ['JAX_ENABLE_PREEMPTION_SERVICE'] = 'false'  # it takes SIGTERM, and says nothing
        self._may_end, self._words = True, _WORDS  # until the job begins
        self._farewell: Callable[[], None] | None = None
        self._received: list[int] = []
        self._closed = threading.Event()
        self._ear, self._mouth = socket.socketpair()
        self._mouth.setblocking(False)
        self._fd_before = signal.set_wakeup_fd(self._mouth.fileno(), warn_on_full_buffer=False)
        for number in _SIGNALS:
            signal.signal(number, self._handle)
        threading.Thread(target=self._listen, name='signals', daemon=True).start()

    def __call__(self) -> bool:
        return bool(self._received)

    def close(self) -> None:
        """The main thread leaves by itself; what comes now is Python's."""
        self._closed.set()
        signal.set_wakeup_fd(self._fd_before)
        self._mouth.close()

    def at_any_moment(self, farewell: Callable[[], None] | None = None) -> None:
        """From here on the process may be ended wherever nothing is `unsaved`.

        `farewell()` is then called last, so that others do not wait for this process.
        """
        self._may_end, self._farewell = True, farewell

    def when_asked(self) -> None:
        """From here on the process is not ended: it asks."""
        self._may_end = False

    @contextlib.contextmanager
    def leaves_at_once(self, lost: str) -> Iterator[None]:
        """Within, the first signal ends the process, after a line that says what is lost."""
        received = []

        def handle(number, frame):
            received.append(number)
            self._handle(number, frame)
            raise _Signalled

        before = {number: signal.signal(number, handle) for number in _SIGNALS}
        outside, self._words = (self._may_end, self._words), f'stopped by a signal: {lost}'
        self._may_end = True
        try:
            if self():
                raise _Signalled
            yield
            if received:  # raised where Python lets no exception through, as in a finalizer
                raise _Signalled
        except _Signalled:
            print(self._words, flush=True)
            sys.exit(STOPPED)
        finally:
            self._may_end, self._words = outside
            if not received:
                for number, handler in before.items():
                    signal.signal(number, handler)

    def _handle(self, number, frame) -> None:
        self._received.append(number)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def _listen(self) -> None:
        """Hears what C's handler writes as the signal comes, whatever Python does."""
        heard = 0
        while number := self._ear.recv(1):
            if number[0] not in _SIGNALS:
                continue
            heard += 1
            self._received.append(number[0])
            if heard == 1:
                threading.Thread(target=self._leave, name='leaving', daemon=True).start()
            elif not self._closed.wait(PATIENCE):
                os._exit(128 + number[0])
        self._ear.close()

    def _leave(self) -> None:
        """Ends the process once it may be ended and has not left by itself."""
        began = time.monotonic()
        while not self._closed.wait(_TICK):
            waited = time.monotonic() - began
            if waited < PATIENCE or (unsaved.quiet() < PATIENCE and waited < _AT_MOST):
                continue
            if self._may_end:
                _end_if_saved(self._words, self._farewell)


Stop = Callable[[], bool] | Signals


class _Signalled(BaseException):
    """Raised where a signal found the work; no `except Exception` on the way takes it."""


def _end_if_saved(words: str, farewell: Callable[[], None] | None) -> None:
    try:
        with unsaved.saved() as said:
            if said is not None:
                if farewell is not None:
                    farewell()
                _end(STOPPED, sys.stdout, said or [words])
    except errors.UserError as error:
        _end(FAILED, sys.stderr, [str(error)])
    except BaseException:
        _end(FAILED, sys.stderr, [traceback.format_exc()])


def _end(status: int, stream, lines: Sequence[str]) -> NoReturn:
    """Ends the process, and those that `multiprocessing` has started for it."""

    def say():
        print('\n'.join(lines), file=stream)
        for view in (sys.stdout, sys.stderr):
            view.flush()

    saying = threading.Thread(target=say, daemon=True)
    saying.start()
    saying.join(_SAYING)
    for child in multiprocessing.active_children():
        child.kill()
    os._exit(status)
