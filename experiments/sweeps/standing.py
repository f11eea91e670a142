"""How the runs of a sweep stand, read from the runs themselves: nobody keeps books that could lie.

done, diverged   config.json, metrics.jsonl and the last checkpoint say that all is there
running          a process holds its log, or its workdir (locks of the kernel)
failed           the log ends in the status of a process that failed
stopped          it has begun, and none of these
waiting          it has not begun
"""

import json
import os
import pathlib
import re
from typing import NamedTuple

from experiments.sweeps import members
from resnet_dyn import errors
from resnet_dyn.training import description, locks, runs, summary

WAITING, RUNNING, STOPPED = 'waiting', 'running', 'stopped'
DONE, DIVERGED, FAILED = 'done', 'diverged', 'failed'
FINISHED = (DONE, DIVERGED)

BEGAN = re.compile(r'\[\S+ \S+ slot (\d+)\] ')  # how the first line of a process begins
_ENDED = re.compile(r'exit status (-?\d+)')
_TAIL = 16_384  # bytes of a file that are looked at


class Standing(NamedTuple):
    """How a run stands, and the reason in words where it failed or diverged."""

    state: str
    why: str = ''


class Progress(NamedTuple):
    """How far a run is, by its own lines; None for what it has not said yet."""

    step: int | None = None
    total: int | None = None
    loss: float | None = None  # the mean over its finite networks


def of(member: members.Member, locks: bool = True) -> Standing:
    """How a run stands; without `locks`, taken to be nobody's."""
    if locks and is_held(member):
        return Standing(RUNNING)
    try:
        start = runs.look(member.workdir, member.config)
        if start.finished:
            return _finished(start)
    except errors.UserError as error:
        return Standing(FAILED, str(error))
    if (status := _failed(member.log)) is not None:
        return Standing(FAILED, f'exit status {status}')
    return Standing(WAITING if start.stored is None else STOPPED)


def is_held(member: members.Member) -> bool:
    """Whether a process of the run is alive: it holds the log that it was given, or the workdir."""
    return bool(locks.is_locked(member.log)) or is_held_by_hand(member)


def is_held_by_hand(member: members.Member) -> bool:
    """Whether a process trains in the workdir, whoever started it."""
    return locks.is_taken(member.workdir)


def progress(member: members.Member) -> Progress:
    """How far a run says that it is; what cannot be read is not known."""
    step = total = loss = None
    try:
        total = json.loads((member.workdir / description.NAME).read_bytes())['total_steps']
    except (OSError, ValueError, KeyError, TypeError):
        return Progress()
    for line in reversed(tail(member.workdir / runs.METRICS)):
        try:
            found = json.loads(line)
            step = found['step'] if step is None else step
            if 'loss' in found:
                there = [value for value in found['loss'] if value is not None]
                loss = sum(there) / len(there) if there else None
                break
        except (ValueError, KeyError, TypeError):  # the first may be torn, and the last
            continue
    return Progress(step, total, loss)


def tail(path: pathlib.Path, lines: int | None = None) -> list[str]:
    """The last lines of a file, at most 16 KB of them; [] where there is none."""
    try:
        with open(path, 'rb') as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
            found = file.read().decode(errors='replace').splitlines()
    except OSError:
        return []
    return found if lines is None else found[-lines:]


def last_words(member: members.Member, lines: int = 6) -> list[str]:
    """The last lines that the last process of a run said."""
    said = [line.rstrip() for line in tail(member.log) if line.strip()]
    began = max((at for at, line in enumerate(said, 1) if BEGAN.match(line)), default=0)
    return [line for line in said[began:] if not _ENDED.fullmatch(line)][-lines:]


def ended(status: int) -> str:
    """The line that closes the log of a process: what `of` reads."""
    return f'exit status {status}\n'


def _finished(start: runs.Start) -> Standing:
    diverged = summary.diverged_networks(start.workdir, start.stored.total_steps)
    if not diverged:
        return Standing(DONE)
    return Standing(DIVERGED, f'network {", ".join(map(str, diverged))}')


def _failed(log: pathlib.Path) -> str | None:
    """The status in the last line of a log, where that is one of a failure."""
    last = tail(log, 1)
    found = _ENDED.fullmatch(last[0]) if last else None
    return found[1] if found else None
