"""The beta of eq 16 that a law over path lengths has, by maximum likelihood, and how well it fits.

    coherent     eps_r^2(beta)  proportional to  C(p-1, r-1)^2 beta^(2 (r - 1))     eq 16, eq 13
    incoherent   eps_r^2(beta)  proportional to  C(p-1, r-1) g^(r - 1),  g = beta^2    binomial

The beta of a law w_r is the one that maximises sum_r w_r log eps_r^2(beta). Either family is
exponential in log beta with the statistic r, so that the likelihood has one maximum, where the
means agree: E_beta[r] = sum_r w_r r. What is left is the Kullback-Leibler divergence from the law
to its fit: the paper's theory is a good description of a network where that is small.
Host functions in NumPy float64.
"""

import functools
import math
from typing import NamedTuple

import numpy as np
from scipy import optimize, special


class Fit(NamedTuple):
    """A fitted beta, and two distances of the law from eps_r^2(beta), 0 where it fits exactly."""

    beta: float  # in [0, inf]: 0 where all paths are of length r = 1, infinite where of r = p
    divergence: float  # sum_r w_r log(w_r / eps_r^2), in nats
    variation: float  # sum_r |w_r - eps_r^2| / 2, in [0, 1]


def fit_beta(weights_R, coherent: bool = True) -> Fit:
    """The beta >= 0 whose depth law is most likely to have made `weights_R`.

    The root of E_beta[r] = E[r] lies between sqrt(m) / N and 1, with m = E[r] - 1 at most half of
    N = p - 1 (longer laws are turned round: eps_r(beta) = eps_{p+1-r}(1 / beta)), as
    E_beta[r - 1] <= N^2 beta^2. The incoherent root is sqrt(m / (N - m)).

    Args:
      weights_R: shape (p,), p >= 2, the law of r = 1..p at index r - 1, normalised here again.
      coherent: which of the two families.

    Raises:
      ValueError: for what is no vector of at least two finite weights >= 0 with a sum above 0.
    """
    weights_R = _checked(weights_R)
    k_R = np.arange(weights_R.size)
    if turned := weights_R @ k_R > weights_R @ k_R[::-1]:
        weights_R = weights_R[::-1]
    N, mean = weights_R.size - 1, float(weights_R @ k_R)
    if mean == 0:
        return Fit(math.inf if turned else 0.0, 0.0, 0.0)

    def excess(log_beta):
        return np.exp(_log_law(log_beta, N, coherent)) @ k_R - mean

    low = math.log(mean) / 2 - math.log(N)
    if not coherent:
        log_beta = math.log(mean / (N - mean)) / 2
    elif excess(low) >= 0 or excess(0.0) <= 0:  # at an end, but for rounding
        log_beta = low if excess(low) >= 0 else 0.0
    else:
        log_beta = optimize.brentq(excess, low, 0.0, xtol=1e-13)
    log_law_R = _log_law(log_beta, N, coherent)
    terms_R = special.xlogy(weights_R, weights_R) - weights_R * log_law_R
    return Fit(
        beta=math.exp(-log_beta if turned else log_beta),
        divergence=max(0.0, math.fsum(terms_R)),
        variation=float(np.abs(weights_R - np.exp(log_law_R)).sum() / 2),
    )


def _log_law(log_beta: float, N: int, coherent: bool) -> np.ndarray:
    """log eps_r^2(beta), (N + 1,)."""
    log_R = (2 if coherent else 1) * _log_binomials(N) + 2 * np.arange(N + 1) * log_beta
    log_R -= log_R.max()
    return log_R - np.log(np.exp(log_R).sum())


@functools.lru_cache(maxsize=16)
def _log_binomials(N: int) -> np.ndarray:
    """log C(N, k), (N + 1,)."""
    k_R = np.arange(N + 1)
    return special.gammaln(N + 1) - special.gammaln(k_R + 1) - special.gammaln(N - k_R + 1)


def _checked(weights_R) -> np.ndarray:
    weights_R = np.asarray(weights_R, np.float64)
    if weights_R.ndim != 1 or weights_R.size < 2:
        raise ValueError(f'weights of shape {weights_R.shape}: expected a law of r = 1..p, p >= 2')
    bad = weights_R[~((weights_R >= 0) & (weights_R < np.inf))]
    if bad.size:
        raise ValueError(f'weights contain {bad[0]}: expected finite numbers >= 0')
    if not weights_R.sum() > 0:
        raise ValueError('weights are all 0: expected a law, which has a sum above 0')
    return weights_R / weights_R.sum()
