"""How a sweep is seen while it goes: a table that is drawn anew on a terminal, else lines.

run                  state    step     loss    left
depth=4-1c2d3e4f     done     100/100  0.4121
depth=5-5a6b7c8d     running  40/100   0.5310  about 12s
"""

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from experiments.sweeps import members, pool, standing
from resnet_dyn.training import progress

DRAWN, SAID = 1.0, 30.0  # seconds between two drawings, and between two lines of what runs

_TITLES = ('run', 'state', 'step', 'loss', 'left')
_FIRST = (standing.RUNNING, standing.FAILED, standing.STOPPED)  # shown where not all can be
_UP, _CLEAR = '\x1b[{}A', '\x1b[J'


class _Seen(NamedTuple):
    """When a run was first seen to run, and its step then."""

    at: float
    step: int


class Board:
    """What is known of the runs, for people; `look` now and then, `tell` of each event."""

    def __init__(
        self,
        runs: Sequence[members.Member],
        say: Callable[[str], None],
        terminal: bool,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._runs, self._say, self._terminal, self._clock = list(runs), say, terminal, clock
        self._drawn, self._last = 0, 0.0
        self._began = clock()
        self._at_first: int | None = None
        self._seen: dict[str, _Seen] = {}
        self._ends: dict[str, standing.Progress] = {}

    def tell(self, event: pool.Event) -> None:
        """Says what became of a run; on a terminal the table does."""
        if self._terminal:
            self._last = 0.0
            return
        found, one = event.standing, event.member
        far = self._words(one, found)
        about = found.why or event.share
        text = f'{one.name}: {found.state}{f" ({about})" if about else ""}'
        self._say(f'{text}{f"; {far}" if far and found.state != standing.RUNNING else ""}')

    def look(self, standings: dict[str, standing.Standing], last: bool = False) -> None:
        """Shows how the runs stand, where it is time to; the `last` time in any case."""
        now = self._clock()
        if self._at_first is None:
            self._at_first, self._last = self._over(standings), now - (DRAWN + 1)
            if not self._terminal:
                self._last = now
        if self._terminal and (last or now - self._last >= DRAWN):
            self._draw(standings)
            self._last = now
        elif not self._terminal and not last and now - self._last >= SAID:
            self._say(self._summary(standings))
            for one in self._runs:
                if standings[one.name].state == standing.RUNNING:
                    self._say(f'  {one.name}: {self._words(one, standings[one.name])}')
            self._last = now

    def lines(self, standings: dict[str, standing.Standing], most: int) -> list[str]:
        """The table in at most so many lines, those that matter first where it is cut."""
        shown = list(self._runs)
        if len(shown) > most:
            order = [one for one in shown if standings[one.name].state in _FIRST]
            shown = (order + [one for one in shown if one not in order])[:most]
        rows = [_TITLES, *(self._cells(one, standings[one.name]) for one in shown)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        found = [
            '  '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        return found + ([f'.. and {len(self._runs) - most} more'] if len(self._runs) > most else [])

    def _draw(self, standings) -> None:
        size = shutil.get_terminal_size()
        lines = [self._summary(standings), *self.lines(standings, max(1, size.lines - 5))]
        lines = [line[: size.columns - 1] for line in lines]
        back = _UP.format(self._drawn) if self._drawn else ''
        self._say(back + _CLEAR + '\n'.join(lines))
        self._drawn = len(lines)

    def _summary(self, standings) -> str:
        states = [found.state for found in standings.values()]
        counts = (
            f'{states.count(state)} {state}' for state in dict.fromkeys(states) if state in states
        )
        over, gone = self._over(standings), self._clock() - self._began
        left = ''
        if over > self._at_first and over < len(states):
            left = gone / (over - self._at_first) * (len(states) - over)
            left = f'; about {progress.duration(left)} left'
        return f'{len(states)} runs: {", ".join(counts)}{left}'

    @staticmethod
    def _over(standings) -> int:
        ends = (*standing.FINISHED, standing.FAILED)
        return sum(found.state in ends for found in standings.values())

    def _cells(self, one: members.Member, found: standing.Standing) -> tuple[str, ...]:
        return (one.name, found.state, *self._far(one, found))

    def _words(self, one: members.Member, found: standing.Standing) -> str:
        step, loss, left = self._far(one, found)
        said = (('step ', step), ('loss ', loss), ('', left and f'{left} left'))
        return ', '.join(f'{word}{value}' for word, value in said if value)

    def _far(self, one: members.Member, found: standing.Standing) -> tuple[str, str, str]:
        """Step, loss and time left of a run, '' where it has said none."""
        if found.state == standing.WAITING:
            return '', '', ''
        far = self._ends.get(one.name) or standing.progress(one)
        if found.state in standing.FINISHED:
            self._ends[one.name] = far
        step = '' if far.step is None else f'{far.step}/{far.total}'
        loss = '' if far.loss is None else f'{far.loss:.4g}'
        left = self._left(one, far) if found.state == standing.RUNNING else ''
        return step, loss, left

    def _left(self, one: members.Member, far: standing.Progress) -> str:
        if far.step is None or far.total is None:
            return ''
        now = self._clock()
        seen = self._seen.setdefault(one.name, _Seen(now, far.step))
        if far.step <= seen.step:
            return ''
        seconds = (now - seen.at) / (far.step - seen.step) * (far.total - far.step)
        return f'about {progress.duration(seconds)}'


def failures(runs: Sequence[members.Member], standings) -> Iterator[str]:
    """A paragraph for each run that failed: the reason and the last lines of its log."""
    for one in runs:
        found = standings[one.name]
        if found.state == standing.FAILED:
            yield f'{one.name} failed ({found.why}); the end of {one.log}:'
            yield from (f'    {line}' for line in standing.last_words(one))
