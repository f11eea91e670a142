"""Ordered eigenvalue densities of the GOE against closed forms, their sum and their mass."""

import math

import numpy as np
import pytest
from scipy import special

from resnet_dyn.theory import goe


def spread(N, points=9):
    return np.linspace(-1.3, 1.3, points) * math.sqrt(2 * N)


@pytest.mark.parametrize('N', [1, 2, 3, 50, 51, 500])
def test_the_summed_density_integrates_to_the_number_of_eigenvalues(N):
    x, step = np.linspace(-60, 60, 24001, retstep=True)
    mass = np.exp(goe.log_density(x, N) - x**2 / 2).sum() * step
    assert mass == pytest.approx(N, rel=1e-13)


def test_the_summed_density_is_finite_and_right_far_outside_the_bulk():
    # for one or two eigenvalues it is elementary
    x = np.array([-1e5, -60.0, 60.0, 1e5])
    assert goe.log_density(x, 1) == pytest.approx(-0.5 * math.log(2 * math.pi))
    outlier = np.log(np.abs(x) * math.sqrt(2 * math.pi) / (2 * math.sqrt(math.pi)))
    assert goe.log_density(x, 2) == pytest.approx(outlier, rel=1e-13)


def log_smaller_of_two(t):
    """log p_0(t) + t^2/2 of two: the log of int_t^inf (x - t) exp(-x^2/2) dx / (2 sqrt(pi))."""
    if t < -30:
        integral, exponent = -t * math.sqrt(2 * math.pi), 0.0
    elif t < 30:
        integral = 1 - t * math.sqrt(math.pi / 2) * special.erfcx(t / math.sqrt(2))
        exponent = -t * t / 2
    else:  # its asymptotic series
        signs_and_factors = [1, -3, 15, -105, 945]
        integral = sum(factor * t ** (-2 - 2 * i) for i, factor in enumerate(signs_and_factors))
        exponent = -t * t / 2
    return math.log(integral) + exponent - math.log(2 * math.sqrt(math.pi))


@pytest.mark.parametrize('t', [-1e6, -200.0, -3.0, 0.0, 2.0, 60.0])
def test_two_eigenvalues_have_their_closed_form_in_every_tail(t):
    expected = pytest.approx(log_smaller_of_two(t), rel=1e-13, abs=1e-13)
    assert goe.log_ordered_density([t], 2, 0)[0] == expected
    assert goe.log_ordered_density([-t], 2, 1)[0] == expected


@pytest.mark.slow_but('2', '3', '4', '7', '12')
@pytest.mark.parametrize('N', [2, 3, 4, 7, 12, 25])
def test_ordered_densities_add_up_to_the_summed_density(N):
    t = spread(N)
    parts = [np.exp(goe.log_ordered_density(t, N, k) - goe.log_density(t, N)) for k in range(N)]
    assert np.sum(parts, axis=0) == pytest.approx(1, rel=2e-13)


@pytest.mark.slow_but('3-1', '10-0', '10-7', '40-3')
@pytest.mark.parametrize(('N', 'k'), [(3, 1), (10, 0), (10, 7), (40, 3), (41, 20)])
def test_each_ordered_density_has_mass_one(N, k):
    center = -math.sqrt(2 * N) * math.cos(math.pi * (k + 0.5) / N)
    t, step = np.linspace(center - 7, center + 7, 113, retstep=True)
    mass = np.exp(goe.log_ordered_density(t, N, k) - t**2 / 2).sum() * step
    assert mass == pytest.approx(1, rel=1e-12)


def test_an_outlier_costs_what_large_deviations_say():
    s = -3.0
    rate = math.sinh(2 * math.acosh(1.5)) / 2 - math.acosh(1.5)

    def log_density(N, k):
        t = np.array([s]) * math.sqrt(N / 2)
        return (goe.log_ordered_density(t, N, k) - t**2 / 2)[0]

    for k in (0, 1):  # the difference leaves out what grows slower than N
        slope = (log_density(72, k) - log_density(36, k)) / 36
        assert slope == pytest.approx(-(k + 1) * rate, rel=0.02)


def test_a_draft_is_near():
    t = spread(30, 13)
    for k in (1, 15):
        draft = goe.log_ordered_density(t, 30, k, draft=True)
        assert draft == pytest.approx(goe.log_ordered_density(t, 30, k), abs=0.3)


def test_points_far_apart_do_not_disturb_each_other():
    t = np.array([-1e4, -9.0, 0.0, 1e4])
    together = goe.log_ordered_density(t, 10, 2)
    alone = [goe.log_ordered_density(t[i : i + 1], 10, 2)[0] for i in range(4)]
    assert np.isfinite(together).all()
    assert together == pytest.approx(alone, rel=1e-12)
