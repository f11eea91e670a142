"""Rates of critical points: published values, brute-force suprema, Theorem 5 and its limits."""

import fractions
import itertools
import math

import numpy as np
import pytest
from scipy import optimize

from resnet_dyn.theory import complexity

PURE = {
    # p: (theta, E_inf, E_0, E_1)
    3: (0.013240256946639321, 1.632993161855452, 1.6569983635274732, 1.652873198103043),
    4: (0.04930614433405485, 1.7320508075688772, 1.7940850281792544, 1.7833003012540576),
    5: (0.09314718055994531, 1.7888543819998317, 1.8879888263689186, 1.8705756354767955),
    10: (0.2986122886681097, 1.8973665961010275, 2.1353638004501483, 2.0921424910189343),
    20: (0.5722194895832202, 1.949358868961793, 2.3406789983304814, 2.26742973303701),
    100: (1.317559925067295, 1.98997487421324, 2.7310575706394586, 2.5851029783390165),
}
MIXED = [
    # mixture, theta, E_th, E'_inf, E_0
    ({2: 0.5, 3: 0.5}, 0.004232583853637007, 1.5384615384615385, 1.55, 1.5570943798186887),
    (
        {2: 0.3, 4: 0.7},
        0.03511166963124539,
        1.6451612903225805,
        1.6823529411764706,
        1.7192616393809201,
    ),
    (
        {2: 0.9, 10: 0.1},
        0.08672806435686083,
        1.3531969067774692,
        1.7214137521590935,
        1.624238918578419,
    ),
]
FIGURE_1F = {
    # beta: (x, theta) at p = 100, sums from r = 2
    0.1: (9.212237290239008, 0.3061098414581549),
    0.5: (33.24216824038746, 0.810317115167832),
    2.0: (66.24861854331863, 1.1264476941181962),
}
BETA_STAR = {10: 0.12040732145010942, 100: 0.010172681181121903}


def close(value, expected):
    assert value == pytest.approx(expected, rel=1e-9, abs=0)


@pytest.mark.parametrize('p', PURE)
def test_pure_models_have_the_published_rates_and_energies(p):
    rate, edge, lowest, second = PURE[p]
    mixture = {p: 1.0}
    close(complexity.theta(mixture), rate)
    close(complexity.threshold_energies(mixture), (edge, edge))
    close(complexity.ground_energy(mixture, 0), lowest)
    close(complexity.ground_energy(mixture, 1), second)


@pytest.mark.parametrize(('mixture', 'rate', 'threshold', 'edge', 'lowest'), MIXED)
def test_mixed_models_have_the_published_rates_and_energies(mixture, rate, threshold, edge, lowest):
    close(complexity.theta(mixture), rate)
    close(complexity.threshold_energies(mixture), (threshold, edge))
    close(complexity.ground_energy(mixture, 0), lowest)


@pytest.mark.parametrize('beta', FIGURE_1F)
def test_path_weights_give_figure_1f(beta):
    ratio, rate = FIGURE_1F[beta]
    mixture = complexity.path_weight_mixture(beta, 100)
    slope, curvature, _ = complexity.moments(mixture)
    close(curvature / slope, ratio)
    close(complexity.theta(mixture), rate)


@pytest.mark.parametrize('first', [1, 2, 5])
def test_path_weight_mixture_is_exact(first):
    p, beta = 9, fractions.Fraction(3, 7)
    exact = {r: (math.comb(p - 1, r - 1) * beta**r) ** 2 for r in range(first, p + 1)}
    mixture = complexity.path_weight_mixture(float(beta), p, first)
    assert list(mixture) == list(exact)
    for r, weight in exact.items():
        assert mixture[r] == pytest.approx(float(weight / sum(exact.values())), rel=1e-13)


def test_path_weight_mixture_holds_at_great_depth():
    mixture = complexity.path_weight_mixture(0.5, 10_000)
    slope, curvature, variance = complexity.moments(mixture)
    assert slope == pytest.approx(10_000 / 3 + 3 / 4 - 1 / 6, abs=1e-4)  # up to O(1/p)
    assert variance == pytest.approx((1 / 3) * (2 / 3) * (2 * 10_000 - 1) / 4, rel=1e-4)
    assert curvature / slope == pytest.approx(slope, rel=1e-3)


@pytest.mark.parametrize('p', [3, 4, 10, 100, 1000])
def test_beta_star_is_where_x_reaches_one(p):
    beta = complexity.beta_star(p)
    slope, curvature, _ = complexity.moments(complexity.path_weight_mixture(beta, p, first=1))
    assert curvature / slope == pytest.approx(1, rel=1e-12)
    if p in BETA_STAR:
        close(beta, BETA_STAR[p])


def test_two_layers_never_reach_x_one():
    assert complexity.beta_star(1) == complexity.beta_star(2) == math.inf


@pytest.mark.parametrize('p', [5, 20])
def test_x_at_beta_one_over_p_keeping_all_paths(p):
    mixture = complexity.path_weight_mixture(1 / p, p, first=1)
    slope, curvature, _ = complexity.moments(mixture)
    assert curvature / slope == pytest.approx((p - 1) / (p + 1), rel=1e-13)


def test_moments_are_exact_and_do_not_depend_on_the_scale_of_the_weights():
    assert complexity.moments({1: 1, 3: 2, 4: 1}) == pytest.approx((2.75, 6.0, 1.1875))
    assert complexity.moments({1: 1e-200, 3: 2e-200, 4: 1e-200}) == pytest.approx(
        complexity.moments({1: 1e200, 2: 0.0, 3: 2e200, 4: 1e200})
    )
    assert complexity.moments({7: 0.3})[2] == 0.0


def test_theta_increases_with_beta():
    betas = np.geomspace(0.01, 100, 60)
    rates = [complexity.theta(complexity.path_weight_mixture(beta, 30)) for beta in betas]
    assert np.all(np.diff(rates) > 0)


@pytest.mark.parametrize('seed', range(8))
def test_theorem_5_the_longest_path_alone_maximises_theta(seed):
    p = 7
    lengths = range(2, p + 1)

    def negative_theta(weights):
        return -complexity.theta(dict(zip(lengths, np.maximum(weights, 0), strict=True)))

    found = optimize.minimize(
        negative_theta,
        np.random.default_rng(seed).dirichlet(np.ones(p - 1)),
        method='SLSQP',
        bounds=[(0, 1)] * (p - 1),
        constraints={'type': 'eq', 'fun': lambda weights: weights.sum() - 1},
        options={'ftol': 1e-12},
    )
    assert found.x == pytest.approx(np.eye(p - 1)[-1], abs=1e-6)
    assert -found.fun == pytest.approx(complexity.theta({p: 1.0}), rel=1e-6)


def test_theta_is_accurate_where_log_x_and_kappa_nearly_cancel():
    for weight in (1e-2, 1e-4, 1e-8):
        gap = fractions.Fraction(3 * weight) / fractions.Fraction(4 + 9 * weight - 4 * weight)
        mixture = {2: 1 - weight, 3: weight}
        leading = float(gap) ** 3 / 3 * (1 + 3 * float(gap) ** 2 / 5 + 3 * float(gap) ** 4 / 7)
        close(complexity.theta(mixture), leading)
    above, below = {3: 1.0, 2: 0.9999}, {3: 1.0, 2: 1.0001}  # kappa near 0.1 or not, smooth
    assert complexity.theta(above) == pytest.approx(complexity.theta(below), rel=1e-3)


def test_theta_is_never_negative_for_minima_and_is_so_for_saddles_below_x_one():
    for beta in (0.02, 0.05, 0.1, 0.12):
        mixture = complexity.path_weight_mixture(beta, 10, first=1)
        assert complexity.theta(mixture) == 0.0
        assert complexity.theta(mixture, 2) < complexity.theta(mixture, 1) < 0
    assert complexity.theta({1: 1.0}) == 0.0
    assert complexity.theta({1: 1.0}, 1) == -math.inf


def test_theta_of_saddles_below_x_one_is_the_formula_of_the_errata():
    mixture = {1: 0.8, 2: 0.1, 3: 0.1}
    slope, curvature, _ = complexity.moments(mixture)
    x = curvature / slope
    kappa = (1 - x) / (1 + x)
    for k in range(1, 5):
        logs = (k + 1) / 2 * math.log((k + 1 + kappa) / (k + 1 - kappa))
        close(complexity.theta(mixture, k), math.log(x) / 2 + logs)


def supremum(mixture, k, u):
    """theta_k(u) by a numerical search over s."""
    slope, curvature, variance = complexity.moments(mixture)

    def negative(s):
        root = math.sqrt(max(s * s - 4, 0.0))
        repulsion = abs(s) * root / 4 - math.log((abs(s) + root) / 2)
        misfit = (math.sqrt(curvature) * s - slope * u) ** 2 / (2 * variance)
        height = -u * u / 2 - misfit + s * s / 4 - (k + 1) * repulsion
        return -(0.5 * math.log(curvature / slope) + height)

    inside = optimize.minimize_scalar(negative, bounds=(-60, -2), method='bounded')
    return max(-inside.fun, -negative(-2.0))


@pytest.mark.parametrize('mixture', [{2: 0.5, 3: 0.5}, {1: 0.3, 4: 0.7}, {1: 0.9, 2: 0.1}])
def test_theta_at_energy_is_the_supremum(mixture):
    for k, u in itertools.product((0, 1, 4), np.linspace(-3, 1, 9)):
        expected = supremum(mixture, k, u)
        value = complexity.theta_at_energy(mixture, k, u)
        assert value == pytest.approx(expected, rel=1e-8, abs=1e-8)


@pytest.mark.parametrize('mixture', [{3: 1.0}, {2: 0.5, 3: 0.5}, {1: 0.9, 2: 0.1}, {1: 1.0}])
def test_theta_is_the_highest_rate_over_all_energies(mixture):
    for k in (0, 1):
        rates = [complexity.theta_at_energy(mixture, k, u) for u in np.linspace(-3, 0, 3001)]
        assert max(rates) <= complexity.theta(mixture, k) + 1e-15
        assert max(rates) >= complexity.theta(mixture, k) - 1e-3


def test_low_index_points_sit_at_the_threshold_energy():
    for mixture in ({4: 1.0}, {2: 0.5, 3: 0.5}, {2: 0.9, 10: 0.1}):
        threshold = complexity.threshold_energies(mixture)[0]
        for k in (0, 1, 7):
            at_threshold = complexity.theta_at_energy(mixture, k, -threshold)
            close(at_threshold, complexity.theta(mixture, k))


def test_a_pure_model_has_no_low_index_points_above_its_edge():
    edge = complexity.threshold_energies({3: 1.0})[0]
    assert complexity.theta_at_energy({3: 1.0}, 0, -0.99 * edge) == -math.inf
    assert complexity.theta_at_energy({3: 1.0}, 0, 0.0) == -math.inf


def test_nearly_pure_is_pure():
    nearly = {3: 1.0, 4: 1e-13}
    for k in (0, 1):
        close(complexity.ground_energy(nearly, k), complexity.ground_energy({3: 1.0}, k))
        close(
            complexity.theta_at_energy(nearly, k, -1.7),
            complexity.theta_at_energy({3: 1.0}, k, -1.7),
        )


@pytest.mark.parametrize('mixture', [{3: 1.0}, {2: 0.5, 3: 0.5}, {2: 0.9, 10: 0.1}, {50: 1.0}])
def test_the_rate_vanishes_at_the_ground_energy(mixture):
    for k in (0, 1, 5):
        energy = complexity.ground_energy(mixture, k)
        assert energy >= complexity.threshold_energies(mixture)[0]
        assert abs(complexity.theta_at_energy(mixture, k, -energy)) < 1e-13
        assert complexity.theta_at_energy(mixture, k, -energy - 1e-3) < 0


def test_ground_energies_coincide_only_when_reached_before_the_edge():
    shallow = [complexity.ground_energy({2: 0.9, 10: 0.1}, k) for k in range(4)]
    assert len(set(shallow)) == 1
    deep = [complexity.ground_energy({4: 1.0}, k) for k in range(4)]
    assert np.all(np.diff(deep) < 0)


def test_below_x_one_the_ground_energy_is_the_root_of_the_slope():
    mixture = {1: 0.8, 2: 0.1, 3: 0.1}
    energy = complexity.ground_energy(mixture, 0)
    close(energy, math.sqrt(complexity.moments(mixture)[0]))
    assert abs(complexity.theta_at_energy(mixture, 0, -energy)) < 1e-13
    assert math.isnan(complexity.ground_energy(mixture, 1))
    assert complexity.ground_energy({1: 1.0}, 0) == 1.0


@pytest.mark.parametrize(
    'mixture', [{}, {2: 0.0}, {2: -0.1, 3: 1.1}, {2: math.nan}, {0: 1.0}, {2.5: 1.0}, [0.5, 0.5]]
)
def test_bad_mixtures_are_refused(mixture):
    with pytest.raises(ValueError, match='expected'):
        complexity.moments(mixture)


@pytest.mark.parametrize(
    'call',
    [
        lambda: complexity.theta({3: 1.0}, -1),
        lambda: complexity.theta({3: 1.0}, 0.5),
        lambda: complexity.theta_at_energy({3: 1.0}, 0, math.nan),
        lambda: complexity.ground_energy({3: 1.0}, -2),
        lambda: complexity.beta_star(0),
        lambda: complexity.path_weight_mixture(0.0, 5),
        lambda: complexity.path_weight_mixture(math.inf, 5),
        lambda: complexity.path_weight_mixture(1.0, 1),
        lambda: complexity.path_weight_mixture(1.0, 5, first=0),
    ],
)
def test_bad_arguments_are_refused(call):
    with pytest.raises(ValueError, match='expected'):
        call()
