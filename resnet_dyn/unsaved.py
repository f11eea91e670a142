"""What a process has in memory and nowhere else: what has to be saved before it may be ended.

Every file of ours is whole or absent at any moment, so that a process may be ended at any moment.
It then loses work, and work that cannot be made again in little time is said here by the thread
that does it:

    with unsaved.work():       is not ended within: it asks often whether it is to stop, and saves
    with unsaved.work(save):   is ended within once `save()` was called, by whoever ends it

A launcher asks `saved` before it ends the process for a signal that its main thread does not hear.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

Save = Callable[[], str]  # saves, whatever the thread of the work does meanwhile; says so in words

_lock = threading.RLock()
_work: dict[int, list[Save | None]] = {}  # by thread, the innermost last
_ended = [0.0]  # when work last ended, of time.monotonic


@contextlib.contextmanager
def work(save: Save | None = None) -> Iterator[None]:
    """Within, this thread has what the disk has not; `save` covers all of it, the outer work too.

    `save` may be called from another thread, and once; the thread of the work then leaves the
    context no more.
    """
    thread = threading.get_ident()
    with _lock:
        _work.setdefault(thread, []).append(save)
    try:
        yield
    finally:
        with _lock:
            _work[thread].pop()
            if not _work[thread]:
                del _work[thread]
            _ended[0] = time.monotonic()


@contextlib.contextmanager
def saved() -> Iterator[list[str] | None]:
    """Saves what is unsaved; the words of each, or None where some work has to be waited for.

    Within, no work begins or ends: the process is to be ended there.
    """
    with _lock:
        saves = [stack[-1] for stack in _work.values()]
        yield None if None in saves else [save() for save in saves]


def quiet() -> float:
    """Seconds since work last ended; what comes after it, such as a last line, takes little."""
    return time.monotonic() - _ended[0]
