"""The programs of an analysis, compiled for devices and read: lesions, or the gradient by length.

    lesions   all single blocks deleted: the tree of prefixes is cut into one part a device
    paths     the exact spectrum and its random draws: networks and parts of the examples dealt out

For one network at a time, `Settings.examples_at_once` examples in a call, as `launch.analyze` does
by itself. Products are of the highest precision there, and so they are here.
"""

import collections
import functools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from resnet_dyn import config
from resnet_dyn.analysis import effort, path_spectra
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
    lowered: jax.stages.Lowered
    calls: int  # for one network and the examples of one call


def make(
    what: str,
    cfg: config.Config,
    target: targets.Target,
    sizes: Mapping[str, int] | None = None,
    report: Callable[[str], None] = print,
) -> Plan:
    """Compiles the programs of an analysis of a network of this config and reads what they take.

    `sizes` are those of the mesh, as for `placement.kernel_mesh`. ConfigError, DataError and BudgetError for what `launch.analyze` would refuse.
    """
    cfg = training.settled(cfg, target)
    dataset = examples.of_config(cfg.data)
    datasets.check_family(dataset, cfg.model.family)
    settings = effort.Settings()
    number = min(settings.examples, len(dataset.test.labels))
    at_once = min(settings.examples_at_once, number)
    mesh = placement.kernel_mesh(target.devices, sizes)
    shape = (at_once, *dataset.test.inputs.shape[1:])
    walks = cfg.seeds * math.ceil(number / at_once)
    if what == PATHS:
        walks = math.ceil(walks / mesh.size)
    found, often = [], []
    with jax.default_matmul_precision('highest'), devices.compiling_for(target.platform):
        held, calls = _OF[what](_stack(cfg, dataset), shape, mesh, target)
        for call in calls:
            found.append(programs.compiled(call.name, call.lowered))
            often.append(call.calls * walks)
            report(f'compiled {call.name}')
    return Plan(cfg, target, what, mesh, tuple(found), tuple(often), at_once, number, held)


def _stack(cfg: config.Config, dataset: datasets.Dataset) -> stack_lib.ResidualStack:
    """The shapes of a network of the config."""
    model = presets.from_config(cfg.model, dataset.classes)
    transform, keys_S = optimizer.sgd(cfg.train, 1), state.keys(cfg)[:1]
    shape = dataset.train.inputs.shape[1:]
    variables = state.form(model, transform, cfg.train.gammas, keys_S, shape).variables

    def first(variables):
        return stack_lib.from_model(model, jax.tree.map(lambda a: a[0], variables))

    return jax.eval_shape(first, variables)


def _lesions(net, shape, mesh: Mesh, target: targets.Target) -> tuple[float, Iterator[_Call]]:
    """Of one place along `mask`: its devices have the examples along `data`."""
    here = Mesh(mesh.devices[0], ('data',), axis_types=(AxisType.Auto,))
    images, L = jax.ShapeDtypeStruct(shape, np.float32), stack_lib.num_blocks(net)
    every = np.concatenate([np.ones((1, L), np.float32), masks.single(L)])
    parts = prefix_tree.split(prefix_tree.from_masks(every), len(mesh.devices))
    busiest = max((part for part, _ in parts), key=lambda part: part.evaluations)
    fit = prefix_walk.fit(net, images, busiest, budget=int(target.memory / 2))
    recorded = _Recorded(net, here)
    scored = scores.Scores(metrics.functions_of(('loss', 'error')), None)
    h_0 = jax.eval_shape(prefix_programs.stem, net, images)
    labels, own = jax.ShapeDtypeStruct(shape[:1], np.int32), np.arange(busiest.leaves)
    for _ in prefix_walk.walk_part(net, h_0, labels, busiest, scored, fit.width, own, recorded):
        pass
    return fit.bytes, recorded.calls(images)


class _Recorded:
    """Stands in for `prefix_programs`: shapes go through, and what is called is counted."""

    def __init__(self, net: stack_lib.ResidualStack, mesh: Mesh):
        self._net, self._mesh = net, mesh
        self._found: dict[tuple[str, int], Callable[[], jax.stages.Lowered]] = {}
        self._given: dict[tuple[str, int], Any] = {}
        self._often: collections.Counter = collections.Counter()

    def evaluate(self, stage, index, hs, gates_N):
        """As `prefix_programs.evaluate`."""
        number = next(i for i, one in enumerate(self._net.stages) if one is stage)
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

    def calls(self, images) -> Iterator[_Call]:
        """What was called, and the stem, to be compiled for the devices."""
        stem = prefix_programs.stem.lower(self._whole(self._net), self._split(images))
        yield _Call('stem', stem, 1)
        for name, nodes in sorted(self._found):
            key = name, nodes
            yield _Call(f'{name}, {nodes} at once', self._found[key](), self._often[key])

    def _called(self, key, lowered, given):
        if key not in self._found:
            self._found[key], self._given[key] = lowered, given()
        self._often[key] += 1
        return self._given[key]

    def _whole(self, tree):
        return _put(tree, self._mesh, PartitionSpec())

    def _split(self, tree):
        return _put(tree, self._mesh, PartitionSpec('data'))


def _paths(net, shape, mesh: Mesh, target: targets.Target) -> tuple[float, Iterator[_Call]]:
    """Of one device: networks and parts of the examples are dealt out, none is cut."""
    here = Mesh(mesh.devices.reshape(-1)[:1], ('data',), axis_types=(AxisType.Auto,))
    whole = PartitionSpec()
    images, labels = (
        jax.ShapeDtypeStruct(shape, np.float32),
        jax.ShapeDtypeStruct(shape[:1], np.int32),
    )
    net, images, labels = _put((net, images, labels), here, whole)
    key = _put(jax.eval_shape(functools.partial(jax.random.key, 0)), here, whole)
    probes = path_spectra.Options().probes

    def calls():
        backward = path_spectra.backward_sums.lower(net, images, labels, key, probes)
        yield _Call('backward', backward, 1)
        yield _Call('forward', path_spectra.forward_sums.lower(net, images, labels), 1)

    return 0.0, calls()


def _put(tree, mesh: Mesh, spec: PartitionSpec):
    sharding = NamedSharding(mesh, spec)
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), tree
    )


_OF = {LESIONS: _lesions, PATHS: _paths}
