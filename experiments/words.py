"""Numbers and where they come from, in words: rows, means over networks, devices, commands.

A network whose loss became NaN has NaN for its numbers: means are those of the others, and say how
many these are.
"""

import pathlib
import shlex
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from resnet_dyn import commands

_SCRIPT = commands.NAME
# folders of the machine at hand
_HIDDEN = {'--config.data.dir': 'DATA', '--config.data.cache': 'DATA', '--pretrained': 'FOLDER'}


class Row(NamedTuple):
    """One claim of the README's table of numbers."""

    claim: str
    number: str
    n: str  # networks, or rounds
    device: str
    command: str


def row(claim: str, number: str, n: int | str, origin) -> Row:
    """A row with device and command of a provenance."""
    command = f'`{python_command(origin["command"])}`'
    return Row(claim, number, str(n), device(origin['device']), command)


def over_networks(values_S) -> tuple[float, float, int]:
    """(mean, sample standard deviation, n) over the networks whose value is finite.

    One network has no deviation, nor have none: NaN.
    """
    values_S = np.atleast_1d(np.asarray(values_S, np.float64))
    finite_S = values_S[np.isfinite(values_S)]
    n = finite_S.size
    mean = float(finite_S.mean()) if n else np.nan
    return mean, float(finite_S.std(ddof=1)) if n > 1 else np.nan, n


def plus_minus(values_S) -> str:
    """mean ± standard deviation (n - 1) over networks; one network has no ±.

    Where some are not finite, the number of the others stands behind it: '3.2 ± 0.1 (n = 2)'.
    """
    mean, std, n = over_networks(values_S)
    if not n:
        return 'not finite'
    text = f'{mean:.3g}' if abs(mean) < 10 else f'{mean:.1f}'
    text += f' ± {std:.2g}' if n > 1 else ''
    return text if n == np.size(values_S) else f'{text} (n = {n})'


def number(value: float) -> str:
    """Three digits, or all before the point where there are more."""
    return f'{value:,.0f}' if abs(value) >= 1000 else f'{value:.3g}'


def device(found: Mapping[str, Any]) -> str:
    """The device of a provenance in a few words."""
    if found['platform'] == 'cpu':
        return f'{found["cpu_cores"]} CPU cores'
    return f'{found["count"]} x {found["kind"]}'


def python_command(command: str) -> str:
    """The command of a provenance without the path of the interpreter and of folders of data."""
    words = shlex.split(command)
    scripts = [at for at, word in enumerate(words[:2]) if pathlib.PurePath(word).name == _SCRIPT]
    if scripts:
        words = [_SCRIPT, *words[scripts[0] + 1 :]]
    elif '-m' in words:
        words = ['python', *words[words.index('-m') :]]
    shown = []
    for word in words:
        name, equals, _ = word.partition('=')
        if equals and name in _HIDDEN:
            word = f'{name}={_HIDDEN[name]}'
        elif shown and shown[-1] in _HIDDEN:  # --name value, without =
            word = _HIDDEN[shown[-1]]
        shown.append(word)
    return shlex.join(shown)
