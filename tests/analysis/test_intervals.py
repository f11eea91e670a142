"""Intervals over networks: tables of Student's t, formulas written out, tests of scipy."""

import numpy as np
import pytest
from scipy import stats

from resnet_dyn.analysis import intervals

T_OF_1, T_OF_2 = 12.7062047362, 4.30265272991  # the 97.5 % points of Student's t, as tables have it


def test_the_mean_of_1_2_3_by_the_table_of_student():
    found = intervals.mean([1, 2, 3])
    assert (found.estimate, found.n) == (2, 3) and "Student's t" in found.method
    np.testing.assert_allclose([found.low, found.high], 2 + T_OF_2 / 3**0.5 * np.array([-1, 1]))


@pytest.mark.parametrize('level', [0.9, 0.95])
def test_the_mean_as_scipy_has_it(level):
    values_S = np.random.default_rng(0).normal(1, 2, 20)
    expected = stats.ttest_1samp(values_S, 0).confidence_interval(level)
    found = intervals.mean([*values_S, np.nan, np.inf], level)  # left out: those not finite
    np.testing.assert_allclose([found.low, found.high], expected, rtol=1e-12)
    assert found.n == 20


@pytest.mark.parametrize('values_S', [[], [3.0], [np.nan, 3.0]])
def test_fewer_than_two_networks_have_no_interval(values_S):
    found = intervals.mean(values_S)
    assert not found.known and found.n == sum(np.isfinite(values_S)) and 'no interval' in found[-1]
    assert np.isnan([found.low, found.high]).all()


def test_equal_values_have_an_interval_without_width():
    found = intervals.mean([0.5, 0.5, 0.5])
    assert found.known and found.estimate == found.low == found.high == 0.5


def test_networks_of_one_seed_are_pairs_wherever_they_stand():
    first_S, second_S = [5.0, 1.0, 2.0], [9.0, 1.5, 0.5]  # seeds 1 and 2 differ by 0.5 and 0.5
    found = intervals.difference(first_S, second_S, (0, 1, 2), (3, 2, 1))
    differences = [1.0 - 0.5, 2.0 - 1.5]
    assert (found.estimate, found.n) == (np.mean(differences), 2) and 'paired' in found.method
    apart = intervals.difference([5.0, 1.0, 2.5], second_S, (0, 1, 2), (3, 2, 1))
    half = T_OF_1 * np.std([0.5, 1.0], ddof=1) / 2**0.5
    np.testing.assert_allclose([apart.low, apart.high], [0.75 - half, 0.75 + half], rtol=1e-10)


def test_a_network_that_diverged_takes_its_partner_with_it():
    seeds = (0, 1, 2)
    found = intervals.difference([1.0, np.nan, 3.0], [0.0, 9.0, 1.0], seeds, seeds)
    assert (found.estimate, found.n) == (1.5, 2)
    alone = intervals.difference([1.0, np.nan], [np.nan, 2.0], (0, 1), (0, 1))
    assert alone.n == 0 and not alone.known


def test_without_a_seed_in_common_it_is_welch_by_his_formula():
    first_S, second_S = np.array([1.0, 2.0, 4.0, 4.5]), np.array([0.0, 0.5, 3.0])
    squares = [x.var(ddof=1) / len(x) for x in (first_S, second_S)]
    freedom = sum(squares) ** 2 / (squares[0] ** 2 / 3 + squares[1] ** 2 / 2)
    half = stats.t.ppf(0.975, freedom) * sum(squares) ** 0.5
    found = intervals.difference(first_S, second_S, range(4), range(10, 13))
    centre = first_S.mean() - second_S.mean()
    np.testing.assert_allclose(found[:3], [centre, centre - half, centre + half], rtol=1e-12)
    assert found.n == 3 and 'Welch' in found.method
    same = intervals.difference([1.0, 1.0], [3.0, 3.0], (0, 1), (2, 3))
    assert same[:4] == (-2.0, -2.0, -2.0, 2)
    assert not intervals.difference([1.0], [3.0, 3.0], (0,), (2, 3)).known


def test_values_and_seeds_are_as_many():
    with pytest.raises(ValueError, match='zip'):
        intervals.difference([1.0, 2.0], [1.0], (0,), (0,))


def test_correlations_in_time_are_averaged_on_fishers_scale():
    """Spearman's rho = 1 - 6 sum d^2 / (T (T^2 - 1)): 1 - 12 / 60 and 1 - 24 / 60."""
    x_ST, y_ST = [[1, 2, 3, 4], [10, 20, 30, 40]], [[1, 2, 4, 3], [2, 1, 4, 3]]
    found = intervals.correlation(x_ST, y_ST)
    z_S = np.log([1.8 / 0.2, 1.6 / 0.4]) / 2
    half = T_OF_1 * abs(z_S[0] - z_S[1]) / 2
    expected = np.tanh([z_S.mean(), z_S.mean() - half, z_S.mean() + half])
    np.testing.assert_allclose(found[:3], expected, rtol=1e-10)
    assert found.n == 2 and "Fisher's z" in found.method


def test_a_perfect_correlation_is_half_a_step_below_one():
    """The next to 1 of T = 4 is 1 - 6 * 2 / 60, two ranks swapped."""
    rising_ST = np.array([[1.0, 2, 3, 4], [0, 1, 5, 6]])
    found = intervals.correlation(rising_ST, rising_ST**2)
    np.testing.assert_allclose(found[:3], 1 - 6 / 60)
    falling = intervals.correlation(rising_ST, -rising_ST)
    np.testing.assert_allclose(falling.estimate, -(1 - 6 / 60))


def test_a_series_that_does_not_move_has_no_correlation():
    moving, still = [1.0, 2.0, 3.0], [1.0, 1.0, 1.0]
    found = intervals.correlation([moving, moving, still], [moving, [3.0, 1.0, 2.0], moving])
    assert found.n == 2
    gap = [1.0, np.nan, 2.0, 3.0]  # a step that was left out
    assert intervals.correlation([gap], [[1.0, 2.0, 3.0, 4.0]]).n == 1


@pytest.mark.parametrize('shapes', [((2, 3), (2, 4)), ((2, 2), (2, 2)), ((3,), (3,))])
def test_series_of_other_shapes_are_refused(shapes):
    with pytest.raises(ValueError, match=r'expected both \(S, T\)'):
        intervals.correlation(*map(np.ones, shapes))
