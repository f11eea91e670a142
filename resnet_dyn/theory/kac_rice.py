"""The exact mean number of critical points of the spin-glass loss at finite Lambda.

H is the mixed spherical spin glass on |w|^2 = Lambda. Given H, its Hessian is a shifted GOE matrix
of size Lambda - 1, and the |det| of the Kac-Rice formula is absorbed into one more eigenvalue
(Auffinger, Ben Arous, Cerny 2013 for pure models, Auffinger, Ben Arous 2013 for mixtures):

    E Crt_k(H <= Lambda u) = 2 sqrt(2 v''/(v' + v'')) (v''/v')^((Lambda-1)/2)
        * E[ exp(-kappa x_k^2/2) Phi((sqrt(Lambda) u - sqrt(2) rho x_k)/tau) ],

x_0 <= .. <= x_{Lambda-1} being the eigenvalues of GOE(Lambda), not Lambda - 1, as in `goe`;
kappa = (v'' - v')/(v'' + v'), rho = v' sqrt(v'')/(v' + v''), tau^2 = alpha^2/(v' + v''). Pure
models have tau = 0 and the indicator in place of Phi. Host mathematics in float64. Mixtures are
normalised to sum 1 on entry. `complexity` has the limits of (1/Lambda) log E Crt.
"""

import functools
import math
import operator
from typing import NamedTuple

import numpy as np
from scipy import special, stats

from resnet_dyn.theory import complexity, goe

_DROP = 42.0  # the integrand is followed down to exp(-42) of its top
_SCAN = (16, 64)  # points of one look for where that is: for one index, for the total
_LOOKS = 100
_NODES = 32  # Gauss-Legendre nodes of a panel
_PANEL_PHASE = 30.0  # radians that the total density's oscillation may turn within a panel
_STEP_CUTS = (-9.0, 0.0, 9.0)  # where Phi's step is cut, in units of its width
_SHARP = 1e-9  # a step this narrow is an indicator, to the square of it
_FARTHEST = 1e6  # eigenvalues, in units of where they usually are, beyond which none is sought
_LINEAR = 1e-30  # v''/v' below which H is linear to float64, but for interior indices


def expected_critical_points(mixture, Lambda, index=None, below=None, log=False) -> float:
    """E Crt(H <= Lambda below), of all indices together or of one; `log=True`: its logarithm.

    mixture: {r: eps_r^2}, r = 1 allowed. Lambda: the number of unique weights, at least 2.
    index: the number of negative eigenvalues of the Riemannian Hessian, 0..Lambda-1. below: an
    energy density H/Lambda. The logarithm does not overflow; the number itself becomes inf above
    1.8e308.

    Accuracy: 12 digits, of the total up to Lambda = 500 and of any index up to Lambda = 100, small
    counts included (above that not measured by index). One index takes about half a second at
    Lambda = 50, in proportion to Lambda^3 beyond; the total takes less than that at Lambda = 500.

    Raises ValueError for a bad mixture (see `complexity.moments`), a Lambda that is not an
    integer >= 2, an index outside 0..Lambda-1, or a below that is not a number.
    """
    Lambda = _integer_in('Lambda', Lambda, 2, math.inf)
    if index is not None:
        index = _integer_in('index', index, 0, Lambda - 1)
    below = math.inf if below is None else below
    if math.isnan(below):
        raise ValueError('below = nan: expected an energy density H/Lambda')
    log_count = _log_count(complexity.moments(mixture), Lambda, index, below)
    if log:
        return log_count
    return math.exp(log_count) if log_count < math.log(np.finfo(float).max) else math.inf


def _log_count(moments, Lambda, index, below):
    slope, curvature, _ = moments
    if curvature == 0 or (_is_extreme(index, Lambda) and curvature < _LINEAR * slope):
        return _log_count_linear(Lambda, index, below)
    step = _step(moments, Lambda, below)
    farthest = _FARTHEST * _outermost(moments, Lambda, index)
    if step.center < -farthest:
        return -math.inf
    if step.center > farthest:
        step = _Step(math.inf, 0.0)
    log_factor = math.log(2) + 0.5 * math.log(2 * curvature / (slope + curvature))
    log_factor += (Lambda - 1) / 2 * math.log(curvature / slope)
    return log_factor + _log_expectation(moments, Lambda, index, step)


class _Step(NamedTuple):
    """Phi((center - x)/width): how much of the points at x lies below the energy."""

    center: float
    width: float


def _step(moments, Lambda, below):
    slope, curvature, variance = moments
    scale = math.sqrt(2 * curvature) * slope / (slope + curvature)  # sqrt(2) rho
    center = math.sqrt(Lambda) * below / scale
    width = math.sqrt(variance / (slope + curvature)) / scale
    return _Step(center, 0.0 if width * (1 + abs(center)) < _SHARP else width)


def _is_extreme(index, Lambda):
    return index in (None, 0, Lambda - 1)


def _outermost(moments, Lambda, index):
    """How far out the eigenvalues that matter may lie: outside the bulk if v'' < v'."""
    slope, curvature, _ = moments
    edge = math.sqrt(2 * Lambda)
    if curvature < slope and _is_extreme(index, Lambda):
        return edge * (slope + curvature) / (2 * math.sqrt(slope * curvature))
    return edge


def _log_expectation(moments, Lambda, index, step):
    """log E[exp(-kappa x^2/2) Phi(..)], summed over all eigenvalues x or for one of them."""
    slope, curvature, _ = moments
    tilt = 2 * curvature / (slope + curvature)  # 1 + kappa, as the density lacks exp(-x^2/2)

    def log_integrand(x, draft=False):
        if index is None:
            log_density = goe.log_density(x, Lambda)
        else:
            log_density = goe.log_ordered_density(x, Lambda, index, draft)
        return log_density - tilt * x**2 / 2 + _log_share_below(step, x)

    limit = step.center if step.width == 0 else math.inf
    center, reach = _first_look(moments, Lambda, index)
    high = min(center + reach, limit)
    low = min(center - reach, high - reach)
    draft = functools.partial(log_integrand, draft=True)
    low, high = _support(draft, low, high, limit, _SCAN[index is None])
    longest = 1.0 if index is not None else min(1.0, _PANEL_PHASE / (math.sqrt(32) * Lambda))
    nodes, weights = _composite_rule(_breaks(low, high, math.sqrt(2 * Lambda), longest, step))
    return float(special.logsumexp(log_integrand(nodes), b=weights))


def _log_share_below(step, x):
    if step.width == 0:  # the limit of integration sees to it
        return 0.0
    return special.log_ndtr((step.center - x) / step.width)


def _first_look(moments, Lambda, index):
    """A place from which to look for the integrand: (center, reach)."""
    outermost = _outermost(moments, Lambda, index)
    if index is None:
        return 0.0, 1.5 * outermost + 3.0
    angle = math.pi * (index + 0.5) / Lambda  # from the semicircle law's middle outwards
    return -outermost * math.cos(angle), 3.0 + 0.5 * (outermost - math.sqrt(2 * Lambda))


def _support(log_integrand, low, high, limit, points):
    """Where the integrand exceeds exp(-_DROP) of its top: bounds found by widening, narrowing."""
    top, peak, below, above = -math.inf, 0.0, -math.inf, math.inf
    for _ in range(_LOOKS):
        x = np.linspace(low, high, points)
        values = log_integrand(x)
        if values.max() > top:
            top, peak = values.max(), x[values.argmax()]
        inside = x[values > top - _DROP]
        below = max([below, *x[x < min([peak, *inside])]])
        above = min([above, *x[x > max([peak, *inside])]])
        above = limit if high == limit < above else above
        if math.isfinite(below) and math.isfinite(above) and len(inside) >= points // 4:
            return below, above
        stride = 2 * (high - low)
        low = below if math.isfinite(below) else low - stride
        high = above if math.isfinite(above) else min(high + stride, limit)
    raise RuntimeError(f'the Kac-Rice integrand was not found near x = {peak}')


def _breaks(low, high, edge, longest, step):
    """Panel ends: equal in asinh(x/edge), so about equal in the bulk and geometric beyond."""
    ends = np.arcsinh(np.array([low, high]) / edge)
    count = max(2, math.ceil((ends[1] - ends[0]) / longest))
    breaks = np.concatenate([[low], edge * np.sinh(np.linspace(*ends, count + 1)[1:-1]), [high]])
    cuts = step.center + step.width * np.array(_STEP_CUTS)
    return np.union1d(breaks, cuts[(cuts > low) & (cuts < high)])


def _composite_rule(breaks):
    nodes, weights = special.roots_legendre(_NODES)
    half_lengths = np.diff(breaks)[:, None] / 2
    points = breaks[:-1, None] + half_lengths * (nodes + 1)
    return points.ravel(), (half_lengths * weights).ravel()


def _log_count_linear(Lambda, index, below):
    """Pure r = 1: one minimum and one maximum, at H = -+sqrt(Lambda) |J|, |J|^2 chi-squared."""
    radius_squared = Lambda * below * below
    minimum = stats.chi2.logsf(radius_squared, Lambda) if below < 0 else 0.0
    maximum = stats.chi2.logcdf(radius_squared, Lambda) if below > 0 else -math.inf
    if index is None:
        return float(np.logaddexp(minimum, maximum))
    return float({0: minimum, Lambda - 1: maximum}.get(index, -math.inf))


def _integer_in(name, value, lowest, highest):
    try:
        number = operator.index(value)
    except TypeError:
        number = lowest - 1
    if not lowest <= number <= highest:
        raise ValueError(f'{name} = {value!r}: expected an integer from {lowest} to {highest}')
    return number
