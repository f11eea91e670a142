"""The programs of a training, compiled for devices and read: no data, and no device needed."""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from jax.sharding import Mesh

from resnet_dyn import config, errors, fields
from resnet_dyn.data import datasets
from resnet_dyn.models import placement, presets, seed_axis
from resnet_dyn.plans import chips, examples, programs, targets
from resnet_dyn.training import program


class Plan(NamedTuple):
    """What a training takes on each device."""

    cfg: config.Config  # with its `train.seed_axis` settled
    target: targets.Target
    mesh: Mesh
    steps: Mapping[str, programs.Program]  # one step, by how networks go through it
    others: tuple[programs.Program, ...]  # the evaluation of the test set, a record

    @property
    def networks(self) -> int:
        """Of each device."""
        return self.cfg.seeds // self.mesh.shape[placement.SEED]

    @property
    def examples(self) -> int:
        """Of a batch of one network, on each device."""
        return self.cfg.train.batch_size // self.mesh.shape[placement.DATA]

    def needs(self, how: str) -> float | None:
        """Bytes on a device with all programs loaded, at the most; None where one was refused."""
        every = (self.steps[how], *self.others)
        if any(one.memory is None for one in every):
            return None
        held = sum(one.memory.arguments + one.memory.code for one in every)
        return held + max(one.memory.results + one.memory.temporaries for one in every)

    def bound(self, how: str) -> chips.Bound | None:
        """Of a step; None where nothing is known of the chip, or it was refused."""
        step, chip = self.steps[how], self.target.chip
        if chip is None or step.memory is None:
            return None
        return chips.bound(step.cost, chip, self.target.share)

    def cheapest(self) -> str | None:
        """How networks go through a step in the least time, of those that fit."""
        bounds = {how: self.bound(how) for how in self.steps if self.fits(how)}
        known = {how: bound.seconds for how, bound in bounds.items() if bound}
        return min(known, key=known.get) if known else None

    def fits(self, how: str) -> bool:
        """Whether there is the memory for it."""
        needed = self.needs(how)
        return needed is not None and needed <= self.target.memory


def settled(cfg: config.Config, target: targets.Target) -> config.Config:
    """The config with what a run would choose by its backend chosen for the target's."""
    cfg = seed_axis.settle(cfg, platform=target.platform)
    if cfg.model.convolution == 'auto':
        choice = 'plain' if target.platform == 'cpu' else 'xla'
        cfg = fields.replace(cfg, {'model.convolution': choice})
    return cfg


def make(
    cfg: config.Config,
    target: targets.Target,
    sizes: Mapping[str, int] | None = None,
    report: Callable[[str], None] = print,
) -> Plan:
    """Compiles the programs of a run of this config and reads what they take.

    `sizes` are those of the mesh, as for `placement.mesh`. Where a device has several networks a
    step is compiled both ways, vmap and map. `report` hears of every program that is done. Raises
    ConfigError and DataError for what `launch.train` would refuse.
    """
    cfg = settled(cfg, target)
    dataset = examples.of_config(cfg.data)
    datasets.check_family(dataset, cfg.model.family)
    size = len(dataset.train.labels)
    if cfg.train.batch_size > size:
        raise errors.ConfigError(
            f'config.train.batch_size={cfg.train.batch_size} is larger than the {size} training '
            f'examples of {cfg.data.name}: lower it'
        )
    mesh = placement.mesh(cfg.seeds, cfg.train.batch_size, target.devices, sizes)
    how = cfg.train.seed_axis
    first = dict(_compiled(cfg, dataset, mesh, ('advance', 'evaluate', 'record'), report))
    steps = {how: first.pop('advance')}
    if cfg.seeds // mesh.shape[placement.SEED] > 1:
        (other,) = set(seed_axis.WAYS) - {how}
        again = fields.replace(cfg, {'train.seed_axis': other})
        steps[other] = dict(_compiled(again, dataset, mesh, ('advance',), report))['advance']
    return Plan(cfg, target, mesh, steps, tuple(first.values()))


def _compiled(cfg, dataset, mesh, names, report) -> Iterator[tuple[str, programs.Program]]:
    model = presets.from_config(cfg.model, dataset.classes, cfg.train.survival)
    total = config.total_steps(cfg, len(dataset.train.labels))
    with placement.shapes_alone():
        lowered = program.Program(cfg, model, dataset, total, mesh).lowered(names)
    for name in names:
        started = time.monotonic()
        yield name, programs.compiled(name, lowered[name], steps=name == 'advance')
        seconds = time.monotonic() - started
        report(f'compiled {name} ({cfg.train.seed_axis}) in {seconds:.0f} s')
