"""Pieces of a stream made ahead of what takes them, in their order: by grain, on the host's cores.

Worker processes make them, or threads of this one. The workers leave SIGINT and SIGTERM to the
process that began them, which closes them, and end when it does, whatever ended that. No JAX here:
workers import this.
"""

import multiprocessing.connection
import multiprocessing.resource_tracker
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator

import numpy as np

from resnet_dyn import errors

MOST_WORKERS = 16  # where their number is unset
AHEAD = 4  # pieces that each worker has ready
READY = 64  # pieces that wait in this process, while the device computes
ENDLESS = 2**40  # pieces

_SIGNALS = (signal.SIGINT, signal.SIGTERM)

Piece = tuple[np.ndarray, ...]


def ahead(piece_of: Callable[[int], Piece], first: int, workers: int) -> Iterator[Piece]:
    """The pieces of the numbers `first`, `first` + 1, .. without end; `piece_of` is pickled.

    By so many `workers`, or by threads of this process for 0. Close it, or the workers go on
    waiting; those of a stream that ends are not told so, for grain keeps the shared memory of a
    last piece. Raises what `piece_of` raises, and DataError where a worker dies.
    """
    import grain

    _settle_grain(grain)
    made = grain.MapDataset.range(first, ENDLESS).map(piece_of)
    threads, ready = (1, 1) if workers else (cores(), READY)
    made = made.to_iter_dataset(grain.ReadOptions(threads, ready))
    if workers:
        options = grain.multiprocessing.MultiprocessingOptions(
            num_workers=workers, per_worker_buffer_size=AHEAD
        )
        made = made.mp_prefetch(options, worker_init_fn=_begin_worker).map(_own)
        made = grain.experimental.ThreadPrefetchIterDataset(made, prefetch_buffer_size=READY)
    iterator = iter(made)
    try:
        multiprocessing.resource_tracker.ensure_running()  # or it unblocks them
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # as workers then have it
        try:
            piece = next(iterator)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        while True:
            yield piece
            piece = next(iterator)
    except RuntimeError as error:
        if 'terminated unexpectedly' not in str(error):
            raise
        raise errors.DataError(
            f'a worker process that decodes images ended by itself ({errors.reason(error)}): it '
            'was killed, or there is no room left in memory or /dev/shm (lower '
            'config.data.workers; with 0 this process decodes), or a script of yours starts a run '
            "outside of `if __name__ == '__main__':`, and workers import it. Then start again"
        ) from error
    finally:
        iterator.close()


def cores() -> int:
    """The processor cores that this process may use."""
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_workers() -> int:
    """All cores but one, at least one."""
    return max(1, min(MOST_WORKERS, cores() - 1))


def _own(piece: Piece) -> Piece:
    """A copy, so that the shared memory of a piece is given back at once."""
    return tuple(map(np.array, piece))


def _settle_grain(grain) -> None:
    """Errors as they were raised, without a word of its own; its other options at their defaults.

    They are absl flags, which raise where nobody has parsed any, as in a notebook.
    """
    grain.config.update('py_traceback_filtering', 'off')
    flags = sys.modules['absl.flags'].FLAGS
    if not flags.is_parsed():
        for name in flags:
            if name.startswith('grain_'):
                flags[name].present = 1


def _begin_worker(index: int, count: int) -> None:
    """In a worker: it ends when the process that began it does, whatever ended that."""
    parent = multiprocessing.parent_process()

    def watch():
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
