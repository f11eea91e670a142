"""Keys, initial values, and the way of a state to a checkpoint and back."""

import jax
import numpy as np

from resnet_dyn import fields
from resnet_dyn.models import presets
from resnet_dyn.training import optimizer, state


def _model(tiny):
    cfg = tiny()
    return presets.from_config(cfg.model, cfg.data.classes), cfg


def test_network_s_has_the_key_of_its_seed(tiny):
    keys_S = state.keys(tiny({'seed': 7, 'seeds': 3}))
    for s in range(3):
        assert keys_S[s] == jax.random.key(7 + s)


def test_initial_values_are_those_of_init_and_differ_by_seed(tiny):
    model, cfg = _model(tiny)
    keys_S = state.keys(fields.replace(cfg, {'seeds': 2}))
    found = jax.device_get(state.initial_variables(model, keys_S, (6,)))
    init = jax.jit(model.init)
    for s in range(2):
        expected = init(jax.random.fold_in(keys_S[s], state.INIT), np.zeros((1, 6), 'f'))
        jax.tree.map(
            lambda a, b, s=s: np.testing.assert_allclose(a[s], b, 1e-5, 1e-6), found, dict(expected)
        )
    kernel = found['params']['stem']['linear']['kernel']
    assert np.abs(kernel[0] - kernel[1]).max() > 0.1


def test_a_state_taken_apart_for_a_checkpoint_comes_back(tiny):
    model, cfg = _model(tiny)
    transform = optimizer.from_config(cfg.train, 10)
    begun = state.initial(model, transform, 'trained', state.keys(cfg), (6,))
    begun = jax.tree.map(
        lambda a: np.asarray(a) + np.arange(a.size).reshape(a.shape).astype(a.dtype), begun
    )
    trees = jax.device_get(state.to_trees(begun))
    assert set(trees) == {'params', 'gammas', 'batch_stats', 'optimizer'}
    back = state.from_trees(trees, state.form(model, transform, 'trained', state.keys(cfg), (6,)))
    assert jax.tree.structure(back) == jax.tree.structure(begun)
    jax.tree.map(np.testing.assert_array_equal, back, begun)


def test_without_norms_the_params_alone_are_trained(tiny):
    cfg = tiny({'model.norm': 'none'})
    model = presets.from_config(cfg.model, cfg.data.classes)
    transform = optimizer.from_config(cfg.train, 10)
    variables = state.form(model, transform, 'trained', state.keys(cfg), (6,)).variables
    assert set(variables) == set(state.trainable(variables, 'trained')) == {'params'}
