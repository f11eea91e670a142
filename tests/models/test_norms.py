"""Norms: the moments, the running averages, and gradients written out equal to derived ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resnet_dyn.models import norms


@pytest.mark.parametrize('shape', [(7, 3), (4, 5, 6, 3)], ids=['dense', 'image'])
@pytest.mark.parametrize('centred', [True, False], ids=['batch', 'rms'])
def test_written_gradients_equal_derived_ones(shape, centred):
    with jax.enable_x64(True):
        x, cotangent = np.random.default_rng(0).normal(size=(2, *shape))
        x = x + 2
        gamma, bias = np.array([1.0, 2.0, -0.5]), np.array([0.0, 1.0, 2.0])
        results = []
        for function in (norms.standardise, norms.standardise_plain):

            @jax.jit
            def run(cotangent, *values, function=function):
                y, pullback = jax.vjp(lambda *values: function(*values, centred)[0], *values)
                return y, *pullback(cotangent)

            results.append(run(cotangent, x, gamma, bias))
        for ours, derived in zip(*results, strict=True):
            np.testing.assert_allclose(ours, derived, rtol=1e-11, atol=1e-11)


def trained(norm):
    """x -> what comes out of a norm at its start in training, and its new averages."""

    @jax.jit
    def run(x):
        variables = norm.init(jax.random.key(1), x, False)
        return norm.apply(variables, x, True, mutable=['batch_stats'])

    return run


@pytest.mark.parametrize('gradients', ['plain', 'xla'])
def test_batch_norm_has_mean_bias_and_standard_deviation_gamma(gradients):
    norm = norms.Norm('batch', 3.0, gradients)
    x = (100 + np.random.default_rng(0).normal(size=(64, 4, 4, 2))).astype(np.float32)
    y, new = jax.device_get(trained(norm)(x))
    # a mean of about 100 is known to some 8 epsilons of it, and gamma triples that
    np.testing.assert_allclose(y.mean((0, 1, 2)), 0, atol=3e-4)
    np.testing.assert_allclose(y.std((0, 1, 2)), 3, rtol=1e-4)
    mean = new['batch_stats']['mean']
    np.testing.assert_allclose(mean, 0.1 * x.mean((0, 1, 2)), rtol=1e-5)


def test_rms_norm_divides_by_the_uncentred_second_moment():
    norm = norms.Norm('rms', 1.0)
    x = (3 + np.random.default_rng(0).normal(size=(512, 2))).astype(np.float32)
    y = np.asarray(trained(norm)(x)[0])
    np.testing.assert_allclose((y**2).mean(0), 1, rtol=1e-4)
    assert (y.mean(0) > 0.9).all()
    assert 'params' not in jax.eval_shape(lambda key: norm.init(key, x, False), jax.random.key(1))


def test_inference_takes_the_running_averages_and_changes_none():
    norm = norms.Norm('batch')
    x = np.random.default_rng(0).normal(size=(16, 2)).astype(np.float32)

    @jax.jit
    def run(x):
        return norm.apply(norm.init(jax.random.key(1), x, False), x, False)

    np.testing.assert_allclose(run(x), x / np.sqrt(1 + norms.EPSILON), rtol=1e-6)


def test_no_norm_is_the_identity_and_has_no_variables():
    norm = norms.Norm('none')
    x = jnp.arange(6.0).reshape(3, 2)
    assert not norm.init(jax.random.key(0), x, True)
    assert (norm.apply({}, x, True) == x).all()
