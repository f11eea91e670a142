"""How far long work is, as plain lines: at most one every ten seconds; and its end by a signal."""

import time
from collections.abc import Callable

from launch import main

EVERY = 10.0  # seconds


class Stopped(Exception):
    """Work was left in the middle because a signal asked for it; whole records are on disk."""


class Lines:
    """watch(what, done, total): says `what` is how far; a new `what` begins with nothing done.

    Raises Stopped once `stop()` is true. `moved()` hears that there was progress.
    """

    def __init__(
        self,
        say: Callable[[str], None],
        stop: main.Stop,
        clock: Callable[[], float] = time.monotonic,
        moved: Callable[[], None] = lambda: None,
    ):
        self._say, self._stop, self._clock, self._moved = say, stop, clock, moved
        self._what, self._began, self._said = '', 0.0, 0.0

    def __call__(self, what: str, done: int, total: int) -> None:
        if self._stop():
            raise Stopped
        self._moved()
        now = self._clock()
        if what != self._what:
            self._what, self._began, self._said = what, now, now
        if now - self._said >= EVERY and 0 < done < total:
            left = (now - self._began) * (total - done) / done
            self._say(f'{what}: {100 * done / total:.0f} %, about {_duration(left)} left')
            self._said = now


def _duration(seconds: float) -> str:
    from resnet_dyn.training import progress

    return progress.duration(seconds)
