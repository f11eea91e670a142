"""How many critical points the spin-glass loss has, to exponential order in Lambda.

A mixture {r: eps_r^2} defines v(t) = sum_r eps_r^2 t^r, hence v' = v'(1), v'' = v''(1),
x = v''/v' and kappa = (v'' - v')/(v'' + v'). The mean number of critical points of index k of
H on the sphere grows like exp(Lambda theta_k), and (eq 31)

    theta_k = log(x)/2 - kappa            for every fixed k >= 0, provided x >= 1.

All rates are annealed: they belong to the logarithm of the mean number. Host mathematics in
float64; `kac_rice` counts the same points exactly at finite Lambda. Mixtures are normalised to
sum 1 on entry; terms of weight zero are allowed and play no part.

The paper sums from r = 1 in eq 13 and from r = 2 in eq 14. With r = 1 kept, x can fall below 1,
where eq 31 is negative although at least one minimum always exists: `theta` gives the right
value there, and `path_weight_mixture` lets the caller choose where the sum starts.
"""

import math
import operator
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from scipy import optimize, special

_EDGE_ROUNDING = 1e-12  # a pure model's energy this close to -E_inf counts as on it
_ENERGY_OVERFLOW = 1e100  # energies beyond have rate -inf in float64


def path_weight_mixture(beta, p, first=2) -> dict[int, float]:
    """The coherent path weights of eq 16 as a mixture: {r: eps_r^2} for r = first..p.

    eps_r is proportional to C(p-1, r-1) beta^r and the eps_r^2 sum to 1 over the lengths kept.
    `first=2` is Figure 1(f), where eq 31 holds (x >= 1 always); `first=1` keeps all paths.

    Raises ValueError unless beta is positive and finite and 1 <= first <= p.
    """
    p, first = _integer('p', p, 1), _integer('first', first, 1)
    if first > p:
        raise ValueError(f'first = {first} leaves no path length: expected 1 <= first <= p = {p}')
    if not (math.isfinite(beta) and beta > 0):
        raise ValueError(f'beta = {beta}: expected a positive finite number')
    lengths_R = np.arange(first, p + 1)
    log_ratios = np.log(p - lengths_R[:-1]) - np.log(lengths_R[:-1]) + math.log(beta)
    mode = np.count_nonzero(log_ratios > 0)  # the ratios fall with r: sum outwards from the top
    below = np.cumsum(-log_ratios[:mode][::-1])[::-1]
    above = np.cumsum(log_ratios[mode:])
    weights_R = np.exp(2 * np.concatenate([below, [0.0], above]))
    weights_R /= weights_R.sum()
    return dict(zip(lengths_R.tolist(), weights_R.tolist(), strict=True))


def moments(mixture) -> tuple[float, float, float]:
    """(v', v'', alpha^2) at t = 1, where alpha^2 = v'' + v' - v'^2 is the variance of r.

    Raises ValueError for an empty mixture, a negative or non-finite weight, or an r that is not
    a positive integer.
    """
    shape = _shape(mixture)
    return shape.slope, shape.curvature, shape.variance


def theta(mixture, k=0) -> float:
    """theta_k = lim (1/Lambda) log E Crt_k at any energy (eq 31, with v'' < v' put right).

    x >= 1:  theta_k = log(x)/2 - kappa for every k; also the rate of Theorem 5.
    x < 1 :  theta_k = log(x)/2 + (k+1)/2 log((k+1+kappa')/(k+1-kappa')), kappa' = -kappa;
             theta_0 = 0 (one minimum remains), and theta_k < 0 for k >= 1: such points become
             exponentially rare (-inf for a pure r = 1, which has none).

    Raises ValueError for a bad mixture (see `moments`) or a k that is not an integer >= 0.
    """
    shape, k = _shape(mixture), _integer('k', k, 0)
    if shape.kappa >= 0:
        return _edge_rate(shape)
    if k == 0:
        return 0.0
    if shape.curvature == 0:
        return -math.inf
    share = -shape.kappa / (k + 1)
    return _edge_rate(shape) + (k + 1) * (math.atanh(share) - share)


def theta_at_energy(mixture, k, u) -> float:
    """The rate theta_k(u) of critical points of index k with energy density H/Lambda at u.

    theta_k(u) = log(x)/2 + sup over s <= -2 of [ -u^2/2 - (sqrt(v'') s - v' u)^2/(2 alpha^2)
                 + s^2/4 - (k+1) I(s) ],
    I(s) = |s| sqrt(s^2 - 4)/4 - log((|s| + sqrt(s^2 - 4))/2).

    The sup is at s = -2 for u >= -E'_inf. In a pure model s = v' u/sqrt(v''), and the rate is
    -inf for u > -E_inf. This is the rate *at* u; that of H <= Lambda u is its maximum up to u.
    The sup is taken in closed form: with s = -2 cosh(phi), -u is a sum of cosh(phi), sinh(phi).

    Raises ValueError for a bad mixture (see `moments`), a k that is not an integer >= 0, or a u
    that is not a number.
    """
    shape, k = _shape(mixture), _integer('k', k, 0)
    if math.isnan(u):
        raise ValueError('u = nan: expected an energy density H/Lambda')
    if abs(u) > _ENERGY_OVERFLOW:
        return -math.inf
    if shape.curvature == 0:
        return _linear_rate(k, u)
    threshold, edge = _thresholds(shape)
    if -u > edge:
        return _rate_outside(shape, k, _angle(shape, k, -u))
    if shape.variance > 0:
        offset = (u + threshold) * (u + threshold)
        return _edge_rate(shape) - offset * _total(shape) / (2 * shape.variance)
    return _edge_rate(shape) if -u >= edge * (1 - _EDGE_ROUNDING) else -math.inf


def ground_energy(mixture, k) -> float:
    """E_k: below energy density -E_k the mean number of index k points is exponentially small.

    -E_k is the zero of `theta_at_energy` below -E_th; E_0 is the (annealed) ground state energy,
    and if E_0 <= E'_inf all E_k coincide. For x < 1, E_0 = sqrt(v') is where theta_0(u) touches
    zero, and E_k for k >= 1 is NaN, as theta_k(u) is negative everywhere.

    Raises ValueError for a bad mixture (see `moments`) or a k that is not an integer >= 0.
    """
    shape, k = _shape(mixture), _integer('k', k, 0)
    if shape.kappa < 0:
        return math.sqrt(shape.slope) if k == 0 else math.nan
    rate = _edge_rate(shape)
    if _rate_outside(shape, k, 0.0) <= 0:  # the zero comes before E'_inf, on a parabola
        return _thresholds(shape)[0] + math.sqrt(2 * rate * shape.variance / _total(shape))
    beyond = (1.5 * rate) ** (1 / 3)  # as sinh(2 phi)/2 - phi > 2 phi^3/3
    angle = optimize.brentq(
        lambda phi: _rate_outside(shape, k, phi), 0.0, beyond, xtol=1e-15 * beyond, rtol=1e-15
    )
    along_cosh, along_sinh = _energy_coefficients(shape, k)
    return along_cosh * math.cosh(angle) + along_sinh * math.sinh(angle)


def threshold_energies(mixture) -> tuple[float, float]:
    """(E_th, E'_inf): where most low-index points are, and where the sup leaves s = -2.

    E_th = 2 v' sqrt(v'')/(v' + v'') and E'_inf = (v'' - v' + v'^2)/(v' sqrt(v'')) >= E_th, with
    equality exactly for pure models (both 2 sqrt((p-1)/p), the E_inf of a pure p-spin model).

    Raises ValueError for a bad mixture (see `moments`).
    """
    return _thresholds(_shape(mixture))


def beta_star(p) -> float:
    """The beta at which x = v''/v' reaches 1 for the path weights of eq 16 kept from r = 1.

    Below it (about 1/p) eq 31 turns negative and does not apply. x = 1 where
    sum_{r >= 3} r (r-2) C(p-1, r-1)^2 beta^(2r-2) = 1, whose left side rises with beta; for
    p <= 2 it is empty, x < 1 at every beta, and the answer is inf.

    Raises ValueError unless p is an integer >= 1.
    """
    p = _integer('p', p, 1)
    if p <= 2:
        return math.inf
    lengths_R = np.arange(3, p + 1)
    log_binomials = np.cumsum(np.log(p - np.arange(1, p)) - np.log(np.arange(1, p)))[1:]
    log_terms = 2 * log_binomials + np.log(lengths_R) + np.log(lengths_R - 2)

    def log_sum(log_beta):
        return special.logsumexp(log_terms + 2 * (lengths_R - 1) * log_beta)

    low, high = -2 - math.log(p), 1 - math.log(p)  # beta* p is between exp(-2) and e
    return math.exp(optimize.brentq(log_sum, low, high, xtol=1e-15, rtol=1e-15))


class _Shape(NamedTuple):
    """All of a mixture that its critical points depend on."""

    slope: float  # v'
    curvature: float  # v''
    variance: float  # alpha^2
    kappa: float  # (v'' - v')/(v'' + v'), summed term by term: exact near 0


def _shape(mixture) -> _Shape:
    if not isinstance(mixture, Mapping):
        raise ValueError(f'mixture = {mixture!r}: expected a mapping {{r: eps_r^2}}')
    lengths_R = np.array([_integer('r', r, 1) for r in mixture], dtype=np.float64)
    weights_R = np.array([float(weight) for weight in mixture.values()], dtype=np.float64)
    if not (np.isfinite(weights_R).all() and (weights_R >= 0).all() and weights_R.any()):
        raise ValueError(
            f'mixture = {mixture!r}: expected finite weights eps_r^2 >= 0, one at least positive'
        )
    weights_R = weights_R / weights_R.max()
    weights_R /= weights_R.sum()
    slope = weights_R @ lengths_R
    curvature = weights_R @ (lengths_R * (lengths_R - 1))
    variance = weights_R @ (lengths_R - slope) ** 2
    kappa = weights_R @ (lengths_R * (lengths_R - 2)) / (weights_R @ lengths_R**2)
    return _Shape(float(slope), float(curvature), float(variance), float(kappa))


def _integer(name, value, lowest) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        number = lowest - 1
    if number < lowest:
        raise ValueError(f'{name} = {value!r}: expected an integer >= {lowest}')
    return number


def _total(shape) -> float:
    return shape.slope + shape.curvature


def _thresholds(shape) -> tuple[float, float]:
    slope, curvature = shape.slope, shape.curvature
    if shape.variance == 0:
        edge = 2 * math.sqrt((slope - 1) / slope)
        return edge, edge
    root = math.sqrt(curvature)
    threshold = 2 * slope * root / _total(shape)
    return threshold, (curvature - slope + slope * slope) / (slope * root)


def _edge_rate(shape) -> float:
    """log(x)/2 - kappa = atanh(kappa) - kappa, by its series where the two nearly cancel."""
    kappa = shape.kappa
    if abs(kappa) > 0.1:
        return 0.5 * math.log(shape.curvature / shape.slope) - kappa
    return sum(kappa**power / power for power in range(3, 23, 2))


def _energy_coefficients(shape, k) -> tuple[float, float]:
    """(P, Q) of -u = P cosh(phi) + Q sinh(phi), the energy whose sup is at s = -2 cosh(phi)."""
    threshold, edge = _thresholds(shape)
    return edge, 2 * (k + 1) * shape.variance / (threshold * _total(shape))


def _angle(shape, k, energy) -> float:
    along_cosh, along_sinh = _energy_coefficients(shape, k)
    root = math.sqrt((energy - along_cosh) * (energy + along_cosh) + along_sinh * along_sinh)
    return math.log((energy + root) / (along_cosh + along_sinh))


def _rate_outside(shape, k, angle) -> float:
    """theta_k(u) at the energy whose sup is at s = -2 cosh(angle), relative to s = -2."""
    cosh, sinh = math.cosh(angle), math.sinh(angle)
    drift = shape.kappa * cosh + (k + 1) * sinh
    threshold = _thresholds(shape)[0]
    spread = 2 * shape.variance / (threshold * threshold * _total(shape))
    repulsion = (k + 1) * _repulsion(angle)
    return _edge_rate(shape) - shape.kappa * sinh * sinh - spread * drift * drift - repulsion


def _repulsion(angle) -> float:
    """I(-2 cosh(angle)) = sinh(2 angle)/2 - angle, by its series where the two nearly cancel."""
    if angle > 0.1:
        return math.sinh(angle) * math.cosh(angle) - angle
    return sum((2 * angle) ** n / (2 * math.factorial(n)) for n in range(3, 15, 2))


def _linear_rate(k, u) -> float:
    """Pure r = 1: H is linear and its one minimum sits at -|J|/sqrt(Lambda)."""
    if k > 0 or u >= 0:
        return -math.inf
    return 0.5 - 0.5 * u * u + math.log(-u)
