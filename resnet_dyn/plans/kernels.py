"""The programs of an analysis, compiled for devices and read: lesions, or the gradient by length.

    lesions   all single blocks deleted: the examples of a call along `data`, what does not divide
              after the others on one device; the tree of prefixes cut into a part a place of `mask`
    paths     the exact spectrum and its random draws: networks and parts of the examples dealt out,
              one a device at a time, by the programs of `effort.totals`

`Settings.examples_at_once` examples in a call, as `launch.analyze` does by itself, by one process
that has all devices. One network at a time: dense ones, which it vmaps, are planned so too.
Products are of the highest precision there, and so they are here.
"""

import collections
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from resnet_dyn import config
from resnet_dyn.analysis import effort as effort_lib
from resnet_dyn.analysis import path_spectra, subjects
from resnet_dyn.data import datasets
from resnet_dyn.kernels import (
    devices,
    masks,
    metrics,
    prefix_programs,
    prefix_tree,
    prefix_walk,
    scores,
)
from resnet_dyn.models import placement, presets
from resnet_dyn.models import stack as stack_lib
from resnet_dyn.plans import chips, examples, programs, targets, training
from resnet_dyn.training import optimizer, state

LESIONS, PATHS = 'lesions', 'paths'


class Plan(NamedTuple):
    """What an analysis takes on each device."""

    cfg: config.Config
    target: targets.Target
    what: str  # `LESIONS` or `PATHS`
    mesh: Mesh
    programs: tuple[programs.Program, ...]
    shares: tuple[int, ...]  # examples that each has on a device
    calls: tuple[int, ...]  # of each, on the busiest device, for all networks and examples
    at_once: int  # examples in a call
    examples: int  # in all
    held: float  # bytes of activations that wait between calls, estimated by the walk

    @property
    def needs(self) -> float | None:
        """Bytes on a device with all programs loaded, at the most; None where one was refused."""
        if any(one.memory is None for one in self.programs):
            return None
        code = sum(one.memory.code for one in self.programs)
        return self.held + code + max(one.memory.total - one.memory.code for one in self.programs)

    @property
    def seconds(self) -> float | None:
        """The least time for all networks; None where nothing is known of the chip."""
        chip, share = self.target.chip, self.target.share
        if chip is None or self.needs is None:
            return None
        least = [chips.bound(one.cost, chip, share).seconds for one in self.programs]
        return sum(time * calls for time, calls in zip(least, self.calls, strict=True))


class _Call(NamedTuple):
    """A program, and how often it is called."""

    name: str
    examples: int  # on a device
    lowered: jax.stages.Lowered
    calls: int  # on the busiest device, for all networks and examples


def make(
    what: str,
    cfg: config.Config,
    target: targets.Target,
    sizes: Mapping[str, int] | None = None,
    report: Callable[[str], None] = print,
) -> Plan:
    """Compiles the programs of an analysis of a network of this config and reads what they take.

    `sizes` are those of the mesh, as for `placement.kernel_mesh`. ConfigError, DataError and
    BudgetError for what `launch.analyze` would refuse.
    """
    cfg = training.settled(cfg, target)
    dataset = examples.of_config(cfg.data)
    datasets.check_family(dataset, cfg.model.family)
    settings = effort_lib.Settings()
    mesh = placement.kernel_mesh(target.devices, sizes)
    subject = _subject(_stack(cfg, dataset), cfg.seeds, dataset, settings.examples)
    effort = effort_lib.of_settings(settings, mesh=mesh)
    found, often, shares = [], [], []
    with jax.default_matmul_precision('highest'), devices.compiling_for(target.platform):
        held, calls = _OF[what](subject, effort, mesh, target)
        for call in calls:
            found.append(programs.compiled(call.name, call.lowered))
            often.append(call.calls)
            shares.append(call.examples)
            report(f'compiled {call.name} of {call.examples} examples')
    return Plan(
        cfg=cfg,
        target=target,
        what=what,
        mesh=mesh,
        programs=tuple(found),
        shares=tuple(shares),
        calls=tuple(often),
        at_once=effort.part(subject),
        examples=subject.examples.number,
        held=held,
    )


def _subject(net, networks: int, dataset: datasets.Dataset, number: int) -> subjects.Subject:
    """So many networks, of shapes alone, on the first test examples."""
    looked = subjects.Examples(dataset.test.inputs[:number], dataset.test.labels[:number])
    blocks = tuple(map(str, range(stack_lib.num_blocks(net))))
    names = subjects.Names(tuple(map(str, range(networks))), blocks)
    return subjects.Subject((net,) * networks, names, looked, subjects.Origin())


def _stack(cfg: config.Config, dataset: datasets.Dataset) -> stack_lib.ResidualStack:
    """The shapes of a network of the config."""
    model = presets.from_config(cfg.model, dataset.classes)
    transform, keys_S = optimizer.from_config(cfg.train, 1), state.keys(cfg)[:1]
    shape = dataset.train.inputs.shape[1:]
    variables = state.form(model, transform, cfg.train.gammas, keys_S, shape).variables

    def first(variables):
        return stack_lib.from_model(model, jax.tree.map(lambda a: a[0], variables))

    return jax.eval_shape(first, variables)


def _lesions(subject, effort, mesh: Mesh, target) -> tuple[float, Iterator[_Call]]:
    """Of the first place along `mask`, whose first device has what of the examples is left over."""
    net, L, shards = subject.stacks[0], subject.blocks, placement.shards(mesh)
    every = np.concatenate([np.ones((1, L), np.float32), masks.single(L)])
    parts = prefix_tree.split(prefix_tree.from_masks(every), mesh.size // shards)
    busiest = max((part for part, _ in parts), key=lambda part: part.evaluations)
    walks = [len(walk.labels) for walk in effort_lib.walks(subject, effort)]
    sizes = collections.Counter(part for size in walks for part in scores.dealt(size, shards))
    held, calls = [], []
    for size, often in sorted(sizes.items(), reverse=True):
        whole = size % shards > 0
        here = placement.places_of_masks(mesh, whole=whole)[0]
        share = size if whole else size // shards
        (mine, _), (images, labels) = (_given(subject.examples, n) for n in (share, size))
        fit = prefix_walk.fit(net, mine, busiest, budget=int(target.memory / 2))
        scored = scores.Scores(metrics.functions_of(('loss', 'error')), None)
        known, h_0 = jax.eval_shape(prefix_programs.enter, net, images)
        own = np.arange(busiest.leaves)
        recorded = _Recorded(net, known, here)
        for _ in prefix_walk.walk_part(
            known, h_0, labels, busiest, scored, fit.width, own, recorded
        ):
            pass
        held.append(fit.bytes)
        calls.append(recorded.calls(images, share, often))
    return max(held), itertools.chain(*calls)


def _given(examples, number: int) -> tuple[jax.ShapeDtypeStruct, jax.ShapeDtypeStruct]:
    """Inputs and labels of so many examples as networks are given them: tokens stay tokens."""
    inputs, labels = examples.inputs, examples.labels
    dtype = np.int32 if labels.ndim > 1 else np.float32
    return (
        jax.ShapeDtypeStruct((number, *inputs.shape[1:]), dtype),
        jax.ShapeDtypeStruct((number, *labels.shape[1:]), np.int32),
    )


class _Recorded:
    """Stands in for `prefix_programs`: shapes go through, and what is called is counted."""

    def __init__(self, net: stack_lib.ResidualStack, known: stack_lib.ResidualStack, mesh: Mesh):
        self._net, self._mesh = net, mesh
        self._kinds = [kind for stage in known.stages for kind in stage.kinds]
        self._found: dict[tuple[str, int], Callable[[], jax.stages.Lowered]] = {}
        self._given: dict[tuple[str, int], Any] = {}
        self._often: collections.Counter = collections.Counter()

    def evaluate(self, stage, index, hs, gates_N):
        """As `prefix_programs.evaluate`."""
        number = next(i for i, one in enumerate(self._kinds) if one is stage)
        gates_N = np.asarray(gates_N, np.float32)

        def lowered():
            given = self._whole(stage), index, self._split(hs), gates_N
            return prefix_programs.evaluate.lower(*given)

        def given():
            return jax.eval_shape(prefix_programs.evaluate, stage, index, hs, gates_N)

        return self._called((f'stage {number}', len(hs)), lowered, given)

    def pass_by(self, stage, index, h):
        """As `prefix_programs.pass_by`."""
        return jax.eval_shape(prefix_programs.pass_by, stage, index, h)

    def finish(self, head, hs, extra, function):
        """As `prefix_programs.finish`."""

        def lowered():
            given = self._whole(head), self._split(hs), self._whole(extra)
            return prefix_programs.finish.lower(*given, function=function)

        return self._called(('scores', len(hs)), lowered, lambda: None)

    def calls(self, images, share: int, often: int) -> Iterator[_Call]:
        """What was called, and the stem, to be compiled for the devices; `often` times all."""
        stem = prefix_programs.stem.lower(self._whole(self._net), self._split(images))
        yield _Call('stem', share, stem, often)
        for name, nodes in sorted(self._found):
            key = name, nodes
            lowered = self._found[key]()
            yield _Call(f'{name}, {nodes} at once', share, lowered, often * self._often[key])

    def _called(self, key, lowered, given):
        if key not in self._found:
            self._found[key], self._given[key] = lowered, given()
        self._often[key] += 1
        return self._given[key]

    def _whole(self, tree):
        return _put(tree, self._mesh, placement.WHOLE)

    def _split(self, tree):
        return _put(tree, self._mesh, placement.EXAMPLES)


def _paths(subject, effort, mesh: Mesh, target) -> tuple[float, Iterator[_Call]]:
    """Networks and parts of the examples are dealt out, one of each to a device at a time."""
    key = jax.eval_shape(functools.partial(jax.random.key, 0))
    static = {'probes': path_spectra.Options().probes}

    def calls():
        for name, function, key_, options in (
            ('backward', path_spectra.backward_sums, key, static),
            ('forward', path_spectra.forward_sums, None, {}),
        ):
            turns = effort_lib.turns(subject, effort, key_ is not None)
            sizes = collections.Counter(len(turn[0].labels) for turn in turns)
            for size, often in sorted(sizes.items(), reverse=True):
                lowered = _dealt(function, subject, size, key_, options, effort, mesh)
                yield _Call(name, size, lowered, often)

    return 0.0, calls()


def _dealt(function, subject, size: int, key, static, effort, mesh: Mesh) -> jax.stages.Lowered:
    """The program of one turn of `effort.totals`, for jobs of `size` examples."""
    images, labels = _given(subject.examples, size)
    if effort.mesh is None:
        given = (subject.stacks[0], images, labels) + (() if key is None else (key,))
        return function.lower(*_put(given, mesh, placement.WHOLE), **static)
    jobs = subject.stacks[0], images, labels, jax.ShapeDtypeStruct((), np.int32)
    jobs = jax.tree.map(lambda a: jax.ShapeDtypeStruct((mesh.size, *a.shape), a.dtype), jobs)
    together = effort_lib.dealt(function, mesh, effort.how, tuple(static.items()))
    key = _put(key, mesh, placement.WHOLE)
    return together.lower(_put(jobs, mesh, placement.JOBS), key, ())


def _put(tree, mesh: Mesh, spec: PartitionSpec):
    sharding = NamedSharding(mesh, spec)
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), tree
    )


_OF = {LESIONS: _lesions, PATHS: _paths}
