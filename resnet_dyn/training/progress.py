"""What a run says of itself while it goes: lines, and on a terminal a bar below them."""

import time
from collections.abc import Callable

import numpy as np
import tqdm

Report = Callable[[str], None]


class Progress:
    """Speaks for one run from step `start` to `total`; use it in a `with` block.

    `examples` are what is counted by the second.
    """

    def __init__(self, report: Report, start: int, total: int, bar: bool, examples: str = 'images'):
        self._examples = examples
        self._report, self._start, self._total = report, start, total
        self._wants_bar, self._bar = bar, None
        self._began = 0.0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._bar is not None:
            self._bar.close()

    def begin(self) -> None:
        """All is compiled: from here on time counts."""
        self._began = time.perf_counter()
        if self._wants_bar:
            self._bar = tqdm.tqdm(initial=self._start, total=self._total, unit='step')

    def at(self, step: int) -> None:
        """The run has come to `step`."""
        if self._bar is not None:
            self._bar.update(step - self._bar.n)

    def trained(self, step: int, *, epoch, loss, train_accuracy, learning_rate, images_per_second):
        """A training line, with the time that the rest will take."""
        left_out = f' ({_of(loss)} networks)' if len(finite(loss)) < len(loss) else ''
        self.say(
            f'step {step}/{self._total}  epoch {epoch:.2f}  loss {_mean(loss)}  '
            f'accuracy {finite(train_accuracy).mean():.4f}{left_out}  rate {learning_rate:.4g}  '
            f'{images_per_second:.0f} {self._examples}/s  {self._left(step)}'
        )

    def evaluated(self, step: int, *, test_loss, test_accuracy):
        """An evaluation line."""
        self.say(
            f'step {step}/{self._total}  test loss {_mean(test_loss)}  '
            f'test accuracy {over_seeds(test_accuracy)}'
        )

    def say(self, line: str) -> None:
        """Any line, above the bar if there is one."""
        if self._bar is None:
            self._report(line)
        else:
            with self._bar.external_write_mode():
                self._report(line)

    def _left(self, step: int) -> str:
        if step == self._start:  # done again: nothing is trained yet
            return f'{self._total - step} steps left'
        spent = time.perf_counter() - self._began
        return f'{duration(spent / (step - self._start) * (self._total - step))} left'


def over_seeds(values) -> str:
    """Mean and, of several networks, the sample standard deviation: 0.5312 ± 0.0040 (...).

    Networks that have diverged (NaN, or None as JSON has it) are left out and counted.
    """
    there = finite(values)
    mean = f'{there.mean():.4f}'
    if len(there) == 1:
        return mean if len(values) == 1 else f'{mean} ({_of(values)} seeds)'
    return f'{mean} ± {there.std(ddof=1):.4f} (mean ± std of {_of(values)} seeds)'


def finite(values) -> np.ndarray:
    """Those of some numbers, or of one, that are finite; None, as JSON has NaN, is not."""
    values = np.array(values, float)
    return values[np.isfinite(values)]


def _mean(values) -> str:
    mean = finite(values).mean()
    return f'{mean:.4f}' if mean < 1e4 else f'{mean:.4g}'


def _of(values) -> str:
    """'4', or '3 of 4' where not all values are finite."""
    there = len(finite(values))
    return f'{there}' if there == len(values) else f'{there} of {len(values)}'


def duration(seconds: float) -> str:
    """Seconds as '42s', '3m07s' or '2h05m'."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f'{hours}h{minutes:02d}m'
    return f'{minutes}m{seconds:02d}s' if minutes else f'{seconds}s'
