"""Which values move: all, all but gammas, gammas and the classifier alone; and how runs go on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resnet_dyn.data import datasets
from resnet_dyn.models import placement, presets, seed_axis
from resnet_dyn.training import program, state

STEPS, HALF = 12, 7  # an epoch has 8
FIELDS = {
    'frozen gammas, noisy labels and stochastic depth': {
        'train.gammas': 'frozen',
        'data.label_noise': 0.5,
        'train.survival': 0.5,
    },
    'only gammas': {
        'train.gammas': 'only',
        'train.gamma_rate': 10.0,
        'train.decay_gammas': 'branch',
    },
}


@pytest.fixture(scope='module')
def make(tiny):
    """make(changes): the compiled functions of two networks, and these at step 0; each once."""
    made = {}

    def build(changes):
        key = str(changes)
        if key not in made:
            cfg = seed_axis.settle(tiny({'seeds': 2, 'model.depth': 4, **changes}))
            dataset = datasets.load(cfg.data)
            model = presets.from_config(cfg.model, dataset.classes, cfg.train.survival)
            mesh = placement.mesh(2, 1, jax.devices()[:1])
            programs = program.Program(cfg, model, dataset, STEPS, mesh)
            made[key] = programs, programs.begin()
        return made[key]

    return build


def _after(programs, networks, start, stop):
    networks = jax.tree.map(jnp.copy, networks)  # those that are advanced are gone
    return jax.device_get(programs.advance(networks, start, stop).state)


def _still(before, after):
    """The paths of the leaves of params and gammas of which no bit changed."""
    changed = {
        jax.tree_util.keystr(path, simple=True, separator='/'): a.tobytes() != b.tobytes()
        for (path, a), b in zip(
            jax.tree_util.tree_leaves_with_path(before), jax.tree.leaves(after), strict=True
        )
    }
    assert all(changed[path] for path in changed if path.startswith('batch_stats'))
    return {path for path in changed if not changed[path] and not path.startswith('batch_stats')}


def test_frozen_gammas_are_to_the_bit_what_they_were_and_all_else_moves(make):
    programs, begun = make(FIELDS['frozen gammas, noisy labels and stochastic depth'])
    before = jax.device_get(begun.state.variables)
    after = _after(programs, begun, 0, STEPS).variables
    gammas = {'gammas/stage_0/norm_0/gamma', 'gammas/stem/norm/gamma'}
    assert _still(before, after) == gammas


def test_only_the_gammas_and_the_classifier_move(make):
    programs, begun = make(FIELDS['only gammas'])
    before = jax.device_get(begun.state.variables)
    after = _after(programs, begun, 0, STEPS)
    assert _still(before, after.variables) == {
        'params/stem/linear/kernel',
        'params/stem/norm/bias',
        'params/stage_0/linear_0/kernel',
        'params/stage_0/norm_0/bias',
    }
    momenta = {'kernel', 'bias', 'gamma'}
    names = state.to_trees(after)['optimizer']
    assert len([name for name in names if name.rpartition('.')[2] in momenta]) == 4


def test_the_blocks_that_live_through_a_step_are_drawn_by_network_and_step(make):
    programs, begun = make(FIELDS['frozen gammas, noisy labels and stochastic depth'])
    before = np.asarray(begun.state.variables['params']['stage_0']['norm_0']['bias'])
    drawn = []
    for t in range(6):
        after = _after(programs, begun, t, t + 1).variables['params']['stage_0']['norm_0']['bias']
        moved_SL = (after != before).any(-1)
        for s in range(2):
            key = jax.random.fold_in(jax.random.fold_in(jax.random.key(s), 3), t)
            expected = jax.random.bernoulli(key, np.array([5 / 6, 4 / 6, 3 / 6]))
            np.testing.assert_array_equal(moved_SL[s], expected)
            drawn.append(tuple(moved_SL[s].tolist()))
    assert len(set(drawn)) > 3


@pytest.mark.parametrize('which', FIELDS)
def test_a_restored_network_goes_on_bit_for_bit_with_every_field_of_training_set(make, which):
    programs, begun = make(FIELDS[which])
    whole = _after(programs, begun, 0, STEPS)
    half = _after(programs, begun, 0, HALF)
    restored = programs.restore(HALF, state.to_trees(half))
    found = _after(programs, restored, HALF, STEPS)
    jax.tree.map(np.testing.assert_array_equal, found, whole)
