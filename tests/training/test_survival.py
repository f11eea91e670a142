"""Stochastic depth: which blocks live through a step, how often, and how they are evaluated."""

import jax
import numpy as np
import pytest

from resnet_dyn.data import batches, splits
from resnet_dyn.models import presets
from resnet_dyn.training import losses, optimizer, state, step


def test_blocks_survive_at_their_rates():
    rates_L = np.array([1.0, 0.75, 0.5, 0.1])
    keys_N = jax.random.split(jax.random.key(0), 4000)
    gates_NL = np.asarray(jax.vmap(step.survivors, (0, None))(keys_N, rates_L))
    assert set(np.unique(gates_NL)) == {0.0, 1.0} and (gates_NL[:, 0] == 1).all()
    errors_L = np.sqrt(rates_L * (1 - rates_L) / len(gates_NL))
    np.testing.assert_array_less(np.abs(gates_NL.mean(0) - rates_L), 4 * errors_L + 1e-12)
    together = np.corrcoef(gates_NL[:, 1:].T) - np.eye(3)
    assert np.abs(together).max() < 4 / np.sqrt(len(gates_NL)), 'one block tells of another'


def test_the_expected_gates_of_training_are_what_evaluation_multiplies_by():
    """Without norms the logits of one block are linear in its gate, and so is their mean."""
    model = presets.fully_connected(depth=2, width=5, classes=3, norm='none', survival=0.3)
    inputs = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)
    variables = jax.jit(model.init)(jax.random.key(1), inputs)
    (rate,) = model.survival_rates
    assert rate == pytest.approx(0.3)
    logits = jax.jit(lambda gate: model.apply(variables, inputs, gate, train=True))
    there, gone = (np.asarray(logits(np.float32([gate]))) for gate in (1, 0))
    found = jax.jit(model.apply)(variables, inputs)
    np.testing.assert_allclose(found, rate * there + (1 - rate) * gone, rtol=1e-5, atol=1e-6)
    assert np.abs(there - gone).max() > 0.1


@pytest.mark.parametrize(('survival', 'drawn'), [(1.0, False), (0.9, True)])
def test_without_stochastic_depth_a_step_draws_nothing(tiny, survival, drawn):
    cfg = tiny()
    model = presets.from_config(cfg.model, 4, survival)
    transform = optimizer.from_config(cfg.train, 10)

    def batch(order_N, split, t):
        return batches.take(split, order_N, t, 5)

    one = step.train_step(model, transform, losses.cross_entropy, batch, False, 'trained')

    key = jax.random.key(0)
    variables = jax.eval_shape(model.init, key, np.zeros((1, 6), np.float32))
    begun = jax.eval_shape(transform.init, state.trainable(variables, 'trained'))
    split = splits.Split(np.zeros((20, 6), np.float32), np.zeros(20, np.int32))
    data = step.Data(split, np.zeros(6), np.ones(6))
    jaxpr = jax.make_jaxpr(one)((variables, begun, key, np.arange(20)), data, 3)
    assert ('random_bits' in str(jaxpr)) == drawn
