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
    'gammas': {
        'stage_0': {'norm_0': {'gamma': 1.5}, 'norm_1': {'gamma': 0.5}},
        'stem': {'norm': {'gamma': -2.0}},
    },
}
DECAYED = {'none': (), 'all': (0, 1, 2), 'branch': (1,), 'other': (0, 2)}  # of the gammas above


def _train(**changes):
    values = {'learning_rate': 0.1, 'weight_decay': 0.01, 'schedule': 'constant'}
    return config.Train(**{**values, **changes})


def _moved(train, gradients):
    """START after steps with these gradients, the same for every value."""
    values = jax.tree.map(jnp.float32, START)
    transform = optimizer.from_config(train, total_steps=10)
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
@pytest.mark.parametrize('decay_gammas', DECAYED)
@pytest.mark.parametrize('gamma_rate', [1.0, 10.0])
def test_kernels_decay_biases_never_do_and_gammas_as_asked_at_their_own_rate(
    nesterov, decay_gammas, gamma_rate
):
    gradients = [1.0, -0.5, 2.0, 0.25]
    train = _train(nesterov=nesterov, decay_gammas=decay_gammas, gamma_rate=gamma_rate)
    found = jax.tree.leaves(_moved(train, gradients))
    decays = [0.01 if i in DECAYED[decay_gammas] else 0.0 for i in range(3)]
    cases = [(decay, 0.1 * gamma_rate) for decay in decays]
    cases += [(0.0, 0.1), (0.01, 0.1), (0.0, 0.1)]  # bias and kernel, and the bias of the norm
    expected = [
        _by_hand(start, gradients, decay, nesterov, rate)
        for start, (decay, rate) in zip(jax.tree.leaves(START), cases, strict=True)
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize('gamma_rate', [1.0, 10.0])
def test_adamw_is_its_recursion_and_decays_what_sgd_does(gamma_rate):
    gradients = [1.0, -0.5, 2.0]
    train = _train(optimizer='adamw', decay_gammas='branch', beta_2=0.95, gamma_rate=gamma_rate)
    moved = _moved(train, gradients)

    def by_hand(value, decay, rate):
        mean = square = 0.0
        for t, gradient in enumerate(gradients, start=1):
            mean = 0.9 * mean + 0.1 * gradient
            square = 0.95 * square + 0.05 * gradient**2
            step = (mean / (1 - 0.9**t)) / (np.sqrt(square / (1 - 0.95**t)) + 1e-8)
            value -= rate * (step + decay * value)
        return value

    linear, gammas = moved['params']['linear'], moved['gammas']['stage_0']
    np.testing.assert_allclose(linear['kernel'], by_hand(2.0, 0.01, 0.1), rtol=1e-5)
    np.testing.assert_allclose(linear['bias'], by_hand(3.0, 0.0, 0.1), rtol=1e-5)
    rate = 0.1 * gamma_rate
    np.testing.assert_allclose(gammas['norm_0']['gamma'], by_hand(1.5, 0.0, rate), rtol=1e-5)
    np.testing.assert_allclose(gammas['norm_1']['gamma'], by_hand(0.5, 0.01, rate), rtol=1e-4)


def test_a_gradient_that_is_too_long_is_scaled_to_its_limit():
    train = _train(clip=3.0, momentum=0.0, nesterov=False, weight_decay=0.0)
    values = len(jax.tree.leaves(START))  # all of gradient 2: of length 2 sqrt(values)
    short = 3.0 / np.sqrt(values)
    found = _moved(train, [2.0, 0.1])['params']['linear']['bias']
    np.testing.assert_allclose(found, 3.0 - 0.1 * (short + 0.1), rtol=1e-5)


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


def test_thirds_drops_at_the_first_steps_of_the_epochs_30_60_and_80_of_90():
    rate = optimizer.learning_rate(_train(schedule='thirds', learning_rate=0.4), 90 * 7)
    found = np.array([float(rate(t)) for t in range(0, 90 * 7)]).reshape(90, 7)
    expected = np.repeat([0.4, 0.04, 0.004, 0.0004], [30, 30, 20, 10])
    np.testing.assert_allclose(found, np.stack([expected] * 7, 1), rtol=1e-6)


def test_warmup_rises_linearly_to_the_schedule():
    rate = optimizer.learning_rate(_train(warmup=4, learning_rate=0.4), 100)
    np.testing.assert_allclose([rate(t) for t in range(6)], [0.1, 0.2, 0.3, 0.4, 0.4, 0.4])
