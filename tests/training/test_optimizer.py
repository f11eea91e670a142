"""SGD against its recursion in NumPy, and the learning rate against its shape."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from resnet_dyn import config
from resnet_dyn.training import optimizer

START = {
    'params': {'linear': {'kernel': 2.0, 'bias': 3.0}, 'norm': {'bias': -1.0}},
    'gammas': {'norm': {'gamma': 1.5}},
}


def _train(**changes):
    values = {'learning_rate': 0.1, 'weight_decay': 0.01, 'schedule': 'constant'}
    return config.Train(**{**values, **changes})


def _moved(train, gradients):
    """START after steps with these gradients, the same for every value."""
    values = jax.tree.map(jnp.float32, START)
    transform = optimizer.sgd(train, total_steps=10)
    state = transform.init(values)
    for gradient in gradients:
        same = jax.tree.map(lambda value, g=gradient: jnp.full_like(value, g), values)
        updates, state = transform.update(same, state, values)
        values = optax.apply_updates(values, updates)
    return values


def _by_hand(value, gradients, decay, nesterov, rate=0.1, momentum=0.9):
    velocity = 0.0
    for gradient in gradients:
        gradient += decay * value
        velocity = momentum * velocity + gradient
        value -= rate * (gradient + momentum * velocity if nesterov else velocity)
    return value


@pytest.mark.parametrize('nesterov', [True, False])
@pytest.mark.parametrize('decay_gammas', [True, False])
def test_kernels_decay_biases_never_do_and_gammas_when_asked(nesterov, decay_gammas):
    gradients = [1.0, -0.5, 2.0, 0.25]
    found = _moved(_train(nesterov=nesterov, decay_gammas=decay_gammas), gradients)
    for path, decay in (
        (('params', 'linear', 'kernel'), 0.01),
        (('params', 'linear', 'bias'), 0.0),
        (('params', 'norm', 'bias'), 0.0),
        (('gammas', 'norm', 'gamma'), 0.01 if decay_gammas else 0.0),
    ):
        collection, module, name = path
        expected = _by_hand(START[collection][module][name], gradients, decay, nesterov)
        np.testing.assert_allclose(found[collection][module][name], expected, rtol=1e-6)


def test_the_rate_of_a_step_is_the_one_that_the_schedule_names():
    train = _train(schedule='steps', momentum=0.0, weight_decay=0.0)
    found = _moved(train, [1.0] * 10)['params']['linear']['kernel']
    np.testing.assert_allclose(found, 2.0 - 0.1 * (5 * 1 + 3 * 0.1 + 2 * 0.01), rtol=1e-6)


@pytest.mark.parametrize(
    ('schedule', 'expected'),
    [
        ('constant', {0: 1.0, 50: 1.0, 99: 1.0}),
        ('steps', {0: 1.0, 49: 1.0, 50: 0.1, 74: 0.1, 75: 0.01, 99: 0.01}),
        ('cosine', {0: 1.0, 25: (1 + 0.5**0.5) / 2, 50: 0.5, 100: 0.0}),
    ],
)
def test_schedules_have_their_shape_over_the_length_of_the_run(schedule, expected):
    rate = optimizer.learning_rate(_train(schedule=schedule, learning_rate=0.4), 100)
    for t, shape in expected.items():
        np.testing.assert_allclose(rate(t), 0.4 * shape, rtol=1e-6, atol=1e-7)


def test_warmup_rises_linearly_to_the_schedule():
    rate = optimizer.learning_rate(_train(warmup=4, learning_rate=0.4), 100)
    np.testing.assert_allclose([rate(t) for t in range(6)], [0.1, 0.2, 0.3, 0.4, 0.4, 0.4])
