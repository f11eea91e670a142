"""One step of a trajectory: what is asked for there, and the visit that comes of it.

A `Visit` is made (`Making`) of what one process, or each of several, says of the networks that it
has: records are joined, kept where they should be, and stand beside those that were there.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from resnet_dyn import errors, records
from resnet_dyn.analysis import archive, dealing
from resnet_dyn.analysis import measure as measure_lib


class Request(NamedTuple):
    """A measure that is asked for, its options, and those that were given by hand.

    `given` may name 'examples' too.
    """

    measure: measure_lib.Measure
    options: Any
    given: frozenset[str] = frozenset()


class Visit(NamedTuple):
    """What came of one step: measures made now, those already there, or why it was lost."""

    step: int
    made: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    damage: str = ''
    found: Mapping[str, archive.Found] = {}  # by measure, made or kept
    left_out: Mapping[str, str] = {}  # networks that are rows of NaN, and why
    unsaved: str = ''  # why records made here are not kept, where they should be


class Plan(NamedTuple):
    """What is to be done at a step: records that are there, settings of those that are not."""

    step: int
    kept: Mapping[str, archive.Found]  # at the lead; empty elsewhere
    due: Mapping[str, archive.Wanted]
    damage: str = ''


class Making:
    """A visit while it is made, from what processes say of the networks that they have."""

    def __init__(self, plan: Plan, facts: Mapping[tuple[int, ...], Mapping[str, Any]]):
        self._plan, self._made, self._unsaved, self._out = plan, {}, '', {}
        self._damage = next(filter(None, (plan.damage, *(f['damage'] for f in facts.values()))), '')
        if plan.due and not self._damage:
            first = next(iter(facts.values()))['names']
            networks = {rows: one['names']['networks'] for rows, one in facts.items()}
            self._names = {**first, 'networks': dealing.joined(networks)}
            for one in facts.values():
                self._out |= one['lost']

    def join(self, name: str, request: Request, parts, networks: int):
        """(record, seconds, networks left out) of one measure; None where nobody has any."""
        if self._damage or name not in self._plan.due:
            return None
        left_out = {network: why for one in parts.values() for network, why in one['lost'].items()}
        self._out |= left_out
        kind = request.measure.record
        there = {rows: kind(**one['fields']) for rows, one in parts.items() if one['fields']}
        if not there:
            return None
        record = next(iter(there.values())) if len(parts) == 1 else dealing.merged(there, networks)
        return record, max(one['seconds'] for one in parts.values()), left_out

    def add(self, name: str, record, seconds: float, left_out, origin, network) -> None:
        wanted = self._plan.due[name]
        said = origin(wall_time=seconds, network=network)
        said |= {'settings': wanted.settings, 'effort': wanted.effort, 'left_out': left_out}
        self._made[name] = archive.Found(record, said | {'names': self._names})

    def save(self, name: str, workdir, network) -> None:
        settings = self._plan.due[name].settings
        file = archive.path(workdir, name, self._plan.step, settings, network)
        try:
            records.save(file, *self._made[name])
        except errors.RecordError as error:
            self._unsaved = str(error)

    def done(self, requests) -> Visit:
        if self._damage:
            return Visit(self._plan.step, damage=self._damage)
        kept, made, out = self._plan.kept, self._made, dict(self._out)
        for found in kept.values():
            out |= found.origin.get('left_out') or {}
        everything = {**kept, **made}
        in_order = {name: everything[name] for name in requests if name in everything}
        return Visit(self._plan.step, tuple(made), tuple(kept), '', in_order, out, self._unsaved)
