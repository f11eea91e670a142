"""The checkpoints of a run as subjects: its networks, on test examples, with statistics of norms.

All but parameters are looked at with test examples, chosen once by `data.seed` with every class at
its share, normalised as in training. The statistics of the norms are estimated anew at every
checkpoint on training examples (`models.statistics`), or those that training averaged.
"""

import json
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from resnet_dyn import commands, config, errors
from resnet_dyn.analysis import effort as effort_lib
from resnet_dyn.analysis import subjects
from resnet_dyn.data import batches, datasets, splits
from resnet_dyn.models import placement, presets, seed_axis, stack, statistics
from resnet_dyn.training import checkpoints, runs

ESTIMATED_ON = 1024  # training examples, in whole batches of the training's size


class Run:
    """A run to be analysed; `network` is the index of the one network to look at, None for all.

    Subjects are of its `rows` alone, all of them unless given: one process of several has some.
    `known` is the run where it was read already, `data` the config of the data, where their folders
    are not those of the run's config, `mesh` the `placement.kernel_mesh` on which statistics are
    estimated. Checkpoints are restored one at a time, when they are asked
    for; one of another run is lost, as a damaged one is. Raises RunError for what is no run,
    AnalysisError for a network that is not there.
    """

    def __init__(
        self,
        workdir,
        settings: effort_lib.Settings,
        network: int | None = None,
        data: config.Data | None = None,
        known: runs.Known | None = None,
        rows: Sequence[int] | None = None,
        mesh: Mesh | None = None,
    ):
        self.workdir = workdir
        self.config, self._identity = known or runs.read(workdir)
        self.network = network
        seeds = self.config.seeds
        if network is not None and not 0 <= network < seeds:
            raise errors.AnalysisError(
                f'network={network}: the run has {seeds} networks, so it is one of 0..{seeds - 1}'
            )
        self._rows = range(len(self._indices)) if rows is None else rows
        self._settings, self._data = settings, data or self.config.data
        self._mesh = mesh
        self._meta: dict[int, dict[str, Any]] = {}
        self._examples: subjects.Examples | None = None
        self._batches_IB = None
        self._model = None
        self._last: tuple[tuple[int, bool], subjects.Subject] | None = None

    @property
    def steps(self) -> list[int]:
        """The steps of all checkpoint folders, whole or not, in order; AnalysisError for none."""
        numbers = checkpoints.folders(self.workdir)
        if not numbers:
            raise errors.AnalysisError(
                f'{self.workdir}/checkpoints has no checkpoint to analyse: train first, by '
                f'{commands.said("train")} --workdir={self.workdir}, or start that run again if '
                'it was stopped before its first'
            )
        return numbers

    @property
    def networks(self) -> tuple[str, ...]:
        """What the networks are called: by index and seed."""
        return tuple(f'network {s} (seed {self.config.seed + s})' for s in self._indices)

    @property
    def how(self) -> str:
        """How several of these networks go through a function faster: vmap or map."""
        return seed_axis.faster(self.config.model.family)

    def facts(self, step: int, looks: bool = True) -> dict[str, Any]:
        """What numbers of a step depend on, cheap to read; `looks` at examples, not parameters.

        Raises CheckpointError where the checkpoint cannot be read.
        """
        meta = self.meta(step)
        found = {'checkpoint': _fingerprint(meta), 'source': meta['source']['digest']}
        if looks:
            found['examples'] = min(self._settings.examples, meta['test_size'])
            found['seed'] = self._data.seed
            if config.has_statistics(self.config.model):
                found['statistics'] = self._settings.statistics
        return found

    def meta(self, step: int) -> dict[str, Any]:
        """What the checkpoint says of itself (`checkpoints.restore`)."""
        if step not in self._meta:
            _, _, self._meta[step] = checkpoints.restore(
                self.workdir, step, only=(), expected=self._identity
            )
        return self._meta[step]

    def subject(self, step: int, looks: bool = True) -> subjects.Subject:
        """The networks at a step; without examples unless it `looks` at them.

        Raises CheckpointError for a damaged checkpoint, DataError where the data are not there,
        AnalysisError where they are not those of the run.
        """
        if self._last is not None and self._last[0] == (step, looks):
            return self._last[1]
        _, variables, meta = checkpoints.restore(self.workdir, step, expected=self._identity)
        if self._model is None:
            survival = self.config.train.survival
            self._model = presets.from_config(self.config.model, meta['classes'], survival)
        if looks and self._examples is None:
            self._load(meta)
        indices = [self._indices[row] for row in self._rows]
        networks = [
            jax.tree.map(lambda leaf, s=s: stack.array(leaf[s]), variables) for s in indices
        ]
        if looks and 'batch_stats' in variables and self._estimates(step):
            with jax.default_matmul_precision('highest'):  # as what is measured
                networks = [
                    statistics.estimated(self._model, v, self._batches_IB) for v in networks
                ]
            networks = networks if self._mesh is None else placement.gather(networks)
        subject = subjects.Subject(
            tuple(stack.from_model(self._model, network) for network in networks),
            subjects.Names(
                tuple(self.networks[row] for row in self._rows), self._model.block_names
            ),
            self._examples if looks else None,
            subjects.Origin(step, self.facts(step, looks)),
        )
        self._last = (step, looks), subject
        return subject

    def first(self, steps: Sequence[int], looks: bool = True) -> subjects.Subject:
        """The subject of the first of these steps that is whole; CheckpointError for none."""
        for step in steps:
            try:
                return self.subject(step, looks)
            except errors.CheckpointError as error:
                damage = error
        raise damage

    def note(self, settings: Sequence[Mapping[str, Any]]) -> str:
        """What must be said beside numbers of records of these settings: data, examples, norms."""
        meta = self._meta[max(self._meta)]  # of a step that was visited, which is sound
        source = datasets.Source(**meta['source'])
        parts = [f'Data: {source.name}' + (f' ({source.note})' if source.note else '')]
        numbers = sorted({one['examples'] for one in settings if 'examples' in one})
        if numbers:
            ends = dict.fromkeys((f'{numbers[0]:,}', f'{numbers[-1]:,}'))
            parts.append(f'{" to ".join(ends)} test examples')
        ways = {one['statistics'] for one in settings if 'statistics' in one}
        if 'estimated' in ways:
            number = estimated_on(meta['train_size'], self.config.train.batch_size)
            parts.append(
                f'statistics of the norms estimated at each step on {number:,} training examples'
            )
        if 'running' in ways:
            parts.append('statistics of the norms as training averaged them (at step 0 estimated)')
        return '; '.join(parts)

    @property
    def _indices(self) -> Sequence[int]:
        return range(self.config.seeds) if self.network is None else [self.network]

    def _estimates(self, step: int) -> bool:
        return self._settings.statistics == 'estimated' or step == 0

    def _load(self, meta: Mapping[str, Any]) -> None:
        dataset = datasets.load(self._data)
        if dataset.source.digest != meta['source']['digest']:
            raise errors.AnalysisError(
                'the data found are not those of the run: SHA-256 '
                f'{dataset.source.digest[:12]}, and {meta["source"]["digest"][:12]} in the '
                'checkpoint. Set config.data.dir to the data that the run was trained on'
            )
        seed, moments = self._data.seed, (meta['mean'], meta['std'])
        number = min(self._settings.examples, len(dataset.test.labels))
        test = splits.subset(dataset.test, number, seed)
        self._examples = subjects.Examples(
            batches.normalise(test.inputs, *moments), stack.array(test.labels), seed=seed
        )
        inputs_IB = training_batches(dataset.train, self.config.train.batch_size, seed)
        self._batches_IB = batches.normalise(inputs_IB, *moments)
        shards = placement.shards(self._mesh)
        if shards > 1 and not inputs_IB.shape[1] % shards:
            self._batches_IB = placement.place(self._batches_IB, self._mesh, placement.BATCHES)


def _fingerprint(meta: Mapping[str, Any]) -> int:
    """A number that changes with any array of the checkpoint."""
    return zlib.crc32(json.dumps(meta['leaves'], sort_keys=True).encode())


def training_batches(split: splits.Split, batch_size: int, seed: int) -> np.ndarray:
    """Inputs (I, B, ...) of about `ESTIMATED_ON` training examples, classes at their share, mixed.

    Whole batches alone, at least one: a batch larger than that is one by itself.
    """
    number = estimated_on(len(split.labels), batch_size)
    chosen = splits.subset(split, number, seed).inputs
    order = np.random.default_rng(seed).permutation(number)  # data may be sorted by class
    return chosen[order].reshape(-1, batch_size, *chosen.shape[1:])


def estimated_on(train_size: int, batch_size: int) -> int:
    """The number of training examples of `training_batches`."""
    return max(1, min(ESTIMATED_ON, train_size) // batch_size) * batch_size
