"""Lemma 4, Theorems 1 and 2 and the derivatives in C, against exact sums and limits."""

import itertools
import math
from fractions import Fraction

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import strategies

from resnet_dyn.theory import effective_depth, path_weights

pytestmark = pytest.mark.usefixtures('float64')

SETTING = {'Lambda': 1.7e6, 'n': 100, 'rho': 0.5}


# --- Lemma 4


@pytest.mark.parametrize('p', [1, 2, 10, 55])
def test_lemma_4_each_length_dominates_inside_its_window_and_ties_at_its_ends(p):
    for k in range(1, p + 1):
        low, high = effective_depth.scale_window(k, p, **SETTING)
        scale = effective_depth.scale_for_depth(k, p, **SETTING)
        assert low < scale < high
        assert argmax_at(scale, p) == (k,)
        if k > 1:
            assert argmax_at(low, p) == (k - 1, k)
            assert argmax_at(low * (1 + 1e-9), p) == (k,)
        if k < p:
            assert argmax_at(high, p) == (k, k + 1)
            assert argmax_at(high * (1 - 1e-9), p) == (k,)


def test_the_windows_cover_every_positive_scale():
    windows = [effective_depth.scale_window(k, 12, **SETTING) for k in range(1, 13)]
    assert windows[0][0] == 0
    assert windows[-1][1] == math.inf
    for before, after in itertools.pairwise(windows):
        assert before[1] == pytest.approx(after[0], rel=1e-15)


@pytest.mark.parametrize(
    ('name', 'value'),
    [
        ('k', 0),
        ('k', 11),
        ('k', 2.5),
        ('p', 0),
        ('Lambda', 1),
        ('n', 0),
        ('rho', 0),
        ('rho', 1.5),
        ('rho', math.nan),
    ],
)
def test_arguments_out_of_range_are_named(name, value):
    arguments = {'k': 3, 'p': 10, **SETTING, name: value}
    for function in (effective_depth.scale_window, effective_depth.scale_for_depth):
        with pytest.raises(ValueError, match=f'{name} = {value}'):
            function(**arguments)


# --- derivatives in C


@pytest.mark.parametrize('equal', [True, False])
def test_slopes_in_log_scale_are_those_of_the_normalised_weights(equal):
    """Central differences in log C; for unequal gains all of them scale with C."""
    gains = np.full(11, 0.6) if equal else np.geomspace(0.05, 4, 11)

    def law(log_scale):
        return np.asarray(path_weights.log_path_weights_from_gains(gains * math.exp(log_scale)))

    step = 1e-4
    numeric = (law(step) - law(-step)) / (2 * step)
    means = [float(path_weights.depth_moments(law(t))[0]) for t in (-step, step)]
    np.testing.assert_allclose(effective_depth.log_weight_slopes(law(0)), numeric, atol=1e-6)
    assert float(effective_depth.mean_depth_slope(law(0))) == pytest.approx(
        (means[1] - means[0]) / (2 * step), rel=1e-6
    )


def test_the_derivative_in_c_is_differentiable_through_beta():
    def mean(scale):
        beta = effective_depth.beta_of_scale(scale, **SETTING)
        return path_weights.depth_moments(path_weights.log_path_weights(beta, 55))[0]

    scale = effective_depth.scale_for_depth(20, 55, **SETTING)
    log_weights = path_weights.log_path_weights(effective_depth.beta_of_scale(scale, **SETTING), 55)
    slope = effective_depth.mean_depth_slope(log_weights)
    assert float(jax.jit(jax.grad(mean))(scale) * scale) == pytest.approx(float(slope), rel=1e-11)


# --- Theorems 1 and 2


@hypothesis.settings(max_examples=200, deadline=None, derandomize=True)
@hypothesis.given(strategies.fractions(Fraction(1, 1000), 1000), strategies.integers(1, 300))
def test_theorem_1_the_argmax_is_within_one_layer_of_q_p(beta, p):
    assert effective_depth.argmax_gap(beta, p) <= (1 + 1e-12) / p


@pytest.mark.parametrize('beta', [0.2, 0.5, 1.0, 3.0])
def test_theorem_2_the_moments_approach_their_expansion_like_1_over_p(beta):
    gaps = []
    for p in (250, 1000):
        exact = path_weights.depth_moments(path_weights.log_path_weights(beta, p))
        expansion = effective_depth.asymptotic_moments(beta, p)
        gaps.append([abs(float(a) - b) for a, b in zip(exact, expansion, strict=True)])
    assert np.all(np.array(gaps[1]) < np.array(gaps[0]) / 3.5 + 1e-9)
    assert max(gaps[1]) < 1e-3


def test_the_moments_at_beta_1_are_exact():
    for p in (2, 55, 100, 1000):
        mean, variance = path_weights.depth_moments(path_weights.log_path_weights(1, p))
        assert float(mean) == pytest.approx((p + 1) / 2, rel=1e-13)
        assert float(variance) == pytest.approx((p - 1) ** 2 / (4 * (2 * p - 3)), rel=1e-11)


def test_the_law_approaches_a_gaussian_like_p_to_the_minus_half():
    distances = []
    for p in (100, 1000, 10_000):
        log_weights = path_weights.log_path_weights(0.5, p)
        mean, variance = (float(m) for m in path_weights.depth_moments(log_weights))
        r = np.arange(1, p + 1)
        gaussian = scipy.stats.norm.pdf(r, mean, math.sqrt(variance))
        distances.append(np.abs(np.exp(2 * np.asarray(log_weights)) - gaussian).sum() / 2)
    np.testing.assert_allclose(distances, [0.0064, 0.0020, 0.00063], rtol=0.05)


@pytest.mark.parametrize('beta', [0.05, 0.5, 1.0, 4.0])
@pytest.mark.parametrize('p', [2, 55, 1000])
def test_theorem_2_the_tails_obey_their_bounds_in_order(p, beta):
    law = np.exp(2 * np.asarray(path_weights.log_path_weights(beta, p)))
    q = beta / (1 + beta)
    branches = np.arange(p)
    for alpha in np.linspace(0.02, 0.98, 13):
        tail = branches >= alpha * (p - 1) if alpha >= q else branches <= alpha * (p - 1)
        bounds = effective_depth.log_tail_bounds(alpha, beta, p)
        assert law[tail].sum() <= math.exp(bounds.sharp) * (1 + 1e-12)
        assert bounds.sharp <= bounds.entropy + 1e-12
        assert bounds.entropy <= bounds.quadratic + 1e-12


def test_theorem_2_the_rate_is_twice_the_relative_entropy():
    beta, alpha = 0.5, 0.6
    rate = -2 * float(effective_depth.relative_entropy(alpha, beta / (1 + beta)))
    gaps = []
    for p in (1000, 10_000):
        log_weights = np.asarray(path_weights.log_path_weights(beta, p))
        gaps.append(abs(2 * float(log_weights[round(alpha * p) - 1]) / p - rate))
    assert gaps[1] < gaps[0] / 5
    assert gaps[1] < 1e-3


def test_relative_entropy_is_zero_at_q_and_finite_at_the_ends():
    entropy = effective_depth.relative_entropy(jnp.array([0.0, 0.3, 1.0]), 0.3)
    np.testing.assert_allclose(entropy, [-math.log(0.7), 0, -math.log(0.3)], atol=1e-15)


def test_a_fraction_of_branches_out_of_range_is_named():
    with pytest.raises(ValueError, match=r'alpha = 1\.2'):
        effective_depth.log_tail_bounds(1.2, 0.5, 10)


def argmax_at(scale, p):
    return path_weights.argmax_set(effective_depth.beta_of_scale(scale, **SETTING), p)
