"""Path weights of gains that differ: enumeration of paths, exact polynomials, inequalities."""

import decimal
import itertools
import math
from decimal import Decimal
from fractions import Fraction

import hypothesis
import jax
import numpy as np
import pytest
import scipy.stats
from hypothesis import strategies
from reference_values_depth import VALUES

from resnet_dyn.theory import path_weights

pytestmark = pytest.mark.usefixtures('float64')

few = hypothesis.settings(max_examples=25, deadline=None, derandomize=True)
gain_vectors = strategies.lists(strategies.floats(1e-3, 1e3), min_size=9, max_size=9)


def test_published_values_of_unequal_gains():
    layers = np.arange(2, 55)
    gains = 1 / np.sqrt(layers - 1)
    for coherent, key in (
        (True, 'esp.coherent.b=1/sqrt(l-1).p54'),
        (False, 'esp.incoherent.b2=1/(l-1).p54'),
    ):
        log_weights = of_gains(gains, coherent)
        mean, variance = path_weights.depth_moments(log_weights)
        log_sum = -2 * log_weights[0]  # of the law before it is normalised: its first term is 1
        assert float(mean) == pytest.approx(VALUES[f'{key}.mean'], rel=1e-12)
        assert float(variance) == pytest.approx(VALUES[f'{key}.var'], rel=1e-12)
        assert int(log_weights.argmax()) + 1 == VALUES[f'{key}.argmax']
        assert float(log_sum) == pytest.approx(VALUES[f'{key}.log_sum'], rel=1e-12)


@few
@hypothesis.given(gain_vectors)
def test_both_laws_are_sums_over_all_paths(gains):
    coherent, incoherent = np.zeros(10), np.zeros(10)
    for used in itertools.product((0, 1), repeat=9):
        product = math.prod(b for b, on in zip(gains, used, strict=True) if on)
        coherent[sum(used)] += product
        incoherent[sum(used)] += product**2
    for law, is_coherent in ((coherent**2, True), (incoherent, False)):
        log_weights = of_gains(np.array(gains), is_coherent)
        np.testing.assert_allclose(2 * log_weights, np.log(law / law.sum()), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize('beta', [0.02, 1.0, 7.0])
def test_equal_gains_are_eq_16_and_the_binomial(beta):
    p = 54
    gains = np.full(p - 1, beta)
    np.testing.assert_allclose(
        of_gains(gains),
        path_weights.log_path_weights(beta, p),
        rtol=1e-12,
        atol=1e-12,
    )
    binomial = scipy.stats.binom.logpmf(np.arange(p), p - 1, beta**2 / (1 + beta**2))
    np.testing.assert_allclose(
        2 * of_gains(gains, coherent=False),
        binomial,
        rtol=1e-11,
        atol=1e-11,
    )


@pytest.mark.parametrize('spread', [1, 100])
def test_unequal_gains_are_finite_and_exact_where_products_overflow(spread):
    gains = 10.0 ** np.random.default_rng(spread).uniform(-spread, spread, 400)
    with decimal.localcontext(prec=40):
        polynomials = [Decimal(1)] + [Decimal(0)] * gains.size
        for gain in gains:
            for k in range(gains.size, 0, -1):
                polynomials[k] += Decimal(float(gain)) * polynomials[k - 1]
        z = sum(e**2 for e in polynomials).sqrt()
        exact = np.array([(e / z).ln() for e in polynomials], float)
    log_weights = of_gains(gains)
    assert min(exact) < -300
    assert np.all(np.abs(log_weights - exact) < 1e-12 * np.maximum(1, np.abs(exact)))


def test_gradients_in_the_gains_are_those_of_the_symmetric_polynomials():
    """d log e_k / d b_l = e_{k-1}(b without l) / e_k, also where b_l = 0: a dead block."""
    gains = [Fraction(1, 2), Fraction(0), Fraction(3), Fraction(1, 7), Fraction(2)]
    everything = exact_polynomials(gains)
    expected = []
    for k in range(5):
        without = [exact_polynomials(gains[:l] + gains[l + 1 :]) for l in range(5)]
        expected.append([float(e[k - 1] / everything[k]) if k else 0.0 for e in without])
    jacobian = jax.jit(jax.jacrev(path_weights.log_path_weights_from_gains))(np.array(gains, float))
    jacobian = np.array(jacobian)
    np.testing.assert_allclose(jacobian[:5] - jacobian[:1], expected, rtol=1e-12)


def test_a_dead_block_is_no_block_and_lengths_it_forbids_have_no_weight():
    alive = of_gains(np.array([0.5, 2.0, 1.0]))
    dead = of_gains(np.array([0.0, 0.5, 0.0, 2.0, 1.0, 0.0, 0.0, 0.0, 0.0]))
    np.testing.assert_allclose(dead[:4], alive, rtol=1e-13)
    assert np.all(np.isneginf(dead[4:]))
    np.testing.assert_array_equal(of_gains(np.zeros(9)), [0, *[-np.inf] * 9])
    np.testing.assert_array_equal(of_gains(np.zeros(0)), [0])


def test_gradients_of_the_mean_depth_are_finite_at_wildly_different_gains():
    """Incoherent: E[r] = 1 + sum b^2 / (1 + b^2), so the gradient is 2 b / (1 + b^2)^2."""
    gains = 10.0 ** np.random.default_rng(0).uniform(-8, 8, 300)

    def mean(b, coherent):
        return path_weights.depth_moments(path_weights.log_path_weights_from_gains(b, coherent))[0]

    gradient = jax.jit(jax.grad(mean), static_argnums=1)
    assert np.all(gradient(gains, True) > 0)
    np.testing.assert_allclose(
        gradient(gains, False), 2 * gains / (1 + gains**2) ** 2, rtol=1e-11, atol=1e-14
    )


@few
@hypothesis.given(gain_vectors)
def test_darroch_the_argmax_is_less_than_one_from_the_mean_of_the_amplitudes(gains):
    gains = np.array(gains)
    used = int(of_gains(gains).argmax())
    assert abs(used - np.sum(gains / (1 + gains))) < 1 + 1e-9


@few
@hypothesis.given(gain_vectors)
def test_newton_the_weights_are_log_concave(gains):
    for coherent in (True, False):
        log_weights = of_gains(np.array(gains), coherent)
        assert np.all(np.diff(log_weights, 2) < 0)


@few
@hypothesis.given(gain_vectors, strategies.integers(0, 8), strategies.floats(1.01, 100))
def test_raising_any_gain_raises_the_law_in_likelihood_ratio_order(gains, l, factor):
    raised = np.array(gains)
    raised[l] *= factor
    for coherent in (True, False):
        before, after = of_gains(np.array(gains), coherent), of_gains(raised, coherent)
        assert np.all(np.diff(after - before) > -1e-11)
        assert path_weights.depth_moments(after)[0] > path_weights.depth_moments(before)[0]


def test_gains_1_over_l_minus_1_give_the_stirling_numbers_of_the_first_kind():
    p = 54
    stirling = [1]
    for n in range(1, p):
        stirling = [a + n * b for a, b in zip([0, *stirling], [*stirling, 0], strict=True)]
    exact = [math.log(s) - math.lgamma(p + 1) for s in stirling]
    gains = 1 / np.sqrt(np.arange(1, p))
    law = 2 * of_gains(gains, coherent=False)
    np.testing.assert_allclose(law, exact, rtol=1e-12, atol=1e-12)


def of_gains(gains, coherent=True):
    """By NumPy from here on."""
    return np.asarray(path_weights.log_path_weights_from_gains(gains, coherent))


def exact_polynomials(gains):
    polynomials = [Fraction(1)]
    for b in gains:
        shifted = [Fraction(0), *polynomials]
        polynomials = [e + b * s for e, s in zip([*polynomials, Fraction(0)], shifted, strict=True)]
    return polynomials
