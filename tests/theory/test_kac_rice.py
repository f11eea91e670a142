"""Exact mean counts: published and 200-digit values, identities, Rice's formula, Monte Carlo."""

import functools
import math
import warnings

import numpy as np
import pytest
from scipy import integrate, stats

from resnet_dyn.theory import complexity
from resnet_dyn.theory.kac_rice import expected_critical_points

MIXTURES = {
    'pure3': {3: 1.0},
    'pure4': {4: 1.0},
    'pure100': {100: 1.0},
    'mix2+3_half': {2: 0.5, 3: 0.5},
}
TOTALS = {
    ('pure3', 2): 5.2915026221291805,
    ('pure3', 3): 10.55235974119758,
    ('pure3', 4): 18.790233801030155,
    ('pure3', 6): 50.87313651725072,
    ('pure3', 10): 286.91587955004934,
    ('pure3', 20): 13842.226072615887,
    ('pure3', 50): 741791537.3950107,
    ('mix2+3_half', 2): 4.816637831516919,
    ('mix2+3_half', 3): 8.722889362417797,
    ('mix2+3_half', 4): 14.07649519893256,
    ('mix2+3_half', 6): 31.13995185727777,
    ('mix2+3_half', 10): 115.52753871649188,
    ('mix2+3_half', 20): 1877.4494161260372,
    ('mix2+3_half', 50): 3591531.312932049,
    ('pure4', 2): 6.324555320336757,
    ('pure4', 3): 15.14534138012399,
    ('pure4', 4): 32.50821434653095,
    ('pure4', 6): 128.98930575826824,
    ('pure4', 10): 1595.7047377463105,
    ('pure4', 20): 572929.2250168731,
    ('pure4', 50): 13315671011148.238,
}
FIRST_INDICES = {
    # index 0, 1, 2; the published digits
    ('pure3', 3): (3.1380899352993787, 4.276179870598766, 3.138089935299378),
    ('pure3', 4): (3.5795244615076482, 5.815592439007432, 5.815592439007433),
    ('pure3', 6): (4.411781064996649, 8.99124828291626, 12.033538910712416),
    ('pure3', 20): (11.013981922893402, 44.048280022207614, 116.40489736411605),
    ('pure3', 50): (39.336016, 285.93031, 1304.063),
    ('mix2+3_half', 3): (2.6807223406044387, 3.3614446812088836, 2.680722340604439),
    ('mix2+3_half', 4): (2.904306753775567, 4.133940845690716, 4.1339408456907165),
    ('mix2+3_half', 6): (3.2862651351210626, 5.504173978460792, 6.7795368150570114),
    ('mix2+3_half', 20): (5.445584428070931, 14.82573670959436, 29.584904983944075),
    ('mix2+3_half', 50): (10.399749, 43.784621, 128.94811),
    ('pure4', 3): (4.286335345030963, 6.572670690061945, 4.286335345030964),
    ('pure4', 4): (5.481302275568151, 10.772804897697325, 10.772804897697325),
    ('pure4', 6): (8.24437331581653, 22.361153543694442, 33.8891260196231),
    ('pure4', 20): (59.27350013897124, 418.04497945084483, 1694.7322220747253),
    ('pure4', 50): (1269.2566, 20643.637, 183331.56),
}
MANY_DIGITS = {
    # another method (moments of the half lines, Pfaffian in monomials) in 220-digit arithmetic
    ('pure3', 20, 0): 11.013981922880278,
    ('pure3', 20, 3): 244.98498851105374,
    ('pure3', 20, 5): 693.62046583656963,
    ('pure4', 20, 0): 59.27350013828843,
    ('pure4', 20, 5): 22905.362383079366,
    ('pure100', 20, 0): 62297035323256.865,
    ('pure100', 20, 5): 2.3248441229602477e18,
    ('pure100', 21, 0): 279644311946004.84,
    ('pure100', 21, 5): 1.5027433170025304e19,
    ('mix2+3_half', 21, 4): 83.91693137006281,
    ('pure3', 50, 0): 39.336015829823549,
    ('pure4', 50, 3): 1158259.0721500547,
    ('pure100', 50, 0): 7.0586455131351881e32,
    ('pure100', 50, 1): 8.0769818748809915e34,
    ('mix2+3_half', 50, 2): 128.94810768694623,
}
VARIED = [
    {2: 0.9, 10: 0.1},
    {1: 0.9, 2: 0.1},
    {1: 0.2, 3: 0.5, 100: 0.3},
    {1: 1.0, 2: 1e-6},
    {3: 1.0, 4: 1e-13},
    {60: 1.0},
]


@functools.cache
def published(name, Lambda, index=None):
    return expected_critical_points(MIXTURES[name], Lambda, index)


@pytest.mark.parametrize(('name', 'Lambda'), TOTALS)
def test_totals_are_the_published_ones(name, Lambda):
    expected = TOTALS[name, Lambda]
    assert published(name, Lambda) == pytest.approx(expected, rel=1e-12)


@pytest.mark.slow_but('pure3-3', 'pure4-6', 'mix2+3_half-20')
@pytest.mark.parametrize(('name', 'Lambda'), FIRST_INDICES)
def test_counts_by_index_are_the_published_ones(name, Lambda):
    counts = [published(name, Lambda, index) for index in range(3)]
    tolerance = 1e-6 if Lambda == 50 else 1e-9
    assert counts == pytest.approx(FIRST_INDICES[name, Lambda], rel=tolerance)


@pytest.mark.slow_but('pure3-20-5', 'pure100-21-5', 'mix2+3_half-21-4', 'pure3-50-0')
@pytest.mark.parametrize(('name', 'Lambda', 'index'), MANY_DIGITS)
def test_counts_by_index_agree_with_220_digit_arithmetic(name, Lambda, index):
    expected = MANY_DIGITS[name, Lambda, index]
    assert published(name, Lambda, index) == pytest.approx(expected, rel=1e-12)


@pytest.mark.slow_but('2-mixture0', '3-mixture1', '6-mixture2', '7-mixture3')
@pytest.mark.parametrize('mixture', VARIED)
@pytest.mark.parametrize('Lambda', [2, 3, 6, 7])
def test_indices_add_up_to_the_total_and_alternate_to_the_euler_characteristic(mixture, Lambda):
    counts = [expected_critical_points(mixture, Lambda, index) for index in range(Lambda)]
    total = expected_critical_points(mixture, Lambda)
    assert sum(counts) == pytest.approx(total, rel=1e-12)
    characteristic = sum((-1) ** index * count for index, count in enumerate(counts))
    assert characteristic == pytest.approx(1 + (-1) ** (Lambda - 1), abs=1e-12 * total)


@pytest.mark.slow_but('mixture0--0.4', 'mixture1-0.0', 'mixture2--1.8', 'mixture5-0.7')
@pytest.mark.parametrize('below', [-1.8, -0.4, 0.0, 0.7])
@pytest.mark.parametrize('mixture', VARIED)
def test_indices_add_up_below_an_energy_too(mixture, below):
    logs = [expected_critical_points(mixture, 5, index, below, log=True) for index in range(5)]
    total = expected_critical_points(mixture, 5, below=below, log=True)
    assert np.logaddexp.reduce(logs) == pytest.approx(total, abs=1e-12 * max(1, abs(total)))


@pytest.mark.slow_but('2-mixture0', '5-mixture1', '5-mixture2')
@pytest.mark.parametrize('mixture', [{2: 1.0}, {1: 0.75, 3: 0.25}, {1: 0.8, 2: 0.1, 4: 0.1}])
@pytest.mark.parametrize('Lambda', [2, 5, 50])
def test_two_of_each_index_wherever_the_two_derivatives_agree(mixture, Lambda):
    slope, curvature, _ = complexity.moments(mixture)
    assert slope == pytest.approx(curvature, rel=1e-15)
    for index in sorted({0, 1, Lambda // 2, Lambda - 1}):
        count = expected_critical_points(mixture, Lambda, index)
        assert count == pytest.approx(2, rel=1e-12)


@pytest.mark.parametrize('Lambda', [50, 500])
def test_the_total_is_accurate_at_great_size(Lambda):
    two_each = expected_critical_points({1: 0.75, 3: 0.25}, Lambda)
    assert two_each == pytest.approx(2 * Lambda, rel=1e-12)


@pytest.mark.parametrize('mixture', [*MIXTURES.values(), *VARIED, {1: 1.0}])
def test_on_the_circle_the_total_is_elementary(mixture):
    slope, curvature, _ = complexity.moments(mixture)
    expected = 2 * math.sqrt((3 * curvature + slope) / slope)
    assert expected_critical_points(mixture, 2) == pytest.approx(expected, rel=1e-12)


def rice_on_the_circle(mixture, index, below):
    """Rice's formula for H on the circle of radius sqrt(2), integrated over its curvature.

    h(angle) = H/sqrt(2) has variances 1, v', v' + 3 v'' (value, slope, curvature) and covariance
    -v' of value and curvature; minima have positive curvature.
    """
    slope, curvature, _ = complexity.moments(mixture)
    bending = slope + 3 * curvature
    scatter = math.sqrt(1 - slope**2 / bending)

    def integrand(bend):
        level = (math.sqrt(2) * below + slope * bend / bending) / scatter
        return bend * stats.norm.pdf(bend, scale=math.sqrt(bending)) * stats.norm.cdf(level)

    ends = (0, 12 * math.sqrt(bending))
    sign = 1 if index == 0 else -1
    integral = integrate.quad(lambda size: sign * integrand(sign * size), *ends, epsrel=1e-12)[0]
    return math.sqrt(2 * math.pi / slope) * integral


@pytest.mark.parametrize(
    'mixture', [{2: 0.5, 3: 0.5}, {1: 0.7, 2: 0.3}, {3: 1, 4: 1e-6}, {5: 1.0}, {1: 0.2, 40: 1}]
)
@pytest.mark.parametrize('below', [-1.5, -0.7, 0.0, 0.4])
def test_levels_on_the_circle_follow_rice(mixture, below):
    for index in (0, 1):
        expected = rice_on_the_circle(mixture, index, below)
        count = expected_critical_points(mixture, 2, index, below)
        assert count == pytest.approx(expected, rel=1e-9)


@functools.cache
def drawn_eigenvalues(Lambda, draws):
    matrices = np.random.default_rng(0).normal(size=(draws, Lambda, Lambda))
    return np.linalg.eigvalsh((matrices + matrices.transpose(0, 2, 1)) / 2)


@pytest.mark.slow_but('-0.5-mixture0', '-1.4-mixture2')
@pytest.mark.parametrize('mixture', [{3: 1.0}, {2: 0.5, 3: 0.5}, {1: 0.5, 2: 0.3, 5: 0.2}])
@pytest.mark.parametrize('below', [-1.4, -0.5])
def test_levels_agree_with_monte_carlo_over_eigenvalues(mixture, below):
    Lambda, draws = 6, 100_000
    slope, curvature, variance = complexity.moments(mixture)
    total = slope + curvature
    eigenvalues = drawn_eigenvalues(Lambda, draws)
    shift = math.sqrt(2 * curvature) * slope / total * eigenvalues
    gap = math.sqrt(Lambda) * below - shift
    spread = math.sqrt(variance / total)
    share = stats.norm.cdf(gap / spread) if spread > 0 else gap >= 0
    factor = 2 * math.sqrt(2 * curvature / total) * (curvature / slope) ** ((Lambda - 1) / 2)
    kappa = (curvature - slope) / total
    samples = factor * np.exp(-kappa * eigenvalues**2 / 2) * share
    for index in (0, 1, 2):
        count = expected_critical_points(mixture, Lambda, index, below)
        error = samples[:, index].std() / math.sqrt(draws)
        assert abs(samples[:, index].mean() - count) < 4 * error
    error = samples.sum(axis=1).std() / math.sqrt(draws)
    count = expected_critical_points(mixture, Lambda, below=below)
    assert abs(samples.sum(axis=1).mean() - count) < 4 * error


@pytest.mark.parametrize('mixture', [{3: 1.0}, {2: 0.5, 3: 0.5}, {1: 0.9, 2: 0.1}, {1: 1.0}])
@pytest.mark.parametrize('index', [None, 0, 2, 4])
def test_counts_rise_with_the_level_to_the_unrestricted_count(mixture, index):
    levels = [-math.inf, -1e30, -3.0, -1.7, -1.0, -0.2, 0.0, 0.9, 3.0, 1e30, math.inf]
    counts = [expected_critical_points(mixture, 5, index, below) for below in levels]
    free = expected_critical_points(mixture, 5, index)
    assert np.all(np.diff(counts) >= -1e-12 * free)
    assert counts[0] == counts[1] == 0
    assert counts[-2:] == pytest.approx([free, free], rel=1e-14)


@pytest.mark.slow_but('3')
@pytest.mark.parametrize('index', [2, 3, 4])
def test_a_level_far_above_the_points_of_a_pure_model_changes_nothing(index):
    free = expected_critical_points({3: 1.0}, 22, index)
    assert expected_critical_points({3: 1.0}, 22, index, below=1.4) == pytest.approx(
        free, rel=1e-12
    )


@pytest.mark.slow_but('mixture0', 'mixture1')
@pytest.mark.parametrize('mixture', [{4: 1.0}, {2: 0.5, 3: 0.5}, {1: 0.9, 2: 0.1}])
def test_turning_the_loss_upside_down_turns_the_indices_around(mixture):
    for index, below in ((0, -0.9), (1, 0.3), (3, -0.2)):
        low = expected_critical_points(mixture, 8, index, below)
        high = expected_critical_points(mixture, 8, 7 - index, -below)
        free = expected_critical_points(mixture, 8, index)
        assert low + high == pytest.approx(free, rel=1e-12)


def test_nearly_pure_is_pure_at_any_level():
    for below in (-1.7, -1.5, -1.0, 0.0):
        pure = expected_critical_points({3: 1.0}, 9, 1, below, log=True)
        nearly = expected_critical_points({3: 1.0, 4: 1e-14}, 9, 1, below, log=True)
        assert nearly == pytest.approx(pure, rel=1e-10)


def test_the_logarithm_does_not_overflow():
    log_count = expected_critical_points({100: 1.0}, 500, log=True)
    assert log_count == pytest.approx(1150.7542748670558, rel=1e-12)
    assert expected_critical_points({100: 1.0}, 500) == math.inf
    few = expected_critical_points({3: 1.0}, 30, 0, below=-20.0, log=True)
    assert -math.inf < few < -2000
    assert expected_critical_points({3: 1.0}, 30, 0, below=-20.0) == 0
    count = expected_critical_points({3: 1.0}, 30, 2)
    assert math.exp(expected_critical_points({3: 1.0}, 30, 2, log=True)) == count


@pytest.mark.slow_but('mixture0')
@pytest.mark.parametrize('mixture', [{3: 1.0}, {10: 1.0}, {2: 0.5, 6: 0.5}])
def test_minima_grow_like_theta_with_a_correction_of_order_root_lambda(mixture):
    slope, curvature, _ = complexity.moments(mixture)
    kappa = (curvature - slope) / (curvature + slope)
    predicted = 4 * math.sqrt(2) / 3 * kappa**1.5

    def coefficient(smallest):
        sizes = smallest * 2.0 ** np.arange(4)
        logs = [expected_critical_points(mixture, int(size), 0, log=True) for size in sizes]
        excess = np.array(logs) - sizes * complexity.theta(mixture)
        terms = np.stack([sizes**0.5, np.log(sizes), sizes**0, sizes**-0.5], axis=1)
        return np.linalg.solve(terms, excess)[0] / predicted

    small, large = coefficient(4), coefficient(9)
    assert 0.85 < large < 1
    assert abs(1 - large) < abs(1 - small)


@pytest.mark.slow
def test_below_x_one_two_points_remain_and_saddles_die_out_at_the_rate_of_the_errata():
    mixture = {1: 0.95, 3: 0.05}
    assert expected_critical_points(mixture, 200) == pytest.approx(2, abs=1e-3)
    assert expected_critical_points(mixture, 60, 0) == pytest.approx(1, abs=0.01)
    sizes = 8 * 2.0 ** np.arange(4)
    logs = [expected_critical_points(mixture, int(size), 1, log=True) for size in sizes]
    terms = np.stack([sizes, np.log(sizes), sizes**0, 1 / sizes], axis=1)
    slope = np.linalg.solve(terms, logs)[0]
    assert slope == pytest.approx(complexity.theta(mixture, 1), rel=0.06)


def test_a_linear_loss_has_one_minimum_and_one_maximum():
    linear = {1: 2.0}
    counts = [expected_critical_points(linear, 4, index) for index in range(4)]
    assert counts == [1, 0, 0, 1]
    assert expected_critical_points(linear, 4, 1, log=True) == -math.inf
    # H = -+2 |J|, |J|^2 of a chi-squared law with 4 degrees of freedom
    assert expected_critical_points(linear, 4, 0, below=-1.0) == pytest.approx(3 * math.exp(-2))
    assert expected_critical_points(linear, 4, below=1.0) == pytest.approx(2 - 3 * math.exp(-2))
    nearly = expected_critical_points({1: 1.0, 2: 1e-14}, 4, 0, below=-1.0)
    assert nearly == pytest.approx(3 * math.exp(-2), rel=1e-9)


def test_extreme_input_stays_finite_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        for mixture in ({1: 1.0, 2: 1e-300}, {1: 1.0, 2: 1e-40}, {10**6: 1.0}, {3: 1, 4: 1e-30}):
            for index, below in ((None, None), (0, -1.7), (0, 1e-3), (3, -100.0)):
                log_count = expected_critical_points(mixture, 4, index, below, log=True)
                assert not math.isnan(log_count)
                assert log_count < 100


@pytest.mark.parametrize(
    'arguments',
    [
        ({}, 5),
        ({2: -1.0}, 5),
        ({2.5: 1.0}, 5),
        ({3: 1.0}, 1),
        ({3: 1.0}, 5.5),
        ({3: 1.0}, 5, 5),
        ({3: 1.0}, 5, -1),
        ({3: 1.0}, 5, 0.5),
        ({3: 1.0}, 5, 0, math.nan),
    ],
)
def test_bad_input_is_refused(arguments):
    with pytest.raises(ValueError, match='expected'):
        expected_critical_points(*arguments)
