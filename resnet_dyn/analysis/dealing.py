"""Which of several processes measures what: networks are dealt over them, or steps where few are.

    as many networks as processes, or more    process p has the networks p, p + N, .. of each step
    fewer                                     process p has all networks of one step in N

Each measures with devices of its own. Parts come together at all processes (`shared`), and the
lead, which alone writes, makes a record of them (`merged`).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from resnet_dyn import processes, records


class Deal(NamedTuple):
    """How S networks are dealt over N processes, of which this is one."""

    networks: int
    count: int = 1
    index: int = 0

    @property
    def by_step(self) -> bool:
        """Whether a process has all networks, at steps of its own."""
        return self.networks < self.count

    @property
    def at_once(self) -> int:
        """How many steps they are at together."""
        return self.count if self.by_step else 1

    @property
    def place(self) -> int:
        """Which of these steps this process is at."""
        return self.index if self.by_step else 0

    @property
    def rows(self) -> tuple[int, ...]:
        """The networks that this process measures."""
        return self._rows(self.index)

    def of_step(self, place: int, everyone: Sequence[Any]) -> dict[tuple[int, ...], Any]:
        """What the processes at that step said, of all that said something, by their networks."""
        there = [place] if self.by_step else range(self.count)
        return {self._rows(p): everyone[p] for p in there if everyone[p] is not None}

    def _rows(self, process: int) -> tuple[int, ...]:
        everything = range(self.networks)
        return tuple(everything if self.by_step else everything[process :: self.count])


def over_processes(networks: int) -> Deal:
    """The deal of so many networks over the processes that there are."""
    return Deal(networks, processes.count(), processes.index())


def shared(function: Callable[[], Any]) -> list[Any]:
    """What `function()` returns at each process, at all of them."""
    return processes.at_each(function, 'waiting for what the others measure')


def joined(names: Mapping[tuple[int, ...], Sequence[str]]) -> list[str]:
    """What is said of networks by some processes, of all in their order."""
    if len(names) == 1:
        return list(*names.values())
    pairs = [pair for rows, some in names.items() for pair in zip(rows, some, strict=True)]
    return [name for _, name in sorted(pairs)]


def merged(parts: Mapping[tuple[int, ...], NamedTuple], networks: int) -> NamedTuple:
    """One record of all networks from those of some, by their rows: NaN (or -1) in rows of none."""
    first, made = next(iter(parts.values())), {}
    for field, value in first._asdict().items():
        if not records.is_by_network(field):
            made[field] = value
            continue
        value = np.asarray(value)
        if value.dtype.kind not in 'fi':
            raise TypeError(
                f'{type(first).__name__}.{field} has dtype {value.dtype}: what a record holds by '
                'network is float (NaN where a network is left out) or signed integer (-1)'
            )
        missing = np.nan if value.dtype.kind == 'f' else -1
        made[field] = np.full((networks, *value.shape[1:]), missing, value.dtype)
        for rows, part in parts.items():
            made[field][list(rows)] = getattr(part, field)
    return type(first)(**made)
