"""How the output of a residual network is shared among its path lengths.

A network of depth p is a sum over path lengths r = 1..p (the first layer is always used, so a
path of length r uses r - 1 of the p - 1 skippable branches). With equal gains, eq 16:

    eps_r = C(p-1, r-1) beta^r / z,   z^2 = sum_r (C(p-1, r-1) beta^r)^2,
    beta = rho n C / sqrt(Lambda)

so that sum_r eps_r^2 = 1; eps_r^2 is the *depth law*. Gains b_2..b_p that differ from layer to
layer put elementary symmetric polynomials in place of the binomials:

    coherent     eps_r   proportional to e_{r-1}(b)     amplitudes of equal length add (eq 13, 16)
    incoherent   eps_r^2 proportional to e_{r-1}(b^2)   variances add: the Poisson-binomial law

Everything is kept as logarithms, indexed by r - 1, in the dtype of the caller.
"""

import functools
import math
import numbers
import operator
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.special import logsumexp

_TIE_EPSILONS = 4  # a float this many machine epsilons from a tie came from rounding one


def log_path_weights(beta: jax.typing.ArrayLike, p: int) -> jax.Array:
    """log eps_r of eq 16 (coherent, from r = 1, sum eps^2 = 1).

    The log ratios eps_{r+1} / eps_r = beta (p - r) / r are summed outwards from the mode, which
    keeps the relative error at a few machine epsilons at every r; direct products overflow from
    p ~ 500, and log-gamma functions lose 3e-11 at p = 10^4. O(p) time and memory.

    Args:
      beta: positive scalar, float32 or float64; `jax.vmap` for more than one.
      p: depth, a static integer >= 1 (below 2^24 in float32, whose integers end there).

    Returns:
      Shape (p,), dtype of `beta`; `log eps_r` is at index r - 1. The derivative is exact:
      d log eps_r / d log beta = r - E[r], at any order.

    Raises:
      ValueError: for beta <= 0 or not finite, beta not a scalar, p not an integer >= 1. A traced
        `beta` has no value to check: beta <= 0 then gives NaN.
    """
    return _log_path_weights(_checked_beta(beta), checked_depth(p))


def log_z(beta: jax.typing.ArrayLike, p: int) -> jax.Array:
    """log z of eq 16: the scale of the output before the weights are normalised.

    z^2 = sum_r (C(p-1, r-1) beta^r)^2 = beta^2 (1 - beta^2)^N P_N((1 + beta^2) / (1 - beta^2)) with
    N = p - 1 and P_N Legendre's polynomial; computed as log beta - log eps_1.
    Arguments, dtype and errors as in `log_path_weights`; d log z / d log beta = E[r].
    """
    beta = _checked_beta(beta)
    return _log_scale(beta, _log_path_weights(beta, checked_depth(p)))


def argmax_set(beta: float | Fraction, p: int) -> tuple[int, ...]:
    """The r at which eps_r of eq 16 is largest: one integer, or the two of a tie (Theorem 1).

    With X = beta p / (1 + beta): {X, X + 1} if X is an integer >= 1, else {floor(X) + 1}. So under
    Theorem 1's own hypothesis (X an integer) the argmax is never unique.

    Args:
      beta: positive. A `Fraction` or an integer is taken exactly. A float (of either precision)
        within four epsilons of a tie beta = k / (p - k) is taken for that tie.
      p: depth, an integer >= 1.

    Raises:
      ValueError: for beta <= 0 or not finite, or p not an integer >= 1. A host function: it
        cannot be traced.
    """
    p = checked_depth(p)
    exact, slack = _exact_beta(beta)
    crossing = exact * p / (1 + exact)
    nearest = round(crossing)
    if 1 <= nearest < p and abs(exact / Fraction(nearest, p - nearest) - 1) <= slack:
        return nearest, nearest + 1
    return (math.floor(crossing) + 1,)


def log_path_weights_from_gains(gains: jax.typing.ArrayLike, coherent: bool = True) -> jax.Array:
    """log eps_r for gains b_2..b_p that may all differ; sum eps^2 = 1.

    Coherent: eps_r proportional to e_{r-1}(b). Incoherent: eps_r^2 proportional to e_{r-1}(b^2),
    which is the law of 1 + a sum of independent Bernoulli(b_l^2 / (1 + b_l^2)).

    The ratios e_k / e_{k-1} are built gain by gain (see `_symmetric_ratios`), so nothing
    underflows: the logs are finite wherever e_{r-1} > 0. O(p^2) time; O(p) memory, and O(p^1.5)
    under reverse-mode differentiation.

    Args:
      gains: shape (p - 1,), non-negative, float32 or float64; `jax.vmap` for more than one set.
      coherent: static; which of the two laws.

    Returns:
      Shape (p,), dtype of `gains`. A gain of zero is a dead block: paths longer than the number
      of live blocks + 1 get -inf. Derivatives of the finite entries, those with respect to a
      zero gain included, are finite.

    Raises:
      ValueError: for gains that are not a vector, negative or not finite. Traced gains have no
        values to check: a negative one then gives NaN.
    """
    gains = _checked_gains(gains)
    if gains.size == 0:
        return jnp.zeros(1, gains.dtype)
    return _log_path_weights_from_gains(gains, bool(coherent))


def depth_moments(log_weights: jax.typing.ArrayLike) -> tuple[jax.Array, jax.Array]:
    """Mean and variance of the path length r under the depth law eps_r^2.

    Args:
      log_weights: log eps_r, shape (p,); normalised here again, so rounding does not matter.

    Returns:
      (E[r], Var[r]), two scalars.

    Raises:
      ValueError: if `log_weights` is not a vector with at least one entry.
    """
    return _depth_moments(_checked_log_weights(log_weights))


def band_mass(log_weights: jax.typing.ArrayLike, first: int, last: int) -> jax.Array:
    """sum of eps_r^2 over first <= r <= last, both ends included.

    Args:
      log_weights: log eps_r, shape (p,).
      first, last: path lengths, 1 <= first <= last <= p; may be traced (then unchecked, and
        lengths outside 1..p hold no mass).

    Raises:
      ValueError: for a band that is empty or leaves 1..p, or `log_weights` not a vector.
    """
    log_weights = _checked_log_weights(log_weights)
    p = log_weights.size
    if not _is_traced(first) and not _is_traced(last) and not 1 <= first <= last <= p:
        raise ValueError(f'band {first}..{last}: expected 1 <= first <= last <= p = {p}')
    return _band_mass(log_weights, first, last)


def checked_depth(p: int) -> int:
    """p as an int; ValueError unless it is an integer >= 1."""
    try:
        depth = operator.index(p)
    except TypeError:
        depth = 0
    if depth < 1:
        raise ValueError(f'p = {p!r}: expected a depth, an integer >= 1')
    return depth


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _log_weights(beta, p):
    r = jnp.arange(1, p, dtype=beta.dtype)
    mode = jnp.clip(jnp.floor(beta / (1 + beta) * p) + 1, 1, p)
    excess = (_mode_excess(beta, p, mode) - (1 + beta) * (r - mode)) / r
    log_ratios = jnp.where(jnp.abs(excess) <= 0.5, jnp.log1p(excess), jnp.log(beta * (p - r) / r))
    log_weights = _sum_outwards(log_ratios, mode)
    log_weights -= logsumexp(2 * log_weights) / 2
    return jnp.where(beta > 0, log_weights, jnp.nan)


@_log_weights.defjvp
def _log_weights_jvp(p, primals, tangents):
    (beta,), (beta_dot,) = primals, tangents
    log_weights = _log_weights(beta, p)
    mean, _ = _depth_moments(log_weights)
    r = jnp.arange(1, p + 1, dtype=beta.dtype)
    return log_weights, (r - mean) * (beta_dot / beta)


_log_path_weights = jax.jit(_log_weights, static_argnums=1)


@jax.jit
def _log_scale(beta, log_weights):
    return jnp.log(beta) - log_weights[0]


@jax.jit
def _depth_moments(log_weights):
    law = jax.nn.softmax(2 * log_weights)
    r = jnp.arange(1, log_weights.size + 1, dtype=law.dtype)
    mean = jnp.sum(r * law)
    return mean, jnp.sum((r - mean) ** 2 * law)


@jax.jit
def _band_mass(log_weights, first, last):
    r = jnp.arange(1, log_weights.size + 1)
    return jnp.sum(jnp.where((r >= first) & (r <= last), jnp.exp(2 * log_weights), 0))


def _mode_excess(beta, p, mode):
    """beta (p - mode) - mode without cancellation.

    Near the mode eps_{r+1} / eps_r - 1 is this small number over r, summed over ~ sqrt(p) terms:
    a float32 product would cost 1e-5 at p = 10^4. Both factors are split so that the partial
    products are exact.
    """
    bits = jnp.finfo(beta.dtype)
    high = lax.reduce_precision(beta, bits.nexp, bits.nmant // 2)
    low = beta - high
    coarse = jnp.floor((p - mode) / 4096) * 4096
    fine = (p - mode) - coarse
    return ((high * coarse - mode) + high * fine) + (low * coarse + low * fine)


@functools.partial(jax.jit, static_argnums=1)
def _log_path_weights_from_gains(gains, coherent):
    gains = jnp.where(gains >= 0, gains, jnp.nan)
    ratios = _symmetric_ratios(gains if coherent else gains**2)
    alive = ratios > 0
    log_ratios = jnp.where(alive, jnp.log(jnp.where(alive, ratios, 1)), -jnp.inf)
    log_ratios = jnp.where(jnp.isnan(ratios), jnp.nan, log_ratios)
    log_polynomials = _sum_outwards(log_ratios, 1 + jnp.sum(ratios > 1))
    if coherent:
        return log_polynomials - logsumexp(2 * log_polynomials) / 2
    return (log_polynomials - logsumexp(log_polynomials)) / 2


def _symmetric_ratios(b):
    """e_k(b) / e_{k-1}(b) for k = 1..len(b).

    With t_k the ratios of the gains taken so far, one more gain b makes them

        t_k <- (t_k + b) t_{k-1} / (t_{k-1} + b),    t_0 = infinity.

    Only sums, products and quotients of non-negative numbers. By Newton's inequality
    t_k <= t_{k-1}, so the relative errors of t_k and t_{k-1} enter with weights whose sum is at
    most 1: errors never grow.
    """

    def add_gain(ratios, gain):
        total = ratios + gain
        kept = ratios / jnp.where(total > 0, total, 1)
        return total * jnp.concatenate([jnp.ones_like(kept[:1]), kept[:-1]]), None

    @jax.checkpoint  # the backward pass keeps one row of ratios at a time, not all p^2
    def add_row(ratios, gains):
        return lax.scan(add_gain, ratios, gains)

    side = math.isqrt(b.size - 1) + 1
    rows = jnp.pad(b, (0, side**2 - b.size)).reshape(side, side)  # a zero gain changes nothing
    return lax.scan(add_row, jnp.zeros_like(b), rows)[0]


def _sum_outwards(log_ratios, mode):
    """log w_r - log w_mode, r = 1..p, from log w_{r+1} / w_r, r = 1..p-1."""
    r = jnp.arange(1, log_ratios.size + 1)
    zero = jnp.zeros_like(log_ratios, shape=1)
    above = jnp.cumsum(jnp.where(r >= mode, log_ratios, 0))
    below = lax.cumsum(jnp.where(r < mode, log_ratios, 0), reverse=True)
    return jnp.concatenate([zero, above]) - jnp.concatenate([below, zero])


def _checked_beta(beta):
    beta = jnp.asarray(beta)
    if beta.ndim:
        raise ValueError(f'beta of shape {beta.shape}: expected a scalar; use jax.vmap for many')
    if not _is_traced(beta) and not (0 < np.asarray(beta) < math.inf):
        raise ValueError(f'beta = {beta}: expected a finite number > 0')
    return beta.astype(jnp.result_type(beta, float))


def _exact_beta(beta):
    """beta as a Fraction, and the relative distance at which it still counts as a tie."""
    if isinstance(beta, numbers.Rational):
        exact, slack = Fraction(int(beta.numerator), int(beta.denominator)), Fraction(0)
    else:
        value = np.asarray(beta)
        if not np.isfinite(value):
            raise ValueError(f'beta = {beta}: expected a finite number > 0')
        exact = Fraction(float(value))
        slack = _TIE_EPSILONS * Fraction(float(np.finfo(value.dtype).eps))
    if exact <= 0:
        raise ValueError(f'beta = {beta}: expected a finite number > 0')
    return exact, slack


def _checked_gains(gains):
    gains = jnp.asarray(gains)
    if gains.ndim != 1:
        raise ValueError(
            f'gains of shape {gains.shape}: expected a vector b_2..b_p; use jax.vmap for many'
        )
    if not _is_traced(gains):
        values = np.asarray(gains)
        bad = values[~((values >= 0) & (values < np.inf))]
        if bad.size:
            raise ValueError(f'gains contain {bad[0]}: expected finite numbers >= 0')
    return gains.astype(jnp.result_type(gains, float))


def _checked_log_weights(log_weights):
    log_weights = jnp.asarray(log_weights)
    if log_weights.ndim != 1 or log_weights.size == 0:
        raise ValueError(
            f'log_weights of shape {log_weights.shape}: expected (p,); use jax.vmap for many'
        )
    return log_weights


def _is_traced(value):
    return isinstance(value, jax.core.Tracer)
