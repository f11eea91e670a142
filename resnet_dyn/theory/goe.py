"""Eigenvalue densities of the Gaussian orthogonal ensemble, exact at finite size.

A = (M + M^T)/2, M an N x N matrix of iid N(0, 1), has eigenvalues x_0 <= .. <= x_{N-1} with joint
density prod_{i<j} |x_i - x_j| exp(-sum x^2/2)/Z_N; the bulk ends at +-sqrt(2N). Both functions
return log(density) + x^2/2, because critical points of the spin glass weigh the density by
exp(-kappa x^2/2) with kappa down to -1, where the two squares would cancel. Host float64.

How one ordered eigenvalue is resolved. Fix an eigenvalue at t. The other M = N-1 feel the weight
w(x) = |x - t| exp(-x^2/2), and (de Bruijn)

    p_k(t) = N!/Z_N exp(-t^2/2) [z^k] Pf A(z),
    A_ij(z) = double integral over x < y of (q_i(x) q_j(y) - q_j(x) q_i(y)) m(x) m(y),

q_i the monic polynomials and m(x) = w(x) times (z for x < t, 1 for x > t); odd M adds a border
of single integrals. Taken literally this loses every digit. It keeps them, in every tail, with
(1) polynomials orthonormal for m^2 at z = zeta: A is then well conditioned, and the change of
basis is a product of positive norms; (2) zeta such that k of the others are expected below t:
coefficient k is then the largest of Pf A(zeta u) on the circle |u| = 1, where it is read off.

Axes: T points t, M polynomials q_i, X nodes of `quadrature`.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy import special

from resnet_dyn.theory import quadrature

_CIRCLE = 16  # points on |u| = 1: a count that differs from k by 8 has probability < 1e-15
_COUNT_TOLERANCE = 0.45  # how far from k the expected count below t may stay
_LEAST_VARIANCE = 0.25  # keeps Newton's steps short where the count hardly moves
_NEWTON_STEPS = 100
_CHUNK = 1_000_000  # array elements of one basis held at once
_RESCALE = 1e100


def log_density(x, N) -> np.ndarray:
    """log R(x) + x^2/2, where R is the summed density of all N eigenvalues.

    R = sum_{j<N-1} phi_j^2 + sqrt((N-1)/2) phi_{N-1} F_{N-2} + [N odd] phi_{N-1}/int phi_{N-1},
    phi_j the orthonormal Hermite functions, F_n(x) = (1/2) int sgn(x - s) phi_n(s) ds (Mehta,
    Random Matrices, chapter 7). About 14 digits at any x. Returns the shape of x.
    """
    x = np.asarray(x, dtype=np.float64)
    log_scale = np.zeros_like(x)  # the Hermite polynomials below lack a factor exp(log_scale)
    lower, polynomial = np.zeros_like(x), np.full_like(x, math.pi**-0.25)
    squares = np.zeros_like(x)
    lower_integral = np.zeros_like(x)
    integral = math.pi**0.25 / math.sqrt(2) * special.erf(x / math.sqrt(2))
    whole = math.sqrt(2) * math.pi**0.25  # int phi_j over the line, j even
    for j in range(N - 1):
        squares += polynomial**2
        function = polynomial * np.exp(log_scale - x**2 / 2)
        following = (math.sqrt(j / 2) * lower_integral - function) / math.sqrt((j + 1) / 2)
        lower_integral, integral = integral, following
        following = math.sqrt(2 / (j + 1)) * x * polynomial - math.sqrt(j / (j + 1)) * lower
        lower, polynomial = polynomial, following
        whole *= math.sqrt(j / (j + 1)) if j % 2 else 1.0
        shrink = np.where(np.abs(polynomial) > _RESCALE, np.abs(polynomial), 1.0)
        lower, polynomial = lower / shrink, polynomial / shrink
        squares = squares / shrink / shrink
        log_scale += np.log(shrink)
    edge = math.sqrt((N - 1) / 2) * lower_integral + (1 / whole if N % 2 else 0.0)
    return log_scale + np.log(squares * np.exp(log_scale - x**2 / 2) + polynomial * edge)


def log_ordered_density(t, N, k, draft=False) -> np.ndarray:
    """log p_k(t) + t^2/2, where p_k is the density of the k-th smallest of N eigenvalues.

    The module's docstring has the formula. `draft=True` gives the logarithm to about 0.1 at a
    fraction of the cost. t: shape (T,); 0 <= k < N, N >= 2. Returns shape (T,).
    """
    t = np.asarray(t, dtype=np.float64)
    if k > N - 1 - k:  # the ensemble is symmetric
        t, k = -t, N - 1 - k
    M = N - 1
    chunk = max(1, _CHUNK // (M * quadrature.node_estimate(M)))
    chunks = np.split(t, range(chunk, len(t), chunk))
    if k == 0:
        parts = [_log_none_below(part, M) for part in chunks]
    else:
        parts = [_log_count_below(part, M, k, draft) for part in chunks]
    return _log_constant(N) + np.concatenate(parts)


class _Forms(NamedTuple):
    """A(zeta u) = above + u cross + u^2 below, in orthonormal polynomials, w scaled to top 1."""

    above_TMM: np.ndarray
    cross_TMM: np.ndarray
    below_TMM: np.ndarray
    log_norms: np.ndarray  # (T,) log of the product of the monic polynomials' norms
    log_top_above: np.ndarray  # (T,)
    log_top_below: np.ndarray  # (T,)


def _log_none_below(t, M):
    """log [z^0] Pf A(z): all others above t, so what is below plays no part."""
    above = quadrature.side(t, M, M)
    values_TMX, log_norms = _orthonormal(above.offsets_TX, above.weights_TX, above.density_TX, M)
    form_TMM = _bordered(*quadrature.skew_form(values_TMX, above))
    return 0.5 * np.linalg.slogdet(form_TMM)[1] + log_norms + M * above.log_top


def _log_count_below(t, M, k, draft):
    """log [z^k] Pf A(z): k of the others below t, the rest above."""
    log_zeta = _tilt(t, M, k)
    forms = _forms(t, M, k, log_zeta)
    at_zeta_TMM = forms.above_TMM + forms.cross_TMM + forms.below_TMM
    log_pfaffian = 0.5 * np.linalg.slogdet(at_zeta_TMM)[1]
    if draft:
        _, variance = _count_moments(forms)
        log_share = -0.5 * np.log(2 * math.pi * variance + 1)
    else:
        log_share = _log_coefficient(forms, k, log_pfaffian)
    log_weights = (M - k) * forms.log_top_above + k * (forms.log_top_below - log_zeta)
    return log_share + log_pfaffian + forms.log_norms + log_weights


def _tilt(t, M, k):
    """log zeta, for the scaled w, at which about k of the others are expected below t."""
    log_zeta = -np.sign(t) * M * _outlier_cost(t / math.sqrt(M / 2))
    log_zeta += quadrature.side(-t, M, k).log_top - quadrature.side(t, M, M).log_top
    low, high = np.full_like(t, -np.inf), np.full_like(t, np.inf)
    active = np.arange(len(t))
    for _ in range(_NEWTON_STEPS):
        mean, variance = _count_moments(_forms(t[active], M, k, log_zeta[active]))
        far = np.abs(mean - k) > _COUNT_TOLERANCE
        active, mean, variance = active[far], mean[far], variance[far]
        if not len(active):
            return log_zeta
        here = log_zeta[active]
        low[active] = np.where(mean < k, here, low[active])
        high[active] = np.where(mean > k, here, high[active])
        step = here + (k - mean) / np.maximum(variance, _LEAST_VARIANCE)
        middle = 0.5 * (low[active] + high[active])
        inside = (step > low[active]) & (step < high[active])
        log_zeta[active] = np.where(inside, step, middle)
    raise RuntimeError(f'no tilt puts {k} of {M} eigenvalues below t = {t[active]}')


def _outlier_cost(s):
    """I(s) of `complexity.theta_at_energy`, the rate of one outlier at s; 0 in the bulk."""
    angle = np.arccosh(np.maximum(np.abs(s) / 2, 1.0))
    return np.sinh(2 * angle) / 2 - angle


def _count_moments(forms):
    """Mean and variance of the number below t under the tilt: derivatives of log Pf in log u."""
    at_zeta_TMM = forms.above_TMM + forms.cross_TMM + forms.below_TMM
    first_TMM = np.linalg.solve(at_zeta_TMM, forms.cross_TMM + 2 * forms.below_TMM)
    below_TMM = np.linalg.solve(at_zeta_TMM, forms.below_TMM)
    mean = 0.5 * np.trace(first_TMM, axis1=1, axis2=2)
    second = mean + np.trace(below_TMM, axis1=1, axis2=2)  # cross + 4 below = first + 2 below
    return mean, second - 0.5 * np.einsum('tij,tji->t', first_TMM, first_TMM)


def _log_coefficient(forms, k, log_pfaffian):
    """log of coefficient k of Pf A(zeta u)/Pf A(zeta), by a Fourier sum over the circle."""
    size = forms.above_TMM.shape[-1]
    scale_T11 = np.exp(-log_pfaffian * 2 / size)[:, None, None]
    half_circle = np.exp(2j * math.pi / _CIRCLE * np.arange(_CIRCLE // 2 + 1))
    total = 0.0
    for point, u in enumerate(half_circle):  # the other half is the complex conjugate
        form_TMM = forms.above_TMM + u * forms.cross_TMM + u**2 * forms.below_TMM
        multiplicity = 1 if point in (0, _CIRCLE // 2) else 2
        total = total + multiplicity * (_pfaffian(scale_T11 * form_TMM) * u**-k).real
    return np.log(total / _CIRCLE)


def _pfaffian(skew_TMM):
    """Pfaffians of skew matrices of even size, by elimination with pivoting, shape (T,)."""
    skew_TMM = skew_TMM.copy()
    product = np.ones_like(skew_TMM[:, 0, 0])
    for i in range(0, skew_TMM.shape[-1], 2):
        pivots = i + 1 + np.abs(skew_TMM[:, i, i + 1 :]).argmax(axis=1)
        _swap_with_pivots(skew_TMM, i + 1, pivots)
        corner = skew_TMM[:, i, i + 1]
        product = product * np.where(pivots == i + 1, corner, -corner)
        rows = skew_TMM[:, i, i + 2 :] / corner[:, None]
        outer_TMM = rows[:, :, None] * skew_TMM[:, i + 1, None, i + 2 :]
        skew_TMM[:, i + 2 :, i + 2 :] -= outer_TMM - outer_TMM.transpose(0, 2, 1)
    return product


def _swap_with_pivots(skew_TMM, position, pivots):
    batch = np.flatnonzero(pivots != position)
    pivots = pivots[batch]
    for view_TMM in (skew_TMM, skew_TMM.transpose(0, 2, 1)):
        kept = view_TMM[batch, position].copy()
        view_TMM[batch, position] = view_TMM[batch, pivots]
        view_TMM[batch, pivots] = kept


def _forms(t, M, k, log_zeta):
    below, above = quadrature.side(-t, M, k), quadrature.side(t, M, M)
    tilted_TX = below.density_TX * np.exp(log_zeta)[:, None]
    values_TMX, log_norms = _orthonormal(
        np.concatenate([-below.distances_TX, above.distances_TX], axis=1),
        np.concatenate([below.weights_TX, above.weights_TX], axis=1),
        np.concatenate([tilted_TX, above.density_TX], axis=1),
        M,
    )
    split = below.weights_TX.shape[1]
    below_TMM, below_TM = quadrature.skew_form(values_TMX[:, :, :split], below)
    above_TMM, above_TM = quadrature.skew_form(values_TMX[:, :, split:], above)
    cross_TMM = below_TM[:, :, None] * above_TM[:, None, :]
    cross_TMM = cross_TMM - cross_TMM.transpose(0, 2, 1)
    return _Forms(
        above_TMM=_bordered(above_TMM, above_TM),
        cross_TMM=_bordered(cross_TMM, below_TM),
        below_TMM=_bordered(-below_TMM, np.zeros_like(below_TM)),  # its nodes run downwards
        log_norms=log_norms,
        log_top_above=above.log_top,
        log_top_below=below.log_top,
    )


def _orthonormal(nodes_TX, weights_TX, density_TX, M):
    """Orthonormal polynomials times the density, by Stieltjes' three-term recurrence.

    Returns their values (T, M, X) and the log of the product of the monic ones' norms (T,).
    """
    values_TMX = np.empty((len(nodes_TX), M, nodes_TX.shape[1]))
    previous, current = np.zeros_like(nodes_TX), density_TX
    log_norms = np.zeros(len(nodes_TX))
    for j in range(M):
        norm = np.sqrt(np.einsum('tx,tx,tx->t', current, current, weights_TX))[:, None]
        current = current / norm
        values_TMX[:, j] = current
        log_norms += (M - j) * np.log(norm[:, 0])
        shifted = nodes_TX * current
        mean = np.einsum('tx,tx,tx->t', shifted, current, weights_TX)[:, None]
        ratio = norm if j else 0.0
        previous, current = current, shifted - mean * current - ratio * previous
    return values_TMX, log_norms


def _bordered(form_TMM, integrals_TM):
    """For odd M, the form with a last row and column of single integrals."""
    T, M, _ = form_TMM.shape
    if M % 2 == 0:
        return form_TMM
    bordered = np.zeros((T, M + 1, M + 1))
    bordered[:, :M, :M] = form_TMM
    bordered[:, :M, M] = integrals_TM
    bordered[:, M, :M] = -integrals_TM
    return bordered


def _log_constant(N):
    """log N!/Z_N, with Mehta's Z_N = (2 pi)^(N/2) prod_{j<=N} Gamma(1 + j/2)/Gamma(3/2)."""
    half_orders = np.arange(1, N + 1) / 2
    log_z = N / 2 * math.log(2 * math.pi) + np.sum(special.gammaln(1 + half_orders))
    return special.gammaln(N + 1) - log_z + N * special.gammaln(1.5)
