"""How deep the ensemble of a batch-normalised network is, and how the norm scales gamma move it.

Eq 20 puts N_l = N_{l-1} + gamma_l u_l, u_l = ReLU(W_l N_{l-1}) / sigma_l, so that layer l has the
power gain b_l^2 = gamma_l^2 / sigma_l^2 and, path contributions being uncorrelated at
initialisation, the number of branches used is a sum of independent Bernoulli variables:

    r = 1 + sum_{l=2}^p Bernoulli(q_l),   q_l = b_l^2 / (1 + b_l^2)       (incoherent depth law)

Everything here is for infinite width, He weights (variance 2 / n), independent Gaussian inputs and
one sigma a layer, which in `centred` and `preact` is also that of every single unit.
v_l = E N_l^2 per unit, m_l = E N_l, and c_l is the correlation of N_l between two inputs:

    variant    sigma_l^2                          branch and its consequence
    nominal    v_{l-1}                            E[u^2] = 1, E[u N] = 0 as the paper claims
    rms        v_{l-1}                            eq 20, sigma uncentred; E[u N] > 0
    std        v_{l-1} (1 - k1(c_{l-1}))          eq 20 to the letter: batch variance, not centred
    centred    v_{l-1} (1 - k1(c_{l-1}))          batch norm as it is: u loses its batch mean
    preact     v_{l-1} - K_{l-1}                  N + W ReLU(gamma BN(N)), linear stem

    k1(c) = (sqrt(1 - c^2) + (pi - arccos c) c) / pi,     K_l = c_l v_l

The paper's E[N_l^2] = 1 + E[N_{l-1}^2] holds in `nominal`, `centred` and `preact`; in eq 20 as
written u and N are both non-negative, and E[N^2] grows faster. Host functions in NumPy float64.
"""

import math
import typing

import numpy as np
from scipy.special import digamma, polygamma

from resnet_dyn.theory import path_weights

VARIANTS = ('nominal', 'rms', 'std', 'centred', 'preact')
SIGMAS = ('recomputed', 'frozen')


class ActivationMoments(typing.NamedTuple):
    """Laws of the activations over the layers l = 1..p, at index l - 1; all float64."""

    second_moment: np.ndarray  # (p,) v_l = E N_l^2
    mean: np.ndarray  # (p,) m_l = E N_l; NaN for `nominal`, which does not define it
    sigma2: np.ndarray  # (p,) the sigma_l^2 that divides layer l's branch; NaN at l = 1
    gains: np.ndarray  # (p - 1,) b_2..b_p, b_l = |gamma_l| / sigma_l


def activation_moments(
    p: int,
    variant: str = 'nominal',
    gamma: float | np.ndarray = 1.0,
    v1: float = 1.0,
    mean1: float | None = None,
) -> ActivationMoments:
    """Second moments, means, sigmas and gains of all layers, sigma recomputed for these gammas.

    In `std` the mean grows like exp(2 sqrt(l / pi)) while the variance over inputs grows by
    gamma^2 a layer; sigma^2 is computed from that variance, never as a difference of v and m^2,
    and keeps its digits where v is 10^30 times larger.

    Args:
      p: depth, an integer >= 1.
      variant: one of `VARIANTS`; see the table at the top of this file.
      gamma: the norm scale of layers 2..p: one number, or an array of shape (p - 1,).
      v1: E N_1^2 > 0.
      mean1: E N_1, of a first layer other than the paper's: sqrt(v1 / pi), 0 in `preact`, unless
        given. A first layer whose own norm centres has 0.

    Returns:
      `ActivationMoments`.

    Raises:
      ValueError: for an unknown variant, p not an integer >= 1, v1 <= 0, |mean1| >= sqrt(v1), or
        gammas of another shape or not finite.
    """
    p = path_weights.checked_depth(p)
    gammas = _checked_gammas(gamma, p)
    if variant not in VARIANTS:
        raise ValueError(f'variant = {variant!r}: expected one of {", ".join(VARIANTS)}')
    if not 0 < v1 < math.inf:
        raise ValueError(f'v1 = {v1}: expected a finite second moment > 0')
    if mean1 is not None and not abs(mean1) < math.sqrt(v1):
        raise ValueError(f'mean1 = {mean1}: expected less than sqrt(v1) = {math.sqrt(v1)}')
    layer = _LAYERS[variant]
    state, sigma2 = _first_layer(variant, float(v1), mean1), math.nan
    rows = [(state.second_moment, state.mean, sigma2)]
    for scale in gammas.tolist():
        state, sigma2 = layer(state, scale)
        rows.append((state.second_moment, state.mean, sigma2))
    second_moment, mean, sigma2 = np.array(rows).T
    return ActivationMoments(second_moment, mean, sigma2, np.abs(gammas) / np.sqrt(sigma2[1:]))


def branch_probabilities(
    p: int,
    variant: str = 'nominal',
    gamma: float | np.ndarray = 1.0,
    v1: float = 1.0,
    sigma: str = 'recomputed',
) -> np.ndarray:
    """q_l = b_l^2 / (1 + b_l^2) for l = 2..p: the chance that a path uses the branch of layer l.

    Args:
      p, variant, gamma, v1: as in `activation_moments`.
      sigma: `recomputed` for the sigmas that these gammas produce (what real batch norm does),
        `frozen` for the sigmas at gamma = 1 (what Theorem 3 assumes).

    Returns:
      Shape (p - 1,), float64.

    Raises:
      ValueError: as `activation_moments`, and for another `sigma`.
    """
    if sigma not in SIGMAS:
        raise ValueError(f"sigma = {sigma!r}: expected 'recomputed' or 'frozen'")
    if sigma == 'recomputed':
        b2 = activation_moments(p, variant, gamma, v1).gains ** 2
    else:
        b2 = (activation_moments(p, variant, 1.0, v1).gains * _checked_gammas(gamma, p)) ** 2
    return b2 / (1 + b2)


def mean_depth(
    p: int,
    variant: str = 'nominal',
    gamma: float | np.ndarray = 1.0,
    v1: float = 1.0,
    sigma: str = 'recomputed',
) -> float:
    """E[r] = 1 + sum_{l=2}^p q_l under the incoherent law. Arguments as `branch_probabilities`."""
    return 1 + math.fsum(branch_probabilities(p, variant, gamma, v1, sigma))


def depth_variance(probabilities: np.ndarray) -> float:
    """Var[r] = sum_{l=2}^p q_l (1 - q_l), for the q_l of `branch_probabilities`."""
    q = _checked_probabilities(probabilities)
    return math.fsum(q * (1 - q))


def depth_law(probabilities: np.ndarray) -> np.ndarray:
    """P(r), r = 1..p, of r = 1 + sum_{l=2}^p Bernoulli(q_l).

    For `nominal` with gamma = v1 = 1, P(r) = |s(p, r)| / p!, Stirling numbers of the first kind:
    the law of the number of cycles of a random permutation. With frozen sigma and one gamma it
    is Ewens' law of theta = gamma^2. O(p^2) time; every term is positive, so the relative error
    stays near 1e-13. Entries below 1e-308 are 0 (`path_weights.log_path_weights_from_gains` has
    their logarithms).

    Args:
      probabilities: q_2..q_p of `branch_probabilities`, shape (p - 1,).

    Returns:
      Shape (p,), float64, sum 1.

    Raises:
      ValueError: for probabilities that are not a vector in [0, 1].
    """
    q = _checked_probabilities(probabilities)
    law = np.zeros(q.size + 1)
    law[0] = 1.0
    for used in q:
        law[1:] = law[1:] * (1 - used) + law[:-1] * used
        law[0] *= 1 - used
    return law


def ewens_moments(p: int, theta: float = 1.0) -> tuple[float, float]:
    """Mean and variance of r under Ewens' law, q_l = theta / (theta + l - 1): frozen sigma.

        E[r]   = 1 + theta (psi(p + theta) - psi(1 + theta))
        Var[r] = E[r] - 1 + theta^2 (psi'(p + theta) - psi'(1 + theta))

    `nominal` with v1 = 1, sigma frozen and all gammas equal has theta = gamma^2. At theta = 1:
    H_p and H_p - H_p^(2).

    Raises:
      ValueError: for theta <= 0 or not finite, or p not an integer >= 1.
    """
    p = path_weights.checked_depth(p)
    if not 0 < theta < math.inf:
        raise ValueError(f'theta = {theta}: expected a finite number > 0')
    growth = theta * (digamma(p + theta) - digamma(1 + theta))
    curvature = theta**2 * (polygamma(1, p + theta) - polygamma(1, 1 + theta))
    return float(1 + growth), float(growth + curvature)


def self_consistent_mean(p: int, gamma: float = 1.0, v1: float = 1.0) -> float:
    """E[r] of `nominal` with sigma recomputed and one gamma for all layers:

        E[r] = 1 + psi(v + p) - psi(v + 1),   v = v1 / gamma^2

    A uniform gamma only rescales v1, so E[r] < 1 + H_{p-1} however large it grows.

    Raises:
      ValueError: for gamma = 0 or not finite, v1 <= 0, or p not an integer >= 1.
    """
    p = path_weights.checked_depth(p)
    if not 0 < abs(gamma) < math.inf:
        raise ValueError(f'gamma = {gamma}: expected a finite number other than 0')
    if not 0 < v1 < math.inf:
        raise ValueError(f'v1 = {v1}: expected a finite second moment > 0')
    v = v1 / gamma**2
    return float(1 + digamma(v + p) - digamma(v + 1))


def depth_bound(gains: np.ndarray) -> float:
    """The upper bound E[r] <= 1 + sum_l log(1 + b_l^2), for the incoherent law of any gains.

    In `nominal`, 1 + b_l^2 = v_l / v_{l-1} and the bound is E[r] - 1 <= log(v_p / v_1): a deep
    ensemble needs activations whose variance grows exponentially with depth. It also holds with
    log(v_p / v_1) for `rms` and non-negative gammas, not for the other variants.

    Raises:
      ValueError: for gains that are negative or not finite.
    """
    gains = np.asarray(gains, np.float64)
    if not np.all((gains >= 0) & (gains < np.inf)):
        raise ValueError(f'gains = {gains}: expected finite numbers >= 0')
    return 1 + math.fsum(np.log1p(gains**2))


class _Layer(typing.NamedTuple):
    """What one layer hands to the next; `data_variance` is v - K, exact where v ~ K."""

    second_moment: float
    mean: float
    data_variance: float


def _first_layer(variant, v1, mean1):
    """ReLU of a Gaussian (m^2 = K = v / pi); `preact` has a linear stem; `nominal` no mean."""
    if mean1 is not None:
        return _Layer(v1, math.nan if variant == 'nominal' else mean1, v1 - mean1**2)
    if variant == 'preact':
        return _Layer(v1, 0.0, v1)
    mean = math.nan if variant == 'nominal' else math.sqrt(v1 / math.pi)
    return _Layer(v1, mean, v1 * (1 - 1 / math.pi))


def _nominal(layer, gamma):
    v = layer.second_moment
    return layer._replace(second_moment=v + gamma**2), v


def _rms(layer, gamma):
    return _add_relu_branch(layer, gamma, layer.second_moment), layer.second_moment


def _std(layer, gamma):
    sigma2 = _relu_variance(layer.second_moment, layer.data_variance)
    added = _add_relu_branch(layer, gamma, sigma2)
    return added._replace(data_variance=layer.data_variance + gamma**2), sigma2


def _centred(layer, gamma):
    """Without its batch mean a branch adds gamma^2 to the variance and nothing to K and m."""
    v, mean, data_variance = layer
    return _Layer(v + gamma**2, mean, data_variance + gamma**2), _relu_variance(v, data_variance)


def _preact(layer, gamma):
    """He weights on ReLU of a standard normal: power 1, of which 1 / pi is common to all inputs."""
    v, mean, data_variance = layer
    grown = data_variance + gamma**2 * (1 - 1 / math.pi)
    return _Layer(v + gamma**2, mean, grown), data_variance


_LAYERS = dict(zip(VARIANTS, (_nominal, _rms, _std, _centred, _preact), strict=True))


def _add_relu_branch(layer, gamma, sigma2):
    """N + gamma u with E u^2 = v / sigma^2 and E u = sqrt(v / pi) / sigma, independent of N."""
    v, mean, _ = layer
    step = gamma * math.sqrt(v / math.pi / sigma2)
    return layer._replace(
        second_moment=v + gamma**2 * (v / sigma2) + 2 * step * mean, mean=mean + step
    )


def _relu_variance(v, data_variance):
    """v (1 - k1(c)): the variance over inputs of ReLU(W N), where v (1 - c) = data_variance.

    With c = cos t it is data_variance (1 - (sin t - t cos t) / (pi (1 - cos t))).
    """
    one_minus_c = data_variance / v
    half = math.sqrt(one_minus_c / 2)
    if half == 0:
        return data_variance
    t = 2 * math.asin(min(half, 1.0))
    return data_variance - v * _sine_minus_arc(t) / math.pi


def _sine_minus_arc(t):
    """sin t - t cos t; a power series where the difference would cancel."""
    if t > 0.5:
        return math.sin(t) - t * math.cos(t)
    terms = (
        (-1) ** (k + 1) * 2 * k * t ** (2 * k + 1) / math.factorial(2 * k + 1) for k in range(1, 8)
    )
    return math.fsum(terms)


def _checked_gammas(gamma, p):
    gammas = np.asarray(gamma, np.float64)
    if gammas.ndim and gammas.shape != (p - 1,):
        raise ValueError(f'gamma of shape {gammas.shape}: expected one number or ({p - 1},)')
    if not np.all(np.isfinite(gammas)):
        raise ValueError(f'gamma = {gamma}: expected finite numbers')
    return np.broadcast_to(gammas, p - 1)


def _checked_probabilities(probabilities):
    q = np.asarray(probabilities, np.float64)
    if q.ndim != 1 or not np.all((q >= 0) & (q <= 1)):
        raise ValueError(f'probabilities = {q}: expected a vector of numbers in [0, 1]')
    return q
