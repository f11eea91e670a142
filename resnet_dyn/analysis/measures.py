"""What can be measured of a run, by name, ready for `trajectories.follow`.

    gammas    |gamma| by block and norm                                   (gamma_profiles)
    depth     the depth law predicted from measured power gains           (depth_measures)
    singles   loss and error after deleting each single block             (lesion_curves)

Depth and singles look at test examples, chosen once by `data.seed` with every class at its share,
normalised as in training; norms take their running statistics. At step 0 there are none yet: the
networks take the statistics of those examples, each norm that of the full net.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from resnet_dyn import config
from resnet_dyn.analysis import depth_measures, gamma_profiles, lesion_curves, trajectories
from resnet_dyn.data import batches, datasets, splits
from resnet_dyn.models import norms, presets, stack
from resnet_dyn.training import checkpoints, runs

KINDS = {
    'gammas': gamma_profiles.Gammas,
    'depth': depth_measures.DepthLaw,
    'singles': lesion_curves.SingleLesions,
}
NAMES = tuple(KINDS)

_NO_NORMS = 'a net with config.model.norm=none has no gammas: train one with batch or rms'
_NO_SKIPS = (
    'blocks of the kind plain have no skip: without its branch nothing is left of the signal, and '
    'there are no paths of other lengths; train another config.model.block'
)


class Plan(NamedTuple):
    """The measures of a run and what they cost; what cannot be measured, by name, and why."""

    measures: dict[str, trajectories.Measure]
    impossible: dict[str, str]
    networks: int
    blocks: int  # L
    examples: int  # 0 where none are looked at
    passes: int  # forward passes over the examples, for one network at one checkpoint
    source: datasets.Source


def plan(
    workdir,
    names: Sequence[str] = NAMES,
    examples: int = 1000,
    data: config.Data | None = None,
    seed: int | None = None,
) -> Plan:
    """The measures `names` of the run in `workdir`: of all its networks, or the one at `seed`.

    `examples` is the largest number of test examples to look at. `data` is the config of the data,
    if their folder is not the one of the run's config. Raises AnalysisError for a name or a network
    that is not there, for other data than the run's, and where nothing that was asked for can be
    measured.
    """
    run_config = runs.read_config(workdir)
    trajectories.steps(workdir)
    _, _, meta = checkpoints.restore(workdir, only=())
    _check(names, seed, run_config.seeds)
    impossible = _impossible(names, run_config.model)
    possible = [name for name in names if name not in impossible]
    if not possible:
        reasons = '; '.join(f'{name}: {why}' for name, why in impossible.items())
        raise trajectories.AnalysisError(f'nothing to measure in {workdir}: {reasons}')
    model = presets.from_config(run_config.model, classes=meta['classes'])
    measures, found = {}, None
    if 'gammas' in possible:
        settings = {'source': meta['source']}
        measures['gammas'] = trajectories.Measure(KINDS['gammas'], _gammas, settings, 'gammas')
    if {'depth', 'singles'} & set(possible):
        found = _test_examples(data or run_config.data, meta, examples)
        measures |= _of_stacks(possible, model, meta, *found)
    passes = {'depth': 1, 'singles': lesion_curves.forward_passes(model.num_blocks)}
    return Plan(
        measures={name: measures[name] for name in possible},
        impossible=impossible,
        networks=run_config.seeds if seed is None else 1,
        blocks=model.num_blocks,
        examples=0 if found is None else len(found[1]),
        passes=sum(passes.get(name, 0) for name in possible),
        source=datasets.Source(**meta['source']),
    )


def _check(names: Sequence[str], seed: int | None, networks: int) -> None:
    for name in names:
        if name not in NAMES:
            hint = config.nearest(name, NAMES)
            raise trajectories.AnalysisError(f'no measure {name!r}: take {", ".join(NAMES)}{hint}')
    if seed is not None and not 0 <= seed < networks:
        raise trajectories.AnalysisError(
            f'seed={seed}: the run has {networks} networks, so it is one of 0..{networks - 1}'
        )


def _impossible(names: Sequence[str], model: config.Model) -> dict[str, str]:
    reasons = {}
    if model.norm == 'none':
        reasons['gammas'] = _NO_NORMS
    if model.block == 'plain':
        reasons |= {'depth': _NO_SKIPS, 'singles': _NO_SKIPS}
    return {name: why for name, why in reasons.items() if name in names}


def _test_examples(data: config.Data, meta, examples: int):
    """Normalised inputs and labels of at most `examples` test examples, on the device."""
    dataset = datasets.load(data)
    if dataset.source.digest != meta['source']['digest']:
        raise trajectories.AnalysisError(
            f'the data found are not those of the run: SHA-256 {dataset.source.digest[:12]}, and '
            f'{meta["source"]["digest"][:12]} in the checkpoint. Set config.data.dir to the data '
            'that the run was trained on'
        )
    test = splits.subset(dataset.test, min(examples, len(dataset.test.labels)), data.seed)
    inputs = batches.normalise(test.inputs, meta['mean'], meta['std'])
    return inputs, jnp.asarray(test.labels)


def _of_stacks(names, model, meta, inputs, labels) -> dict[str, trajectories.Measure]:
    settings = {'examples': len(labels), 'source': meta['source']}

    def stacks(step, variables):
        networks = _networks(variables)
        if step == 0 and 'batch_stats' in variables:
            networks = [_with_statistics(model, network, inputs) for network in networks]
        return [stack.from_model(model, network) for network in networks]

    def depth(step, variables):
        return depth_measures.measure(step, stacks(step, variables), inputs)

    def singles(step, variables):
        return lesion_curves.measure_single(step, stacks(step, variables), inputs, labels)

    functions = {'depth': depth, 'singles': singles}
    return {
        name: trajectories.Measure(KINDS[name], function, settings)
        for name, function in functions.items()
        if name in names
    }


def _gammas(step: int, variables: Any) -> gamma_profiles.Gammas:
    return gamma_profiles.measure(step, variables['gammas'])


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
