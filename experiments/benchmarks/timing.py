"""Timings taken in turn, so that whatever else a machine does meets all contestants alike."""

import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from experiments import words


class Spread(NamedTuple):
    """A timing, or a ratio of two, over rounds."""

    median: float
    low: float
    high: float
    rounds: int

    @property
    def range(self) -> str:
        """The range in words."""
        return f'{words.number(self.low)} to {words.number(self.high)}'

    def __str__(self):
        if self.rounds == 1:
            return f'{words.number(self.median)} (one round)'
        return f'{words.number(self.median)} ({self.range}; {self.rounds} rounds)'


def in_turn(
    contestants: Mapping[str, Callable[[], object]],
    rounds: int,
    pause: float = 0.0,
    warm_up: bool = True,
) -> dict[str, list[float]]:
    """Seconds of each contestant in each round, {name: [seconds]}; one untimed call goes before.

    A contestant returns when its work is done (`jax.block_until_ready`). `pause` seconds between
    them let the spinning threads of one library's pool come to rest before the next begins. Without
    `warm_up` the untimed call is left out, for work of minutes that the caller has compiled.
    """
    seconds = {name: [] for name in contestants}
    for run in contestants.values() if warm_up else ():
        run()
    for _ in range(rounds):
        for name, run in contestants.items():
            time.sleep(pause)
            seconds[name].append(once(run))
    return seconds


def once(run: Callable[[], object]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def spread(values: Sequence[float]) -> Spread:
    """The median, the lowest, the highest and the number of rounds."""
    return Spread(statistics.median(values), min(values), max(values), len(values))


def ratio(numerator: Sequence[float], denominator: Sequence[float]) -> Spread:
    """The spread of the ratios round by round."""
    return spread([a / b for a, b in zip(numerator, denominator, strict=True)])


def pytorch():
    """PyTorch, given a thread a core, or None where it cannot be imported: never a dependency."""
    try:
        import torch
    except ImportError:
        return None
    torch.set_num_threads(os.cpu_count())
    return torch
