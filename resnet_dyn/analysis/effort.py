"""How much an analysis looks at, how much of it at once, and sums over examples and networks.

    sum over examples = sum over parts of `at_once` examples        (`totals`)
    of each example                                                 (`by_example`)

Networks go through one after the other or vmapped (`walks`); what is random takes its key from the
seed of the examples and the name of the measure. On a mesh (`placement.kernel_mesh`) the walks of
sums are dealt out, one a device at a time, by one program; lesions have the mesh themselves.
"""

import collections
import dataclasses
import functools
import itertools
import zlib
from collections.abc import Callable, Hashable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from resnet_dyn import fields
from resnet_dyn.analysis import subjects
from resnet_dyn.kernels import prefix_walk
from resnet_dyn.models import placement, seed_axis
from resnet_dyn.models import stack as stack_lib

OUTPUTS = 2**25  # numbers of outputs in one call, at most, unless told

_STREAMS = {'random': 1, 'reorder': 2, 'paths': 3}  # by name alone for all others


@dataclasses.dataclass(frozen=True)
class Settings:
    """What an analysis looks at: the same for all measures, each a flag of `launch.analyze`."""

    examples: int = fields.field(1000, 'test examples to look at', low=1, serves='more')
    examples_at_once: int = fields.field(
        250,
        'test examples in one call; fewer take less memory, and numbers stay the same (but for the '
        'random draws of paths)',
        low=1,
    )
    memory: float | None = fields.field(
        None,
        'GiB for activations of lesions and tables of interactions; unset: half of what is '
        'available',
        low=0,
        high=1e6,
    )
    statistics: str = fields.field(
        'estimated',
        'statistics of the norms: estimated anew at every checkpoint, on a fixed choice of '
        'training examples; running, the averages of training, which still hold their start '
        'values in the first hundred steps',
        choices=('estimated', 'running'),
    )


class Cost(NamedTuple):
    """What a measure costs for one network, in passes over all examples.

    A forward pass is L block evaluations; a backward one, L block VJPs from the head to h_0. In a
    large vocabulary the head is as dear as several blocks: `heads` says how often it is taken
    beside those passes, of hidden states at each depth.
    """

    forward: float = 0
    backward: float = 0
    heads: float = 0


class Effort(NamedTuple):
    """How examples and networks are carried through a measure; its numbers do not depend on it."""

    at_once: int = Settings.examples_at_once  # a CPU's cache holds their activations
    budget: int | None = None  # bytes of activations; None: half of what the device has available
    how: str = 'map'  # how several networks go through a pure function: map or vmap
    progress: Callable[[int, int], None] | None = None  # (done, total), in units of the measure
    mesh: Mesh | None = None  # `placement.kernel_mesh`; None: one device

    def kernel(self, subject: subjects.Subject) -> dict[str, Any]:
        """The keywords of kernels that carry the ensemble through chunks of their own."""
        return {
            'examples_at_once': self.part(subject),
            'budget': self.budget,
            'progress': self.progress,
            'mesh': self.mesh,
        }

    def part(self, subject: subjects.Subject) -> int:
        """Examples in one call: all of them where the networks couple them."""
        number = subject.examples.number
        return number if subject.couples_examples else min(self.at_once, number)

    def turn(self, number: int, turns: int) -> 'Effort':
        """The same, its progress that of turn `number` of so many equal ones."""
        return self._replace(progress=prefix_walk.share(self.progress, number, turns))


class Masked(NamedTuple):
    """function(stack, inputs, labels, mask, ...) as one of (stack, inputs, (labels, mask), ...)."""

    function: Callable

    def __call__(self, stack, inputs, labels, *rest, **static):
        return self.function(stack, inputs, *labels, *rest, **static)


class Walk(NamedTuple):
    """Networks and examples that go through a kernel together."""

    rows: slice  # of the networks
    part: int
    inputs: Any
    labels: Any
    mask: Any  # of the tokens that count, None where all do
    progress: Callable[[int, int], None] | None  # of this walk alone


def of_settings(
    settings: Settings, how: str = 'map', progress=None, mesh: Mesh | None = None
) -> Effort:
    """The effort of settings, for networks that go through by `how`, on a mesh or one device."""
    budget = None if settings.memory is None else int(settings.memory * 2**30)
    mesh = None if mesh is None or mesh.size == 1 else mesh
    return Effort(settings.examples_at_once, budget, seed_axis.check(how), progress, mesh)


def examples_for(outputs: int, most: int = Settings.examples_at_once) -> int:
    """Examples in one call, unless told; `outputs` are the numbers that the head gives for one."""
    return max(1, min(most, OUTPUTS // outputs))


def key(subject: subjects.Subject, measure: str) -> jax.Array:
    """The key from which a measure draws: the same for all networks and checkpoints."""
    stream = _STREAMS.get(measure, zlib.crc32(measure.encode()) & 0x7FFFFFFF)
    return jax.random.fold_in(jax.random.key(subject.examples.seed), stream)


def walks(subject: subjects.Subject, effort: Effort) -> Iterator[Walk]:
    """All networks with all examples, `at_once` of them a walk, the last what is left.

    One network a walk, part by part, where they go through in turn; else all of them.
    """
    networks, examples = len(subject.stacks), subject.examples
    group, at_once = 1 if effort.how == 'map' else networks, effort.part(subject)
    firsts, starts = range(0, networks, group), range(0, examples.number, at_once)
    turns = len(firsts) * len(starts)
    for number, (first, start) in enumerate(itertools.product(firsts, starts)):
        rows = slice(start, start + at_once)
        inputs, labels, mask = stack_lib.take(
            (examples.inputs, examples.labels, examples.mask), rows
        )
        yield Walk(
            rows=slice(first, first + group),
            part=start // at_once,
            inputs=inputs,
            labels=labels,
            mask=mask,
            progress=prefix_walk.share(effort.progress, number, turns),
        )


def totals(
    function: Callable,
    subject: subjects.Subject,
    effort: Effort,
    key: jax.Array | None = None,
    shared: tuple = (),
    masked: bool = False,
    **static: Hashable,
):
    """The sum over parts of function(stack, inputs, labels[, mask][, key], *shared, **static): a
    tree of sums over examples.

    Float64 NumPy arrays led by S. Each part has a key of its own, the same for all networks; where
    none is asked for, parts are as many as keep the devices of the mesh busy. On a mesh `function`
    is compiled once for all calls with the same `function` and `static`. A `masked` one is given
    the mask of the tokens that count (B, T), or None.
    """
    found = _found(function, subject, effort, key, shared, masked, static)
    over_parts = [jax.tree.map(lambda *a: sum(a), *parts.values()) for parts in found]
    return jax.tree.map(lambda *a: np.concatenate(a), *over_parts)


def by_example(function: Callable, subject: subjects.Subject, effort: Effort, **static: Hashable):
    """function(stack, inputs, labels, mask, **static), a tree of arrays led by B, of all examples.

    Float64 NumPy arrays (S, B, ...), with what is said of `totals`.
    """
    found = _found(function, subject, effort, None, (), True, static)
    whole = [
        jax.tree.map(lambda *a: np.concatenate(a, 1), *(parts[part] for part in sorted(parts)))
        for parts in found
    ]
    return jax.tree.map(lambda *a: np.concatenate(a), *whole)


def _found(function, subject, effort, key, shared, masked: bool, static) -> list[dict[int, Any]]:
    """What was found of each group of networks, by the part of the examples."""
    found = collections.defaultdict(dict)
    for walk, values in _values(function, subject, effort, key, shared, masked, static):
        values = jax.tree.map(lambda a: np.asarray(a, np.float64), values)
        found[walk.rows.start][walk.part] = values
        if walk.progress is not None:
            walk.progress(1, 1)
    return list(found.values())


def turns(subject: subjects.Subject, effort: Effort, keyed: bool) -> Iterator[list[Walk]]:
    """The walks of `totals`, `keyed` or not: those together that go through at the same time.

    As many as there are devices at most, of equally many examples.
    """
    number = 1 if effort.mesh is None else effort.mesh.size
    if number > 1 and not keyed:
        groups = len(subject.stacks) if effort.how == 'map' else 1
        parts = max(-(-subject.examples.number // effort.at_once), -(-number // groups))
        effort = effort._replace(at_once=-(-subject.examples.number // parts))
    waiting = collections.defaultdict(list)
    for walk in walks(subject, effort):
        together = waiting[len(walk.labels)]
        together.append(walk)
        if len(together) == number:
            yield waiting.pop(len(walk.labels))
    yield from waiting.values()


def _values(
    function, subject, effort: Effort, key, shared, masked: bool, static
) -> Iterator[tuple[Walk, Any]]:
    """The walks in their order, each with its values led by its networks."""
    function = Masked(function) if masked else function
    if effort.mesh is None:
        function = functools.partial(function, **static)
        for (walk,) in turns(subject, effort, key is not None):
            given = (walk.inputs, _labels(walk, masked))
            given += () if key is None else (jax.random.fold_in(key, walk.part),)
            stacks = subject.stacks[walk.rows]
            yield walk, seed_axis.of_stacks(function, stacks, effort.how, *given, *shared)
        return
    together = dealt(function, effort.mesh, effort.how, tuple(static.items()))
    number = effort.mesh.size
    for turn in turns(subject, effort, key is not None):
        jobs = [_job(subject, effort.how, walk, _labels(walk, masked)) for walk in turn]
        jobs += jobs[-1:] * (number - len(jobs))  # what is idle does the last again
        values = jax.device_get(together(placement.deal(jobs, effort.mesh), key, shared))
        for i, walk in enumerate(turn):
            yield walk, jax.tree.map(lambda a, i=i: a[i], values)


def _labels(walk: Walk, masked: bool):
    return (walk.labels, walk.mask) if masked else walk.labels


def _job(subject, how: str, walk: Walk, labels) -> tuple:
    """(stack, inputs, labels, part), the stack of one network, or of all led by S."""
    stacks = subject.stacks[walk.rows]
    stack = stacks[0] if how == 'map' else seed_axis.joined(stacks)
    return stack, walk.inputs, labels, np.int32(walk.part)


@functools.lru_cache(maxsize=64)
def dealt(function: Callable, mesh: Mesh, how: str, static: tuple) -> Callable:
    """(jobs, key, shared) -> values led by jobs and networks: on each device of a mesh one job."""
    function = functools.partial(function, **dict(static))

    def of_one(jobs, key, shared):
        stack, inputs, labels, part = jax.tree.map(lambda a: a[0], jobs)
        given = (inputs, labels) + (() if key is None else (jax.random.fold_in(key, part),))
        if how == 'map':
            sums = jax.tree.map(lambda a: a[None], function(stack, *given, *shared))
        else:
            sums = seed_axis.each(function, how)(stack, *given, *shared)
        return jax.tree.map(lambda a: a[None], sums)

    return jax.jit(
        jax.shard_map(
            of_one,
            mesh=mesh,
            in_specs=(placement.JOBS, placement.WHOLE, placement.WHOLE),
            out_specs=placement.JOBS,
            check_vma=False,
        )
    )
