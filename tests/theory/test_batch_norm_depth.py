"""Batch-norm depth against published values, permutations, closed forms and a simulated network."""

import decimal
import math
from decimal import Decimal

import hypothesis
import jax
import numpy as np
import pytest
from hypothesis import strategies
from reference_values_depth import VALUES

from resnet_dyn.theory import batch_norm_depth, path_weights

REL = 1e-10
GAMMAS = np.array([1.5, 0.5, 0.0, 2.0, 0.7])
few = hypothesis.settings(max_examples=50, deadline=None, derandomize=True)
gamma_vectors = strategies.lists(strategies.floats(-3, 3), min_size=12, max_size=12)


# --- published values


@pytest.mark.parametrize('p', [10, 54, 110, 1000])
def test_published_depths_of_the_nominal_recursion(p):
    q = batch_norm_depth.branch_probabilities(p)
    mean, variance = VALUES[f'bn.nominal.p{p}.E_r'], VALUES[f'bn.nominal.p{p}.var_r']
    assert batch_norm_depth.mean_depth(p) == pytest.approx(mean, rel=REL)
    assert batch_norm_depth.depth_variance(q) == pytest.approx(variance, rel=REL)


@pytest.mark.parametrize('p', [10, 54])
@pytest.mark.parametrize(('key', 'variant'), [('rms', 'rms'), ('std', 'std'), ('bn', 'centred')])
def test_published_moments(key, variant, p):
    moments = batch_norm_depth.activation_moments(p, variant)
    found = {
        'E_r': batch_norm_depth.mean_depth(p, variant),
        'v_p': moments.second_moment[-1],
        'sigma2_p': moments.sigma2[-1],
        'm_p': moments.mean[-1],
    }
    published = {name: VALUES.get(f'bn.{key}.p{p}.{name}') for name in found}
    assert sum(value is not None for value in published.values()) >= 3
    for name, value in published.items():
        assert value is None or found[name] == pytest.approx(value, rel=REL)


def test_published_depths_at_gamma_2_frozen_recomputed_and_in_the_limit():
    frozen = batch_norm_depth.mean_depth(54, gamma=2, sigma='frozen')
    recomputed = batch_norm_depth.mean_depth(54, gamma=2)
    limit = batch_norm_depth.mean_depth(54, gamma=1e8)
    assert frozen == pytest.approx(VALUES['bn.frozen_sigma.lambda2.p54.E_r'], rel=REL)
    assert recomputed == pytest.approx(VALUES['bn.selfconsistent.lambda2.p54.E_r'], rel=REL)
    assert limit == pytest.approx(VALUES['bn.selfconsistent.lambda_inf.p54.E_r'], rel=REL)


def test_rms_saturates():
    """The terms left out at p are pi / l^2 to leading order: together pi / p."""
    p = 50_000
    limit = batch_norm_depth.mean_depth(p, 'rms') + math.pi / p
    assert limit == pytest.approx(VALUES['bn.rms.limit_E_r'], abs=6e-9)


@pytest.mark.parametrize(
    ('p', 'rms', 'std', 'centred'),
    [
        (110, 2.580137390, 5.775822415, 7.089107417),
        (1000, 2.605408352, 7.981632148, 10.31837521),
    ],
)
def test_published_depths_of_deeper_networks(p, rms, std, centred):
    for variant, value in (('rms', rms), ('std', std), ('centred', centred)):
        assert batch_norm_depth.mean_depth(p, variant) == pytest.approx(value, rel=5e-10)


# --- the moments themselves


@pytest.mark.parametrize(('p', 'gamma', 'v1'), [(110, 1.0, 1.0), (400, 1.0, 1.0), (300, 0.5, 2.0)])
def test_std_keeps_its_digits_where_the_mean_dwarfs_the_variance(p, gamma, v1):
    exact = decimal_std(p, gamma, v1)
    moments = batch_norm_depth.activation_moments(p, 'std', gamma, v1)
    found = (
        moments.second_moment[-1],
        moments.mean[-1],
        moments.sigma2[-1],
        batch_norm_depth.mean_depth(p, 'std', gamma, v1),
    )
    np.testing.assert_allclose(found, exact, rtol=1e-13)


def test_moments_have_their_closed_forms_at_gamma_1():
    l = np.arange(1, 41)
    for variant in ('nominal', 'centred', 'preact'):
        v = batch_norm_depth.activation_moments(40, variant).second_moment
        np.testing.assert_allclose(v, l, rtol=1e-14)
    rms = batch_norm_depth.activation_moments(40, 'rms')
    np.testing.assert_allclose(rms.second_moment, l + l * (l - 1) / math.pi, rtol=1e-14)
    np.testing.assert_allclose(rms.mean, l / math.sqrt(math.pi), rtol=1e-14)
    preact = batch_norm_depth.activation_moments(40, 'preact')
    np.testing.assert_allclose(preact.sigma2[1:], 1 + (l[1:] - 2) * (1 - 1 / math.pi), rtol=1e-14)
    std = batch_norm_depth.activation_moments(1000, 'std')
    assert std.mean[-1] == pytest.approx(0.57 * math.exp(2 * math.sqrt(1000 / math.pi)), rel=0.05)


def test_what_a_variant_does_not_define_is_nan_and_gains_are_gamma_over_sigma():
    for variant in batch_norm_depth.VARIANTS:
        moments = batch_norm_depth.activation_moments(6, variant, GAMMAS, v1=2.0)
        assert np.isnan(moments.mean).all() == (variant == 'nominal')
        assert np.isnan(moments.sigma2[0])
        np.testing.assert_allclose(moments.gains * np.sqrt(moments.sigma2[1:]), GAMMAS)
        assert {a.shape for a in moments} == {(6,), (5,)}
        assert {a.dtype for a in moments} == {np.dtype(np.float64)}


def test_a_single_layer_has_depth_one():
    for variant in batch_norm_depth.VARIANTS:
        assert batch_norm_depth.activation_moments(1, variant).gains.shape == (0,)
        assert batch_norm_depth.mean_depth(1, variant) == 1


@pytest.mark.slow_but('centred')
@pytest.mark.parametrize('variant', ['rms', 'std', 'centred', 'preact'])
def test_wide_random_networks_have_these_moments(variant):
    """Gammas of either sign, v1 = 2; few layers, since the limit needs width >> depth."""
    gammas = np.array([1.5, 0.5, -1.2, 2.0, 0.7])
    moments = batch_norm_depth.activation_moments(6, variant, gammas, v1=2.0)
    measured_SL3 = np.array(
        [simulated_moments(variant, gammas, 2.0, width=500, seed=seed) for seed in range(8)]
    )
    mean = measured_SL3.mean(0)
    slack = 4 * measured_SL3.std(0) / math.sqrt(8) + 0.015 * np.abs(mean)  # 1.5 %: finite width
    expected = np.stack([moments.second_moment, moments.mean, moments.sigma2], axis=1)
    assert np.all(np.abs(mean - expected)[1:] < slack[1:])


# --- depth laws


@few
@hypothesis.given(
    gamma_vectors,
    strategies.sampled_from(batch_norm_depth.VARIANTS),
    strategies.sampled_from(['recomputed', 'frozen']),
)
def test_the_law_of_any_gammas_has_its_mean_and_variance(gammas, variant, sigma):
    q = batch_norm_depth.branch_probabilities(13, variant, gammas, v1=0.7, sigma=sigma)
    law = batch_norm_depth.depth_law(q)
    r = np.arange(1, 14)
    mean = batch_norm_depth.mean_depth(13, variant, gammas, v1=0.7, sigma=sigma)
    assert law.sum() == pytest.approx(1, rel=1e-13)
    assert r @ law == pytest.approx(mean, rel=1e-12)
    assert (r - mean) ** 2 @ law == pytest.approx(batch_norm_depth.depth_variance(q), abs=1e-11)


def test_the_law_is_the_incoherent_law_of_the_gains():
    moments = batch_norm_depth.activation_moments(30, 'centred', gamma=1.3)
    law = batch_norm_depth.depth_law(batch_norm_depth.branch_probabilities(30, 'centred', 1.3))
    with jax.enable_x64(True):
        log_weights = path_weights.log_path_weights_from_gains(moments.gains, coherent=False)
        np.testing.assert_allclose(np.exp(2 * np.asarray(log_weights)), law, rtol=1e-12)


def test_nominal_counts_the_cycles_of_a_random_permutation():
    """P(r) = |s(p, r)| / p!; with frozen gammas Ewens' law, theta^r |s(p, r)| / (theta)_p."""
    p = 40
    stirling = [1]
    for n in range(1, p):
        stirling = [a + n * b for a, b in zip([0, *stirling], [*stirling, 0], strict=True)]
    law = batch_norm_depth.depth_law(batch_norm_depth.branch_probabilities(p))
    np.testing.assert_allclose(law, [s / math.factorial(p) for s in stirling], rtol=1e-13)

    theta = 2.25
    q = batch_norm_depth.branch_probabilities(p, gamma=1.5, sigma='frozen')
    rising = math.prod(theta + i for i in range(p))
    expected = [theta**r * s / rising for r, s in enumerate(stirling, 1)]
    np.testing.assert_allclose(batch_norm_depth.depth_law(q), expected, rtol=1e-12)


@pytest.mark.parametrize('gamma', [0.1, 1.0, 2.0, 7.0])
@pytest.mark.parametrize('p', [1, 2, 54, 1000])
def test_ewens_and_self_consistent_closed_forms(p, gamma):
    mean, variance = batch_norm_depth.ewens_moments(p, gamma**2)
    q = batch_norm_depth.branch_probabilities(p, gamma=gamma, sigma='frozen')
    assert batch_norm_depth.mean_depth(p, gamma=gamma, sigma='frozen') == (
        pytest.approx(mean, rel=1e-12)
    )
    assert batch_norm_depth.depth_variance(q) == pytest.approx(variance, rel=1e-10, abs=1e-12)
    for v1 in (0.3, 1.0, 5.0):
        assert batch_norm_depth.mean_depth(p, gamma=gamma, v1=v1) == pytest.approx(
            batch_norm_depth.self_consistent_mean(p, gamma, v1), rel=1e-12
        )


@few
@hypothesis.given(gamma_vectors, strategies.floats(0.1, 10))
def test_a_deep_ensemble_needs_exponentially_growing_activations(gammas, v1):
    moments = batch_norm_depth.activation_moments(13, 'nominal', gammas, v1)
    growth = math.log(moments.second_moment[-1] / v1)
    depth = batch_norm_depth.mean_depth(13, 'nominal', gammas, v1)
    law = batch_norm_depth.depth_law(
        batch_norm_depth.branch_probabilities(13, 'nominal', gammas, v1)
    )
    assert depth <= 1 + growth + 1e-12
    assert batch_norm_depth.depth_bound(moments.gains) == pytest.approx(1 + growth, rel=1e-12)
    assert law[0] == pytest.approx(math.exp(-growth), rel=1e-12)


@few
@hypothesis.given(gamma_vectors, strategies.sampled_from(batch_norm_depth.VARIANTS))
def test_the_bound_on_depth_holds_in_every_variant(gammas, variant):
    moments = batch_norm_depth.activation_moments(13, variant, gammas)
    depth = batch_norm_depth.mean_depth(13, variant, gammas)
    assert depth <= batch_norm_depth.depth_bound(moments.gains) + 1e-12


def test_a_uniform_gamma_cannot_deepen_a_self_consistent_ensemble_beyond_the_harmonic_number():
    harmonic = sum(1 / l for l in range(1, 54))
    depths = [batch_norm_depth.mean_depth(54, gamma=g) for g in (0.5, 1, 10, 1e3)]
    assert depths == sorted(depths)
    assert depths[-1] < 1 + harmonic


# --- bad input


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'p': 0}, 'p = 0'),
        ({'variant': 'batch'}, "variant = 'batch': expected one of nominal, rms"),
        ({'v1': 0.0}, r'v1 = 0\.0'),
        ({'v1': math.inf}, 'v1 = inf'),
        ({'gamma': np.ones(3)}, r'gamma of shape \(3,\).*\(9,\)'),
        ({'gamma': math.nan}, 'gamma = nan'),
        ({'sigma': 'thawed'}, "sigma = 'thawed'"),
    ],
)
def test_arguments_out_of_range_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        batch_norm_depth.mean_depth(**{'p': 10, **arguments})


def test_closed_forms_and_laws_refuse_what_they_cannot_mean():
    with pytest.raises(ValueError, match='theta = 0'):
        batch_norm_depth.ewens_moments(10, 0)
    with pytest.raises(ValueError, match='gamma = 0'):
        batch_norm_depth.self_consistent_mean(10, 0)
    with pytest.raises(ValueError, match='v1 = -1'):
        batch_norm_depth.self_consistent_mean(10, 1, -1)
    with pytest.raises(ValueError, match='probabilities'):
        batch_norm_depth.depth_law([0.5, 1.5])
    with pytest.raises(ValueError, match='gains'):
        batch_norm_depth.depth_bound([-1.0])


# --- oracles


def decimal_std(p, gamma, v1):
    """v_p, m_p, sigma_p^2 and E[r] of `std` by the textbook recursion, in 90-digit decimals."""
    with decimal.localcontext(prec=90):
        gamma, v, pi = Decimal(gamma), Decimal(v1), decimal_arctan(Decimal(1)) * 4
        mean, common, depth = (v / pi).sqrt(), v / pi, Decimal(1)
        for _ in range(p - 1):
            c = common / v
            sine = (1 - c * c).sqrt()
            angle = 2 * decimal_arctan(sine / (1 + c))
            k1 = (sine + (pi - angle) * c) / pi
            sigma2 = v * (1 - k1)
            step = gamma * (v / pi / sigma2).sqrt()
            cross = 2 * step * mean
            common += gamma**2 * v * k1 / sigma2 + cross
            v += gamma**2 * v / sigma2 + cross
            mean += step
            depth += gamma**2 / (sigma2 + gamma**2)
        return [float(x) for x in (v, mean, sigma2, depth)]


def decimal_arctan(x):
    """Halves the angle six times, then sums the power series."""
    for _ in range(6):
        x = x / (1 + (1 + x * x).sqrt())
    total, power, k = Decimal(0), x, 0
    while power and abs(power) > Decimal(10) ** -100:
        total += power / (2 * k + 1) * (-1) ** k
        power *= x * x
        k += 1
    return total * 64


def simulated_moments(variant, gammas, v1, width, seed, batch=150):
    """E N^2, E N and the sigma^2 used, layer by layer, of one network with He weights."""
    rng = np.random.default_rng(seed)

    def weights():
        return rng.normal(size=(width, width)) * math.sqrt(2 / width)

    x = rng.normal(size=(batch, width)) * math.sqrt(v1)
    N = x if variant == 'preact' else np.maximum(x @ weights(), 0)
    rows = [((N**2).mean(), N.mean(), np.nan)]
    for gamma in gammas:
        if variant == 'preact':
            sigma2 = N.var(0).mean()
            normalised = (N - N.mean(0)) / N.std(0)
            N = N + np.maximum(gamma * normalised, 0) @ weights()
        else:
            u = np.maximum(N @ weights(), 0)
            sigma2 = (u**2).mean() if variant == 'rms' else u.var(0).mean()
            N = N + gamma * (u - (u.mean(0) if variant == 'centred' else 0)) / math.sqrt(sigma2)
        rows.append(((N**2).mean(), N.mean(), sigma2))
    return np.array(rows)
