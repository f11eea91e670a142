"""Values that go from process to process by the key-value store of JAX's coordination service.

    turn n: each process sets n/<index>; the lead reads them all and sets n/all; each reads that

A turn is over when all have come, so that the keys of the turn before can go.
"""

import functools
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils

from resnet_dyn import errors
from resnet_dyn.processes import packing, words

LIMIT = 3600.0  # seconds
SHORT, LONG = 1.0, 10.0  # patience with what most is; with what starts, compiles or evaluates

_TURNS, _ANSWER = 'resnet_dyn/turns', 'all'
_SLICE = 2.0  # seconds in which a signal is not heard
_COUNT = 4  # bytes that say how many parts follow the first
_PART = 32 * 2**20  # bytes of a value in one message
_MUCH = 2**20  # bytes that go from device to device instead


class Place(NamedTuple):
    """Which of how many processes this one is, and its client of the coordination service."""

    index: int
    count: int
    client: Any


class Signs:
    """What a process shows of itself to the others' watch (`watch`).

    `turn` counts what all do together, in the same order; `moves` all that shows it to be at work.
    """

    def __init__(self):
        self.turn, self.moves, self.doing, self.patience = 0, 0, 'starting', LONG
        self.limit = LIMIT
        self.last_key = ''


signs = Signs()


def place() -> Place:
    """Where this process is; by itself where JAX's distributed runtime was not started."""
    from jax._src import distributed  # the client has no public name yet

    state = distributed.global_state
    if state.client is None or state.num_processes < 2:
        return Place(0, 1, None)
    return Place(state.process_id, state.num_processes, state.client)


def doing(what: str, patience: float | None = None) -> None:
    """All begin `what`, which may take `patience` times as long as most without being stuck.

    Without a `patience` it is that of what they did before.
    """
    signs.doing = what
    signs.patience = signs.patience if patience is None else patience
    signs.turn += 1
    signs.moves += 1


def moved() -> None:
    """This process, by itself, has come further; not collective."""
    signs.moves += 1


def set_limit(seconds: float) -> None:
    """How long processes wait for one another here before they give up; not collective."""
    signs.limit = seconds


def gathered(value: Any, what: str) -> list[Any]:
    """The values of all processes by index."""
    doing(what)
    here, key = place(), f'{_TURNS}/{signs.turn}'
    if here.index:
        return _answered(here, key, value, what)
    return _answer(here, key, [value, *_others(here, key, what)])


def from_lead(value: Any, what: str) -> Any:
    """The lead's value; the others' is not looked at. The lead waits for the others too."""
    doing(what)
    here, key = place(), f'{_TURNS}/{signs.turn}'
    if here.index:
        told = _answered(here, key, None, what)
        return told['value'] if 'value' in told else packing.unpacked(_broadcast(told['size']))
    _others(here, key, what)
    data = packing.packed(value)
    if len(data) < _MUCH:
        _answer(here, key, {'value': value})
    else:
        _answer(here, key, {'size': len(data)})
        _broadcast(len(data), data)
    return value


def _others(here: Place, key: str, what: str) -> list[Any]:
    """What the lead is told by the others; all of these are then done with the turn before."""
    told = [
        _get(here.client, f'{key}/{n}', functools.partial(_missing, here, key, what))
        for n in range(1, here.count)
    ]
    if signs.last_key:
        here.client.key_value_delete(signs.last_key)
    signs.last_key = key
    return told


def _answer(here: Place, key: str, value: Any) -> Any:
    _set(here.client, f'{key}/{_ANSWER}', value)
    return value


def _answered(here: Place, key: str, value: Any, what: str) -> Any:
    _set(here.client, f'{key}/{here.index}', value)
    late = functools.partial(_missing, here, key, what)
    return _get(here.client, f'{key}/{_ANSWER}', late)


def _broadcast(size: int, data: bytes | None = None) -> bytes:
    """The lead's `data` of so many bytes; as bytes, of which no sum changes any."""
    here = np.zeros(size, np.uint8) if data is None else np.frombuffer(data, np.uint8)
    return np.asarray(multihost_utils.broadcast_one_to_all(here)).tobytes()


def _set(client, key: str, value: Any) -> None:
    data = packing.packed(value)
    first, *others = [data[i : i + _PART] for i in range(0, len(data), _PART)]
    for number, part in enumerate(others):
        client.key_value_set_bytes(f'{key}.{number}', part)
    client.key_value_set_bytes(key, len(others).to_bytes(_COUNT) + first)


def _get(client, key: str, late) -> Any:
    found = _waited(client, key, late)
    others = range(int.from_bytes(found[:_COUNT]))
    parts = (client.blocking_key_value_get_bytes(f'{key}.{n}', 600_000) for n in others)
    return packing.unpacked(b''.join((found[_COUNT:], *parts)))


def _waited(client, key: str, late) -> bytes:
    until = time.monotonic() + signs.limit
    while True:
        left = until - time.monotonic()
        try:
            return client.blocking_key_value_get_bytes(key, int(1000 * max(0.1, min(_SLICE, left))))
        except jax.errors.JaxRuntimeError as error:
            if 'DEADLINE_EXCEEDED' not in str(error):
                raise errors.ProcessError(
                    f'the processes cannot talk to one another any more ({errors.reason(error)}): '
                    'start the same command again, it goes on from the last whole step'
                ) from error
            if left <= _SLICE:
                raise late() from error


def _missing(here: Place, key: str, what: str) -> errors.ProcessError:
    """The error of a turn to which not all have come; where the others have, it is the lead."""
    there = here.client.key_value_dir_get_bytes(f'{key}/')
    came = {name.removeprefix(f'{key}/') for name, _ in there}
    missing = [number for number in range(1, here.count) if str(number) not in came]
    return not_there(missing or [0], here.count, what, signs.limit)


def not_there(missing: Sequence[int], count: int, what: str, limit: float) -> errors.ProcessError:
    """The error that processes did not come to what the others are at."""
    return errors.ProcessError(
        f'{words.named(missing, count)} did not come within {words.seconds(limit)}, and the others '
        f'wait ({what}): look at their logs, and start the same command again, it goes on from the '
        'last whole step'
    )
