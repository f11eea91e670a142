"""Which path lengths dominate, and how the weights' scale C moves them: Lemma 4, Theorems 1 and 2.

With q = beta / (1 + beta) and beta = rho n C / sqrt(Lambda), eps_r^2 of eq 16 is the square of a
binomial law of size p - 1, normalised again. It peaks at r ~ q p (Theorem 1) and leaves every
band around that peak exponentially fast in p (Theorem 2); raising C raises every path length:

    d log eps_r / d log C = r - E[r],     d E[r] / d log C = 2 Var[r]

(eq 19 of the paper differentiates the unnormalised weights and drops a factor 1 / C.)
Path lengths are the paper's r = 1..p; a width n, Lambda unique weights, a gate probability rho.
"""

import math
import typing

import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp, xlogy

from resnet_dyn.theory import path_weights


class TailBounds(typing.NamedTuple):
    """Logarithms of three bounds on the mass of a tail of the depth law, tightest first."""

    sharp: jax.Array  # -2 N D + 2 log sum_r eps_r
    entropy: jax.Array  # -2 N D + log(N + 1)
    quadratic: jax.Array  # -4 N (alpha - q)^2 + log(N + 1)


def beta_of_scale(scale, Lambda, n, rho):
    """beta = rho n C / sqrt(Lambda), the gain of one branch at the scale C (eq 16).

    Plain arithmetic: any of the arguments may be a traced array. Nothing is checked.
    """
    return rho * n * scale / Lambda**0.5


def scale_window(k: int, p: int, Lambda: float, n: float, rho: float) -> tuple[float, float]:
    """Lemma 4: the open interval of C in which the paths of length k dominate, argmax eps = {k}.

        (k - 1) / (p - k + 1) < beta < k / (p - k),     C = beta sqrt(Lambda) / (rho n)

    At the ends k ties with k - 1 and with k + 1. The low end is 0 for k = 1, the high end infinite
    for k = p, so every path length has its window.

    Args:
      k: path length, 1..p.
      p: depth, an integer >= 1.
      Lambda: number of unique weights, >= 2.
      n: width, >= 1.
      rho: probability that a gate is open, 0 < rho <= 1.

    Raises:
      ValueError: for an argument outside its range. Host numbers, not traced.
    """
    unit = _scale_per_beta(k, p, Lambda, n, rho)
    high = k / (p - k) if k < p else math.inf
    return unit * ((k - 1) / (p - k + 1)), unit * high


def scale_for_depth(k: int, p: int, Lambda: float, n: float, rho: float) -> float:
    """Lemma 4 made constructive: a C at which k is the unique argmax.

    C = beta_k sqrt(Lambda) / (rho n), beta_k = (k - 1/2) / (p - k + 1/2), inside `scale_window`.
    Arguments and errors as there.
    """
    return _scale_per_beta(k, p, Lambda, n, rho) * ((k - 0.5) / (p - k + 0.5))


@jax.jit
def log_weight_slopes(log_weights: jax.typing.ArrayLike) -> jax.Array:
    """d log eps_r / d log C = r - E[r], shape (p,).

    Holds for any gains, equal or not, when all of them scale with C. The paper's r in place of
    r - E[r] is the slope of the unnormalised weight: z depends on C too. Divide by C and multiply
    by eps_r for d eps_r / dC.

    Args:
      log_weights: log eps_r, shape (p,), of `path_weights`.
    """
    mean, _ = path_weights.depth_moments(log_weights)
    r = jnp.arange(1, jnp.size(log_weights) + 1, dtype=mean.dtype)
    return r - mean


@jax.jit
def mean_depth_slope(log_weights: jax.typing.ArrayLike) -> jax.Array:
    """d E[r] / d log C = 2 Var[r] >= 0: a larger scale means a deeper ensemble (corrects eq 19).

    Args:
      log_weights: log eps_r, shape (p,), for any gains that all scale with C.
    """
    return 2 * path_weights.depth_moments(log_weights)[1]


def argmax_gap(beta, p: int) -> float:
    """Theorem 1 at finite p: the largest |k / p - q| over the argmax set, never more than 1 / p.

    Needs no hypothesis on beta p / (1 + beta). `beta` as in `path_weights.argmax_set`.
    """
    q = float(beta / (1 + beta))
    return max(abs(k / p - q) for k in path_weights.argmax_set(beta, p))


def asymptotic_moments(beta, p: int) -> tuple:
    """Theorem 2 at finite p: mean and variance of r under eps^2, each up to O(1/p).

        E[r] = p q + 3/4 - q/2,     Var[r] = q (1 - q) (2 p - 1) / 4

    Half a binomial's variance, because the law is a squared binomial. At beta = 1 exactly
    (p + 1) / 2 and (p - 1)^2 / (4 (2 p - 3)). `beta` may be traced.
    """
    p = path_weights.checked_depth(p)
    q = beta / (1 + beta)
    return p * q + 0.75 - q / 2, q * (1 - q) * (2 * p - 1) / 4


@jax.jit
def relative_entropy(alpha, q) -> jax.Array:
    """D(alpha || q) = alpha log(alpha / q) + (1 - alpha) log((1 - alpha) / (1 - q)), in nats.

    The rate of Theorem 2: (1/p) log eps_{alpha p}^2 -> -2 D(alpha || q). For alpha in [0, 1] and
    q in (0, 1); outside, NaN or infinity.
    """
    return xlogy(alpha, alpha / q) + xlogy(1 - alpha, (1 - alpha) / (1 - q))


def log_tail_bounds(alpha: float, beta: float, p: int) -> TailBounds:
    """Theorem 2 without asymptotics: bounds on the mass beyond the fraction alpha, N = p - 1.

    For alpha >= q the tail is r - 1 >= alpha N, for alpha <= q it is r - 1 <= alpha N:

        sum_tail eps_r^2  <=  (sum_r eps_r)^2 e^{-2 N D(alpha || q)}     sharp
                          <=  (N + 1) e^{-2 N D(alpha || q)}             entropy
                          <=  (N + 1) e^{-4 N (alpha - q)^2}             quadratic

    by sum_tail b^2 <= (sum_tail b)^2 and Chernoff for the binomial b, then Cauchy-Schwarz, then
    Pinsker.

    Args:
      alpha: fraction of the branches used, 0 <= alpha <= 1.
      beta, p: as in `path_weights.log_path_weights`.

    Returns:
      Logarithms of the three bounds, in the dtype of `beta`.

    Raises:
      ValueError: for alpha outside [0, 1] (if not traced), and as `log_path_weights` does.
    """
    if not isinstance(alpha, jax.core.Tracer) and not 0 <= alpha <= 1:
        raise ValueError(f'alpha = {alpha}: expected a fraction of the branches, 0 <= alpha <= 1')
    log_weights = path_weights.log_path_weights(beta, p)
    q = beta / (1 + beta)
    N = p - 1
    rate = -2 * N * relative_entropy(alpha, q)
    return TailBounds(
        sharp=rate + 2 * _log_sum(log_weights),
        entropy=rate + math.log(N + 1),
        quadratic=-4 * N * (alpha - q) ** 2 + math.log(N + 1),
    )


_log_sum = jax.jit(logsumexp)


def _scale_per_beta(k, p, Lambda, n, rho):
    p = path_weights.checked_depth(p)
    if k not in range(1, p + 1):
        raise ValueError(f'k = {k}: expected a path length, an integer 1 <= k <= p = {p}')
    if not Lambda >= 2:
        raise ValueError(f'Lambda = {Lambda}: expected a number of unique weights >= 2')
    if not n >= 1:
        raise ValueError(f'n = {n}: expected a width >= 1')
    if not 0 < rho <= 1:
        raise ValueError(f'rho = {rho}: expected a probability, 0 < rho <= 1')
    return math.sqrt(Lambda) / (rho * n)
