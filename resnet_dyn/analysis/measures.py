"""Measures of a run by their names, ready for `trajectories.follow`, and what they cost.

All but gammas look at test examples, chosen once by `data.seed` with every class at its share,
normalised as in training; norms take their running statistics. At step 0 there are none yet: the
networks take the statistics of those examples, each norm that of the full net.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from resnet_dyn import config, errors, fields
from resnet_dyn.analysis import kinds as kinds_lib
from resnet_dyn.analysis import needs, scope, trajectories
from resnet_dyn.data import batches, datasets, splits
from resnet_dyn.models import network, norms, presets, seed_axis, stack
from resnet_dyn.training import checkpoints, runs


class Plan(NamedTuple):
    """The measures of a run and what they cost; what cannot be measured, by name, and why."""

    measures: dict[str, trajectories.Measure]
    impossible: dict[str, str]
    networks: int
    blocks: int  # L
    examples: int  # 0 where none are looked at
    costs: dict[str, scope.Cost]  # for one network at one checkpoint
    source: datasets.Source


def plan(
    workdir,
    names: Sequence[str] = kinds_lib.DEFAULT,
    examples: int = 1000,
    data: config.Data | None = None,
    seed: int | None = None,
    watch: Callable[[str, int, int], None] | None = None,
    **effort,
) -> Plan:
    """The measures `names` of the run in `workdir`: of all its networks, or the one at `seed`.

    `examples` is the largest number of test examples to look at. `data` is the config of the data,
    if their folder is not the one of the run's config. `watch(what, done, total)` hears how far
    long work is. `effort` are fields of `scope.Scope`: at_once, budget, random, probes,
    exhaustive. Raises AnalysisError for a name or a network that is not there, for other data than
    the run's, and where nothing that was asked for can be measured.
    """
    run_config = runs.read_config(workdir)
    trajectories.steps(workdir)
    _, _, meta = checkpoints.restore(workdir, only=())
    _check(names, seed, run_config.seeds)
    kinds = {name: kinds_lib.KINDS[name] for name in names}
    model = presets.from_config(run_config.model, classes=meta['classes'])
    view = None
    if any(not kind.only for kind in kinds.values()):
        data = data or run_config.data
        how = seed_axis.faster(run_config.model.family)
        found = _test_examples(data, meta, examples)
        view = scope.Scope(*found, seed=data.seed, how=how, **effort)
    impossible = needs.missing(
        {name: kind.needs for name, kind in kinds.items()},
        needs.Facts(run_config.model, model, meta['classes'], view),
    )
    kinds = {name: kind for name, kind in kinds.items() if name not in impossible}
    if not kinds:
        reasons = '; '.join(f'{name}: {why}' for name, why in impossible.items())
        raise errors.AnalysisError(f'nothing to measure in {workdir}: {reasons}')
    if all(kind.only for kind in kinds.values()):
        view = None
    return Plan(
        measures=_measures(kinds, model, meta, view, watch),
        impossible=impossible,
        networks=run_config.seeds if seed is None else 1,
        blocks=model.num_blocks,
        examples=0 if view is None else view.examples,
        costs={name: kind.cost(model.num_blocks, view) for name, kind in kinds.items()},
        source=datasets.Source(**meta['source']),
    )


def _check(names: Sequence[str], seed: int | None, networks: int) -> None:
    for name in names:
        if name not in kinds_lib.KINDS:
            hint = fields.nearest(name, kinds_lib.KINDS)
            raise errors.AnalysisError(
                f'no measure {name!r}: take {", ".join(kinds_lib.KINDS)}{hint}'
            )
    if seed is not None and not 0 <= seed < networks:
        raise errors.AnalysisError(
            f'seed={seed}: the run has {networks} networks, so it is one of 0..{networks - 1}'
        )


def _test_examples(data: config.Data, meta, examples: int):
    """Normalised inputs and labels of at most `examples` test examples, on the device."""
    dataset = datasets.load(data)
    if dataset.source.digest != meta['source']['digest']:
        raise errors.AnalysisError(
            f'the data found are not those of the run: SHA-256 {dataset.source.digest[:12]}, and '
            f'{meta["source"]["digest"][:12]} in the checkpoint. Set config.data.dir to the data '
            'that the run was trained on'
        )
    test = splits.subset(dataset.test, min(examples, len(dataset.test.labels)), data.seed)
    inputs = batches.normalise(test.inputs, meta['mean'], meta['std'])
    return inputs, jnp.asarray(test.labels)


def _measures(kinds, model, meta, view, watch) -> dict[str, trajectories.Measure]:
    stacks = None if view is None else _Stacks(model, view.inputs)
    source = {'source': meta['source']}

    def measure(name: str, kind: kinds_lib.Kind) -> trajectories.Measure:
        if kind.only:

            def function(step, variables):
                return kind.function(step, variables[kind.only])

            return trajectories.Measure(kind.record, function, source, kind.only)

        def function(step, variables):
            seen = view
            if watch is not None:
                watch(what := f'step {step:,}, {name}', 0, 1)
                seen = view._replace(progress=functools.partial(watch, what))
            try:
                return kind.function(step, stacks.at(step, variables), seen)
            except ValueError as error:  # of kernels: memory, outputs that are NaN
                raise errors.AnalysisError(f'{name} at step {step:,}: {error}') from error

        settings = {field: getattr(view, field) for field in kind.depends}
        return trajectories.Measure(
            kind.record, function, {'examples': view.examples, **source, **settings}
        )

    return {name: measure(name, kind) for name, kind in kinds.items()}


class _Stacks:
    """The networks of a checkpoint as stacks, made once for all measures of it."""

    def __init__(self, model: network.ResidualNetwork, inputs):
        self._model, self._inputs = model, inputs
        self._step, self._stacks = None, []

    def at(self, step: int, variables) -> list[stack.ResidualStack]:
        if step != self._step:
            networks = _networks(variables)
            if step == 0 and 'batch_stats' in variables:
                networks = [_with_statistics(self._model, net, self._inputs) for net in networks]
            self._stacks = [stack.from_model(self._model, net) for net in networks]
            self._step = step
        return self._stacks


def _networks(variables) -> list[Any]:
    """The variables of each network, on the device."""
    seeds = len(jax.tree.leaves(variables)[0])
    return [jax.tree.map(lambda leaf, s=s: jnp.asarray(leaf[s]), variables) for s in range(seeds)]


@jax.jit(static_argnums=0)
def _with_statistics(model, variables, inputs):
    """The variables with the statistics of these inputs, as one batch, for running averages."""
    nothing = jax.tree.map(jnp.zeros_like, variables['batch_stats'])
    _, new = model.apply(
        {**variables, 'batch_stats': nothing}, inputs, train=True, mutable=['batch_stats']
    )
    share = 1 - norms.MOMENTUM  # what one batch adds to an average
    statistics = jax.tree.map(lambda average: average / share, new['batch_stats'])
    return {**variables, 'batch_stats': statistics}
