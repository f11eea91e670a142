"""The fitted beta of eq 16: grids of likelihoods, exact binomials, laws of known beta."""

import math

import numpy as np
import pytest

from resnet_dyn.theory import fits


def law(beta, p, coherent):
    """eps_r^2(beta) from exact binomials."""
    power = 2 if coherent else 1
    weights_R = np.array([math.comb(p - 1, k) ** power * beta ** (2 * k) for k in range(p)], float)
    return weights_R / weights_R.sum()


@pytest.mark.parametrize('coherent', [True, False])
@pytest.mark.parametrize('p', [2, 9, 55])
@pytest.mark.parametrize('beta', [1e-3, 0.3, 1.0, 7.0])
def test_the_beta_of_a_law_of_the_family_is_its_own(beta, p, coherent):
    weights_R = law(beta, p, coherent)
    found = fits.fit_beta(10 * weights_R, coherent)
    assert found.beta == pytest.approx(beta, rel=1e-10)
    assert found.divergence < 1e-12 and found.variation < 1e-10


@pytest.mark.parametrize('coherent', [True, False])
def test_no_beta_of_a_fine_grid_is_likelier(coherent):
    weights_R = np.array([0.1, 0.05, 0.3, 0.0, 0.4, 0.15])
    grid_G = np.exp(np.linspace(-1, 1, 20_001))
    likelihood_G = [weights_R @ np.log(law(beta, 6, coherent)) for beta in grid_G]
    found = fits.fit_beta(weights_R, coherent)
    assert found.beta == pytest.approx(grid_G[np.argmax(likelihood_G)], rel=1e-4)
    kept = weights_R > 0
    entropy = weights_R[kept] @ np.log(weights_R[kept])
    assert found.divergence == pytest.approx(entropy - max(likelihood_G), abs=1e-8)
    gap = np.abs(weights_R - law(found.beta, 6, coherent)).sum() / 2
    assert found.variation == pytest.approx(gap, rel=1e-10) and found.variation > 0.1


def test_the_two_families_read_the_same_law_differently():
    """Binomial(4, 1/3): g = 1/2; its squares would need a larger amplitude for the same mean."""
    weights_R = np.array([16, 32, 24, 8, 1]) / 81
    assert fits.fit_beta(weights_R, coherent=False).beta == pytest.approx(math.sqrt(0.5))
    found = fits.fit_beta(weights_R)
    assert law(found.beta, 5, True) @ np.arange(5) == pytest.approx(4 / 3, rel=1e-10)
    assert found.beta < math.sqrt(0.5) and found.divergence > 1e-3


@pytest.mark.parametrize('coherent', [True, False])
def test_laws_of_one_length_at_an_end_have_no_gain_or_an_infinite_one(coherent):
    assert fits.fit_beta([1.0, 0, 0], coherent) == (0.0, 0.0, 0.0)
    assert fits.fit_beta([0, 0, 2.0], coherent) == (math.inf, 0.0, 0.0)
    found = fits.fit_beta([0, 0, 1.0, 0, 0], coherent)  # in the middle: beta 1, and a poor fit
    assert found.beta == pytest.approx(1) and found.variation > 0.3
    for share in (1e-30, 1e-200):  # of which rounding may leave the root outside its bounds
        tiny = fits.fit_beta([1.0, share, 0], coherent)
        assert tiny.beta == pytest.approx(share**0.5 / (2 if coherent else 2**0.5), rel=1e-6)


@pytest.mark.parametrize(
    ('weights', 'message'),
    [
        ([1.0], 'p >= 2'),
        ([[1.0, 2.0]], r'shape \(1, 2\)'),
        ([1.0, -0.5], 'contain -0.5'),
        ([1.0, math.nan], 'contain nan'),
        ([0.0, 0.0], 'all 0'),
    ],
)
def test_what_is_no_law_is_refused(weights, message):
    with pytest.raises(ValueError, match=message):
        fits.fit_beta(weights)
