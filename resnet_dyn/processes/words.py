"""How processes and what differs between them are called."""

import json
import platform
from collections.abc import Sequence
from typing import Any


def host() -> str:
    """The name of this machine."""
    return platform.node() or 'an unnamed machine'


def named(numbers: Sequence[int], count: int) -> str:
    """'process 1 of 2', 'processes 1, 2 of 4'."""
    word = 'process' if len(numbers) == 1 else 'processes'
    return f'{word} {", ".join(map(str, numbers))} of {count}'


def short(value: Any) -> str:
    """A value as JSON, at most 60 characters of it; 'nothing' for None."""
    text = 'nothing' if value is None else json.dumps(value)
    return text if len(text) <= 60 else f'{text[:57]}...'


def seconds(value: float) -> str:
    """'45 s', '0.5 s'."""
    return f'{value:.3g} s'
