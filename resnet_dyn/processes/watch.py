"""The watch over the processes of a run: one that is dead, stopped or stuck is named, and ends all.

In JAX a process that waits for another waits for ever. Here a thread in each process shows signs of
it to all others, by the key-value store of the coordination service, and judges theirs:

    silent   no new sign for min(limit, 45 s): dead, stopped, or its machine is cut off
    stuck    it moves no more for `limit`, while another is a turn ahead and waits for it
    all      none moves for `limit`, all in the same turn

A turn is what all do together (`exchange.doing`); one that may take long, as compiling, has a
`patience` by which the limit is multiplied. Times are those of the judge's own clock, from when it
saw a change, so that clocks of machines need not agree.
"""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax

from resnet_dyn.processes import exchange, words

SILENCE = 45.0  # seconds, at most
LEFT = 5  # the exit status of a process that ends because of another

_TELLING = 2.0  # seconds
_SIGNS, _FAILED = 'resnet_dyn/signs', 'resnet_dyn/failed'
_AGAIN = 'All are ended: start the same command again, and it goes on from the last whole step'


class Sign(NamedTuple):
    """What a process shows of itself."""

    beat: int = 0
    turn: int = 0
    moves: int = 0
    doing: str = 'starting'
    patience: float = 1.0
    host: str = ''


class Seen(NamedTuple):
    """A sign, and when its beat and its moves were last seen to change."""

    sign: Sign
    beat_at: float
    moved_at: float


class Verdict(NamedTuple):
    """Who is at fault, none where all are alike, and what is said of it."""

    guilty: tuple[int, ...]
    text: str
    status: int = LEFT  # of those that are not at fault


class Watch:
    """Shows and judges signs from `start` to `close`; calls `end(verdict)` once, in its thread.

    `limit` in seconds is that of the docstring above. `end` is not expected to come back.
    """

    def __init__(self, limit: float, end: Callable[[Verdict], None]):
        self._here, self._limit, self._end = exchange.place(), limit, end
        self.silence = min(limit, SILENCE)
        self._pause = min(1.0, max(0.1, limit / 10))
        self._closed, self._lock = threading.Event(), threading.Lock()
        now = time.monotonic()
        self._seen = {n: Seen(Sign(), now, now) for n in range(self._here.count)}
        self._answered, self._failed = now, {}

    def start(self) -> None:
        for function in (self._talk, self._judge):
            threading.Thread(target=function, name='watch', daemon=True).start()

    def close(self) -> None:
        self._closed.set()

    def tell(self, text: str, status: int = LEFT) -> None:
        """Lets the others know that this process ends, why, and with which status they should.

        It does not wait long for the lead, which may be the one that is stuck.
        """

        def set_it():
            with contextlib.suppress(jax.errors.JaxRuntimeError):
                key, said = f'{_FAILED}/{self._here.index}', json.dumps([text, status])
                self._here.client.key_value_set(key, said, allow_overwrite=True)

        telling = threading.Thread(target=set_it, daemon=True)
        telling.start()
        telling.join(_TELLING)

    def all_beat(self, patience: float) -> bool:
        """Whether each process gives a sign within so many seconds from now."""
        began = time.monotonic()
        while time.monotonic() - began < patience:
            with self._lock:
                if all(one.beat_at > began for one in self._seen.values()):
                    return True
            time.sleep(0.05)
        return False

    def all_told(self, patience: float) -> None:
        """Returns when all processes have told their end, or after so many seconds."""
        until = time.monotonic() + patience
        with contextlib.suppress(jax.errors.JaxRuntimeError):
            while time.monotonic() < until and len(self._failed) < self._here.count:
                time.sleep(0.05)
                self._listen()

    def _talk(self) -> None:
        beat = 0
        while not self._closed.wait(self._pause):
            beat += 1
            with contextlib.suppress(jax.errors.JaxRuntimeError):
                sign = Sign(beat, *_own(), words.host())
                key, text = f'{_SIGNS}/{self._here.index}', json.dumps(sign)
                self._here.client.key_value_set(key, text, allow_overwrite=True)
                self._listen()

    def _listen(self) -> None:
        client = self._here.client
        shown = client.key_value_dir_get(f'{_SIGNS}/')
        told = client.key_value_dir_get(f'{_FAILED}/')
        failed = {_number(key): json.loads(said) for key, said in told}
        now = time.monotonic()
        with self._lock:
            self._answered, self._failed = now, failed
            for key, text in shown:
                number = _number(key)
                self._seen[number] = seen(self._seen[number], Sign(*json.loads(text)), now)

    def _judge(self) -> None:
        before = time.monotonic()
        while not self._closed.wait(self._pause):
            now = time.monotonic()
            with self._lock:
                if now - before > self._limit / 2:  # it was asleep itself: what it knows is old
                    self._forgive(now)
                known, answered, failed = dict(self._seen), self._answered, dict(self._failed)
            before = now
            found = _failure(failed, self._here) or verdict(
                known, now, self._limit, self._here.index, answered
            )
            if found is not None and not self._closed.is_set():
                self._end(found)
                return

    def _forgive(self, now: float) -> None:
        self._answered = now
        self._seen = {n: Seen(one.sign, now, now) for n, one in self._seen.items()}


def seen(before: Seen, sign: Sign, now: float) -> Seen:
    """What is known of a process that shows `sign` now."""
    beat_at = before.beat_at if sign.beat == before.sign.beat else now
    moved_at = before.moved_at if sign.moves == before.sign.moves else now
    return Seen(sign, beat_at, moved_at)


def verdict(
    known: Mapping[int, Seen], now: float, limit: float, judge: int, answered: float
) -> Verdict | None:
    """What the process `judge` finds of all, by index; None where nothing is wrong.

    `answered` is when the lead, which keeps the signs, last let it see them.
    """
    silence, count = min(limit, SILENCE), len(known)
    if now - answered > silence:
        return _silent([0] if judge else [], count, now - answered, known)
    if silent := [n for n, one in known.items() if now - one.beat_at > silence]:
        longest = max(now - known[n].beat_at for n in silent)
        return _silent(silent, count, longest, known)
    last = max(one.sign.turn for one in known.values())
    still = [n for n, one in known.items() if now - one.moved_at > limit * one.sign.patience]
    behind = [n for n in still if known[n].sign.turn < last]
    if behind:
        first = min(known[n].sign.turn for n in behind)
        return _stuck([n for n in behind if known[n].sign.turn == first], known, now)
    if len(still) == count:
        return _none_moves(known, now)
    return None


def _silent(guilty, count: int, seconds: float, known: Mapping[int, Seen]) -> Verdict:
    where = ', '.join(sorted({known[n].sign.host for n in guilty} - {''}))
    on = f' (on {where})' if where else ''
    return Verdict(
        tuple(guilty),
        f'{words.named(guilty or [0], count)}{on} gave no sign of life for {seconds:.0f} s: dead, '
        f'stopped, or cut off. {_AGAIN}',
    )


def _stuck(guilty, known: Mapping[int, Seen], now: float) -> Verdict:
    one = known[guilty[0]]
    return Verdict(
        tuple(guilty),
        f'{words.named(guilty, len(known))} (on {one.sign.host}) is alive and stuck: no move for '
        f'{now - one.moved_at:.0f} s ({one.sign.doing}), and the others wait for it. {_AGAIN}',
    )


def _none_moves(known: Mapping[int, Seen], now: float) -> Verdict:
    seconds = min(now - one.moved_at for one in known.values())
    return Verdict(
        (),
        f'none of the {len(known)} processes moved for {seconds:.0f} s ({known[0].sign.doing}), '
        f'and none is behind: they wait for one another or for their devices. {_AGAIN}',
    )


def _failure(failed: Mapping[int, list], here: exchange.Place) -> Verdict | None:
    """What another process said of its own end."""
    others = sorted(set(failed) - {here.index})
    if not others or here.index in failed:
        return None
    said, status = failed[others[0]]
    text = f'{words.named(others[:1], here.count)} has ended: {said}'
    return Verdict(tuple(others[:1]), text, status)


def _own() -> tuple[int, int, str, float]:
    signs = exchange.signs
    return signs.turn, signs.moves, signs.doing, signs.patience


def _number(key: str) -> int:
    return int(key.rpartition('/')[2])
