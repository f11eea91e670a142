"""The runs of a sweep brought to their ends, so many at a time, each by a process of its own.

    take what is free and not done; look at what runs; say what has ended; until nothing is left

What runs already, started by a sweep that died, is waited for and takes one of the places. A sweep
may be killed at any moment, and two may go side by side: a run has one process at a time, and
whether it is done is read from the run after its log was claimed, never remembered.
"""

import os
import signal
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from experiments.sweeps import members, processes, shares, standing

_ENDED = (0, 3)  # exit statuses of a training that is finished
_SAVED = 42  # of one that was stopped with all saved

Command = Callable[[members.Member], Sequence[str]]


class Event(NamedTuple):
    """What is said of a run: that it began, or how it stands since it ended."""

    member: members.Member
    standing: standing.Standing
    share: str = ''


class Pool:
    """`while pool.step(): ...` until all is done; `standings` says how each run stands."""

    def __init__(
        self,
        sweep: Sequence[members.Member],
        command: Command,
        environment: Mapping[str, str],
        divided: Sequence[shares.Share],
        retry: bool,
        tell: Callable[[Event], None],
    ):
        self.sweep = list(sweep)
        self._command, self._environment, self._tell = command, environment, tell
        self._divided = list(divided)
        self._running: dict[str, processes.Process] = {}
        self._elsewhere: dict[str, int] = {}  # slots of runs that others started
        self._stopping = False
        self.standings = {one.name: standing.of(one) for one in self.sweep}
        failed = (name for name, is_ in self.standings.items() if is_.state == standing.FAILED)
        self._again = set(failed) if retry else set()
        self._left = [
            one for one in self.sweep if self._is_left(self.standings[one.name], one.name)
        ]

    def step(self) -> bool:
        """One look at all; False once nothing is left to wait for."""
        for name, process in list(self._running.items()):
            if (status := process.popen.poll()) is not None:
                del self._running[name]
                self._ended(process, status)
                os.close(process.log)
        for one in [one for one in self.sweep if one.name in self._elsewhere]:
            if not standing.is_held(one):
                del self._elsewhere[one.name]
                self._left.insert(0, one)  # looked at again, and gone on with if it is not done
        while self._left and not self._stopping and (free := self._free()) is not None:
            self._take(self._left.pop(0), free)
        return bool(self._running or self._elsewhere or (self._left and not self._stopping))

    def stop(self) -> list[members.Member]:
        """Asks all that runs to save itself and leave, once; the runs that could not be asked."""
        self._stopping, lost = True, []
        for process in self._running.values():
            process.popen.send_signal(signal.SIGTERM)
        for one in [one for one in self.sweep if one.name in self._elsewhere]:
            if not processes.ask_to_stop(one) and standing.is_held(one):
                lost.append(one)
                del self._elsewhere[one.name]
        return lost

    def _is_left(self, found: standing.Standing, name: str) -> bool:
        """Whether a run is to be brought to its end: those that fail now are left for later."""
        if found.state == standing.FAILED:
            return name in self._again
        return found.state not in standing.FINISHED

    def _free(self) -> int | None:
        """A slot that nobody has."""
        taken = {process.slot for process in self._running.values()}
        taken |= set(self._elsewhere.values())
        return next((slot for slot in range(len(self._divided)) if slot not in taken), None)

    def _take(self, one: members.Member, slot: int) -> None:
        """Starts a run, unless another has it, or it is done."""
        log = processes.claim(one)
        if log is None:
            self._wait_for(one, slot)
            return
        process = None
        try:
            if standing.is_held_by_hand(one):
                self._wait_for(one, slot)
                return
            found = standing.of(one, locks=False)
            if not self._is_left(found, one.name):
                self._stands(one, found)
                return
            command, share = self._command(one), self._divided[slot]
            process = processes.start(one, log, command, self._environment, slot, share)
            self._running[one.name] = process
            self._stands(one, standing.Standing(standing.RUNNING), share.text)
        finally:
            if process is None:
                os.close(log)

    def _wait_for(self, one: members.Member, slot: int) -> None:
        began, taken = processes.slot(one), set(self._elsewhere.values())
        taken |= {process.slot for process in self._running.values()}
        at = began if began in range(len(self._divided)) and began not in taken else slot
        self._elsewhere[one.name] = at
        self._stands(one, standing.Standing(standing.RUNNING, 'by a process started before'))

    def _ended(self, process: processes.Process, status: int) -> None:
        one = process.member
        self._again.discard(one.name)
        left = status == _SAVED or (self._stopping and status == -signal.SIGTERM)
        if not left and status not in _ENDED:
            if standing.is_held_by_hand(one):  # so that this one was refused
                self._wait_for(one, process.slot)
                return
            processes.failed(process, status)
        found = standing.of(one, locks=False)
        if status in _ENDED and found.state not in standing.FINISHED:
            processes.failed(process, status)
            found = standing.Standing(standing.FAILED, 'it left without being finished')
        self._stands(one, found)

    def _stands(self, one: members.Member, found: standing.Standing, share: str = '') -> None:
        self.standings[one.name] = found
        self._tell(Event(one, found, share))
