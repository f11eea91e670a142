"""Path weights of eq 16 against published values, exact integers and identities."""

import decimal
import functools
import itertools
import math
from decimal import Decimal
from fractions import Fraction

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats
from hypothesis import strategies
from reference_values_depth import VALUES

from resnet_dyn.theory import path_weights

pytestmark = pytest.mark.usefixtures('float64')

EQUAL_GAIN_SETTINGS = [(100, 0.1), (100, 0.5), (100, 2), (54, 0.5), (1000, 0.5)]
few = hypothesis.settings(max_examples=25, deadline=None, derandomize=True)


# --- equal gains: values


@pytest.mark.slow_but('100-0.1', '100-0.5', '100-2')
@pytest.mark.parametrize(('p', 'beta'), EQUAL_GAIN_SETTINGS)
def test_published_values_of_eq_16(p, beta):
    key = f'eps.p{p}.beta{beta}'
    log_weights = np.asarray(path_weights.log_path_weights(beta, p))
    mean, variance = path_weights.depth_moments(log_weights)
    assert path_weights.argmax_set(beta, p) == VALUES[f'{key}.argmax']
    assert math.exp(log_weights.max()) == pytest.approx(VALUES[f'{key}.eps_max'], rel=1e-12)
    assert float(mean) == pytest.approx(VALUES[f'{key}.mean'], rel=1e-12)
    assert float(variance) == pytest.approx(VALUES[f'{key}.var'], rel=1e-12)
    assert float(path_weights.log_z(beta, p)) == pytest.approx(VALUES[f'{key}.log_z'], rel=1e-12)


def test_published_band_mass():
    mass = path_weights.band_mass(path_weights.log_path_weights(0.5, 100), 28, 40)
    assert float(mass) == pytest.approx(VALUES['eps.p100.beta0.5.mass_28_40'], rel=1e-12)


@pytest.mark.slow_but('1-0.5', '2-1000000.0', '54-1e-08', '54-0.01', '54-1.37')
@pytest.mark.parametrize('beta', [1e-8, 0.01, 0.5, 1.37, 1e6])
@pytest.mark.parametrize('p', [1, 2, 54, 10_000])
def test_float64_is_exact_to_1e_13_far_tails_included(p, beta):
    exact, exact_log_z = decimal_log_weights(beta, p)
    error = errors(path_weights.log_path_weights(beta, p), exact)
    assert np.all(np.abs(error) < 1e-13 * np.maximum(1, np.abs(np.array(exact, float))))
    assert float(path_weights.log_z(beta, p)) == pytest.approx(
        float(exact_log_z), rel=1e-13, abs=1e-13
    )


@pytest.mark.slow_but('54-0.1', '54-0.9', '54-1.37')
@pytest.mark.parametrize('beta', [0.1, 0.9, 1.37])
@pytest.mark.parametrize('p', [54, 10_000])
def test_float32_is_exact_to_1e_5_near_the_mode(p, beta):
    beta = np.float32(beta)
    log_weights = path_weights.log_path_weights(beta, p)
    exact, _ = decimal_log_weights(float(beta), p)
    near = np.array(exact, float) > float(max(exact)) - 20
    assert log_weights.dtype == jnp.float32
    assert np.abs(errors(log_weights, exact)[near]).max() < 1e-5


@pytest.mark.slow_but('True')
@pytest.mark.parametrize('fused', [True, False])
def test_float32_near_the_mode_does_not_get_worse_with_depth(fused):
    """Fused operations may contract into exact multiply-adds; the result must not depend on it."""
    p, beta = 10**5, np.float32(0.9)
    with jax.disable_jit(not fused):
        single = np.asarray(path_weights.log_path_weights(beta, p), np.float64)
    double = np.asarray(path_weights.log_path_weights(np.float64(beta), p))
    near = double > double.max() - 20
    assert np.abs(single - double)[near].max() < 1e-5


@pytest.mark.slow_but('float32')
@pytest.mark.parametrize('dtype', [np.float32, np.float64])
def test_a_million_layers(dtype):
    p = 10**6
    log_weights = path_weights.log_path_weights(dtype(1), p)
    mean, variance = path_weights.depth_moments(log_weights)
    assert np.isfinite(log_weights).all()
    rel = 1e-4 if dtype == np.float32 else 1e-12
    assert float(mean) == pytest.approx((p + 1) / 2, rel=rel)
    assert float(variance) == pytest.approx((p - 1) ** 2 / (4 * (2 * p - 3)), rel=rel)


def test_python_numbers_take_the_default_dtype():
    def dtype(function, *arguments):
        return jax.eval_shape(lambda: function(*arguments)).dtype

    with jax.enable_x64(False):
        for beta in (0.5, np.float64(0.5), 2):
            assert dtype(path_weights.log_path_weights, beta, 5) == jnp.float32
        assert dtype(path_weights.log_path_weights_from_gains, [1, 2]) == jnp.float32
    assert path_weights.log_path_weights(2, 10).dtype == jnp.float64


# --- equal gains: identities


@few
@hypothesis.given(strategies.floats(1e-6, 1e6), strategies.sampled_from([1, 10, 100]))
def test_reversing_the_lengths_inverts_beta(beta, p):
    forward = path_weights.log_path_weights(beta, p)
    backward = np.asarray(path_weights.log_path_weights(1 / beta, p))[::-1]
    np.testing.assert_allclose(forward, backward, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize('beta', [0.05, 0.5, 0.9, 1.5, 20.0])
@pytest.mark.parametrize('p', [1, 2, 10, 54])
def test_z_is_legendres_polynomial(p, beta):
    """(1 - b^2)^N P_N((1 + b^2) / (1 - b^2)); for b > 1 by z(b) = b^(p+1) z(1/b)."""
    small, N = min(beta, 1 / beta), p - 1
    legendre = scipy.special.eval_legendre(N, (1 + small**2) / (1 - small**2))
    z2 = small**2 * (1 - small**2) ** N * legendre * (beta ** (2 * p + 2) if beta > 1 else 1)
    assert 2 * float(path_weights.log_z(beta, p)) == pytest.approx(math.log(z2), rel=1e-11)


def test_z_at_beta_1_is_a_central_binomial_coefficient():
    for p in (1, 2, 100, 2000):
        exact = math.log(math.comb(2 * p - 2, p - 1)) / 2
        assert float(path_weights.log_z(1, p)) == pytest.approx(exact, rel=1e-13)


@pytest.mark.parametrize('p', [1, 2, 3, 7, 12])
def test_argmax_set_is_the_exact_one_of_integer_arithmetic(p):
    for top, bottom in itertools.product(range(1, 15), range(1, 15)):
        weights = [math.comb(p - 1, r - 1) * top**r * bottom ** (p - r) for r in range(1, p + 1)]
        expected = tuple(r for r, w in enumerate(weights, 1) if w == max(weights))
        assert path_weights.argmax_set(Fraction(top, bottom), p) == expected
        assert path_weights.argmax_set(top / bottom, p) == expected


@pytest.mark.parametrize('dtype', [np.float32, np.float64])
@pytest.mark.parametrize('p', [54, 110, 1000])
def test_a_rounded_tie_is_a_tie_and_its_neighbourhood_is_not(p, dtype):
    for k in range(1, p):
        tie = dtype(k / (p - k))
        away = 100 * np.finfo(dtype).eps
        assert path_weights.argmax_set(tie, p) == (k, k + 1)
        assert path_weights.argmax_set(np.nextafter(tie, dtype(np.inf)), p) == (k, k + 1)
        assert path_weights.argmax_set(tie * dtype(1 - away), p) == (k,)
        assert path_weights.argmax_set(tie * dtype(1 + away), p) == (k + 1,)


def test_argmax_set_of_an_exact_fraction_next_to_a_tie_is_no_tie():
    assert path_weights.argmax_set(Fraction(1, 2), 54) == (18, 19)
    assert path_weights.argmax_set(Fraction(1, 2) + Fraction(1, 10**30), 54) == (19,)


@pytest.mark.parametrize('beta', [1e-4, 0.5, 1.0, 3.0])
def test_derivatives_in_log_beta_are_r_minus_the_mean_and_minus_twice_the_variance(beta):
    p = 30
    weights = [Fraction(math.comb(p - 1, r - 1)) * Fraction(beta) ** r for r in range(1, p + 1)]
    total = sum(w**2 for w in weights)
    mean = sum(r * w**2 for r, w in enumerate(weights, 1)) / total
    variance = sum((r - mean) ** 2 * w**2 for r, w in enumerate(weights, 1)) / total

    slope, curvature, z_slope = _derivatives(math.log(beta), p)
    np.testing.assert_allclose(slope, np.arange(1, p + 1) - float(mean), rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(curvature, np.full(p, -2 * float(variance)), rtol=1e-10, atol=1e-13)
    assert float(z_slope) == pytest.approx(float(mean), rel=1e-12)


def test_vmapped_and_jitted_calls_equal_a_loop():
    betas = np.geomspace(1e-3, 1e3, 7)
    loop = np.stack([path_weights.log_path_weights(beta, 10) for beta in betas])
    vmapped = jax.jit(jax.vmap(lambda beta: path_weights.log_path_weights(beta, 10)))(betas)
    jitted = jax.jit(path_weights.log_path_weights, static_argnums=1)(betas[3], 10)
    np.testing.assert_allclose(vmapped, loop, rtol=1e-13)
    np.testing.assert_allclose(jitted, loop[3], rtol=1e-13)

    gains_BL = np.stack([betas, betas[::-1] ** 2, np.ones(7)])
    for coherent in (True, False):
        of_gains = lambda b, c=coherent: path_weights.log_path_weights_from_gains(b, c)  # noqa: E731
        vmapped = jax.jit(jax.vmap(of_gains))(gains_BL)
        np.testing.assert_allclose(vmapped, [of_gains(b) for b in gains_BL], rtol=1e-13)


# --- bands, bad input


def test_bands_that_partition_the_lengths_have_mass_one():
    log_weights = path_weights.log_path_weights(0.7, 100)
    bands = ((1, 35), (36, 36), (37, 100))
    assert sum(float(path_weights.band_mass(log_weights, *band)) for band in bands) == (
        pytest.approx(1, rel=1e-14)
    )


@pytest.mark.parametrize('beta', [0, -1.0, math.nan, math.inf, np.float32(-0.5)])
def test_a_beta_out_of_range_is_named(beta):
    for function in (
        path_weights.log_path_weights,
        path_weights.log_z,
        path_weights.argmax_set,
    ):
        with pytest.raises(ValueError, match='beta = '):
            function(beta, 5)


@pytest.mark.parametrize('p', [0, -3, 2.5, None])
def test_a_depth_out_of_range_is_named(p):
    for function in (
        path_weights.log_path_weights,
        path_weights.log_z,
        path_weights.argmax_set,
    ):
        with pytest.raises(ValueError, match='expected a depth, an integer >= 1'):
            function(0.5, p)


def test_bad_shapes_gains_and_bands_are_named():
    log_weights = np.zeros(5)
    with pytest.raises(ValueError, match=r'gains contain -2\.0'):
        path_weights.log_path_weights_from_gains([1.0, -2.0])
    with pytest.raises(ValueError, match='gains contain nan'):
        path_weights.log_path_weights_from_gains([math.nan])
    with pytest.raises(ValueError, match='gains of shape'):
        path_weights.log_path_weights_from_gains(np.ones((2, 3)))
    with pytest.raises(ValueError, match='beta of shape'):
        path_weights.log_path_weights(np.ones(3), 5)
    with pytest.raises(ValueError, match='log_weights of shape'):
        path_weights.depth_moments(np.ones((2, 3)))
    for band in ((0, 3), (4, 2), (2, 6)):
        with pytest.raises(ValueError, match='band'):
            path_weights.band_mass(log_weights, *band)


def test_inside_jit_a_bad_value_gives_nan():
    for beta, p in ((-1.0, 4), (0.0, 4), (-1.0, 1)):
        assert np.isnan(jax.jit(path_weights.log_path_weights, static_argnums=1)(beta, p)).all()
    assert np.isnan(jax.jit(path_weights.log_path_weights_from_gains)(np.array([1.0, -1]))).all()


@functools.partial(jax.jit, static_argnums=1)
def _derivatives(log_beta, p):
    def of_log_beta(t):
        return path_weights.log_path_weights(jnp.exp(t), p)

    first = jax.jacrev(of_log_beta)
    z_slope = jax.grad(lambda t: path_weights.log_z(jnp.exp(t), p))
    return first(log_beta), jax.jacfwd(first)(log_beta), z_slope(log_beta)


# --- oracles


def decimal_log_weights(beta, p):
    """log eps_r and log z of eq 16 for the exact value of a float, in 40-digit decimals."""
    with decimal.localcontext(prec=40):
        beta = Decimal(beta)
        log_weights = [beta.ln()]
        for r in range(1, p):
            log_weights.append(log_weights[-1] + (beta * (p - r) / r).ln())
        top = max(log_weights)
        mass = sum((2 * (w - top)).exp() for w in log_weights if w - top > -60)
        log_z = top + mass.ln() / 2
        return [w - log_z for w in log_weights], log_z


def errors(computed, exact):
    return np.array(
        [float(Decimal(float(a)) - b) for a, b in zip(np.asarray(computed), exact, strict=True)]
    )
