"""When one step of descent makes a norm's gamma, or the scale of all weights, grow (Theorems 3, 4).

Two path lengths m < p share the weights w of a network of p layers (eq 21 with sigma = 1):

    L(w) = L_m(w) + L_p(w),     L_m = eps_m lhat_m A(w, .., w),     L_p = eps_p lhat_p B(w, .., w)

lhat_m is the product of the gammas of the m layers that the shorter path does not skip, lhat_p
that of all p layers. A has order m and B order p; both already hold their Lambda^{-(r-1)/2} and
need not be symmetric. Layers are numbered from 0.

The theorems speak of one *sequential* step, the weights first and then one gamma:

    w' = w - mu g,  g = grad L(w);      gamma_l' = gamma_l - mu dL/dgamma_l(w')

dL/dgamma_l is L / gamma_l for a layer that no path skips and L_p / gamma_l for a skipped one. So
"stationary in gamma_l" means L(w) = 0 or L_p(w) = 0, and to second order in mu

    |gamma_l'| - |gamma_l| = mu^2 |g|^2 / |gamma_l|               not skipped (Theorem 3, part 1)
                             mu^2 (|g_p|^2 + g_p.g_m) / |gamma_l|      skipped (Theorem 3, part 2)

With w = C w~, |w~|^2 = Lambda, Euler gives dL/dC = (m L_m + p L_p) / C at fixed w~, and where
that vanishes dL/dC(w') = -(mu/C) (g_m + g_p).(m g_m + p g_p) (Theorem 4, eq 25). That bracket is
an indefinite form: `shrinking_scale_example` makes it negative, so that C shrinks.

Every function runs in the dtype of its arrays and can be jitted, vmapped and differentiated,
`zero_points` (host) apart. Source: Littwin & Wolf 2016, section 4; the hypotheses that the paper
leaves unsaid are those which `hypotheses` measures.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Hypotheses(NamedTuple):
    """What the theorems need of a point; each residual lies in [0, 1] and is 0 where it holds.

    loss:           |L| / (|L_m| + |L_p|): part 1 of Theorem 3 needs 0.
    deep_loss:      |L_p| / (|L_m| + |L_p|): part 2 of Theorem 3 needs 0.
    scale_slope:    |m L_m + p L_p| / (m |L_m| + p |L_p|): Theorem 4 needs 0.
    gradient_norm:  |g|: all need it positive.
    smallest_gamma: min_l |gamma_l|: Theorem 3 needs it positive.
    step_limits:    the mu below which the first order outweighs the second, for part 1, part 2
                    and Theorem 4: 2 |g.grad F| / |g.Hess F.g| with F = L, L_p, m L_m + p L_p.
    """

    loss: jax.Array
    deep_loss: jax.Array
    scale_slope: jax.Array
    gradient_norm: jax.Array
    smallest_gamma: jax.Array
    step_limits: jax.Array


def two_path_loss(A, B, gammas, non_skipped, eps_m, eps_p):
    """The loss of eq 21 with sigma = 1, L(w) = eps_m lhat_m A(w,..,w) + eps_p lhat_p B(w,..,w).

    Args:
      A: (Lambda,) * m, B: (Lambda,) * p with m < p, both holding their Lambda^{-(r-1)/2}.
      gammas: (p,), one for each layer.
      non_skipped: the m layers, from 0, that the shorter path passes through.
      eps_m, eps_p: the weights of the two path lengths.

    Returns:
      A function of w (Lambda,) that gives a scalar.

    Raises:
      ValueError: shapes that do not fit each other, or layers that are not m distinct ones.
    """
    gammas = _layer_gammas(A, B, gammas, non_skipped)

    def loss(w):
        shallow, deep = _parts(A, B, w, gammas, non_skipped, eps_m, eps_p)
        return shallow + deep

    return loss


def growth(A, B, w, gammas, non_skipped, eps_m, eps_p, layer, mu, sequential=True):
    """The change of |gamma_layer| by one step of size mu, weights first (Theorem 3).

    |gamma - mu dL/dgamma_layer(w - mu g)| - |gamma|, exact in mu, for any w, stationary or not.
    With `sequential=False` the gamma sees the old weights; at a stationary point nothing changes.
    Written without subtracting nearly equal numbers, so that float32 keeps its digits.
    """
    gammas = _layer_gammas(A, B, gammas, non_skipped)
    _check_step(mu)
    if not isinstance(layer, jax.core.Tracer) and not 0 <= layer < gammas.size:
        raise ValueError(f'layer is {layer}; it must be one of 0..{gammas.size - 1}')

    def loss(weights, scales):
        shallow, deep = _parts(A, B, weights, scales, non_skipped, eps_m, eps_p)
        return shallow + deep

    seen = w - mu * jax.grad(loss)(w, gammas) if sequential else w
    step = -mu * jax.grad(loss, argnums=1)(seen, gammas)[layer]
    gamma = gammas[layer]
    outward = jnp.where(gamma < 0, -step, step)
    return jnp.maximum(outward, -2 * jnp.abs(gamma) - outward)


def growth_condition(A, B, w, gammas, non_skipped, eps_m, eps_p):
    """|g_p|^2 + g_p.g_m; where L_p = 0 a skipped layer's |gamma| grows iff it is positive."""
    gammas = _layer_gammas(A, B, gammas, non_skipped)
    shallow, deep = _gradients(A, B, w, gammas, non_skipped, eps_m, eps_p)
    return deep @ deep + deep @ shallow


def scale_gradient(A, B, w, eps_m, eps_p, mu):
    """How the scale C = |w| / sqrt(Lambda) is driven after one step of the weights (Theorem 4).

    Here all gammas are 1 (or held in the eps). Returns (dL/dC at w - mu g, by the old C; the
    bracket of eq 25, (g_m + g_p).(m g_m + p g_p) at w). Where m L_m + p L_p = 0 the first is
    -(mu / C) times the second, up to O(mu^2).
    """
    _check_orders(A, B)
    _check_step(mu)
    gammas, layers = jnp.ones(B.ndim, jnp.result_type(A)), range(A.ndim)
    shallow, deep = _gradients(A, B, w, gammas, layers, eps_m, eps_p)
    gradient = shallow + deep
    bracket = gradient @ (A.ndim * shallow + B.ndim * deep)
    shallow_loss, deep_loss = _parts(A, B, w - mu * gradient, gammas, layers, eps_m, eps_p)
    slope = (A.ndim * shallow_loss + B.ndim * deep_loss) / scale(w)
    return slope, bracket


def hypotheses(A, B, w, gammas, non_skipped, eps_m, eps_p):
    """What the theorems silently need, measured at w: see `Hypotheses`."""
    gammas = _layer_gammas(A, B, gammas, non_skipped)
    m, p, w = A.ndim, B.ndim, jnp.asarray(w)

    def parts(weights):
        return jnp.stack(_parts(A, B, weights, gammas, non_skipped, eps_m, eps_p))

    losses = parts(w)
    combine = jnp.asarray([[1, 1], [0, 1], [m, p]], losses.dtype)
    gradient = jax.grad(lambda weights: parts(weights).sum())(w)
    _, slopes = jax.jvp(parts, (w,), (gradient,))
    _, curvatures = jax.jvp(
        lambda weights: jax.jvp(parts, (weights,), (gradient,))[1], (w,), (gradient,)
    )
    sizes = jnp.asarray([[1, 1], [1, 1], [m, p]], losses.dtype) @ jnp.abs(losses)
    residuals = jnp.where(sizes > 0, jnp.abs(combine @ losses) / sizes, 0)
    limits = 2 * jnp.abs(combine @ slopes) / jnp.abs(combine @ curvatures)
    return Hypotheses(*residuals, jnp.linalg.norm(gradient), jnp.min(jnp.abs(gammas)), limits)


def scale(w):
    """C of the paper, sqrt(|w|^2 / Lambda)."""
    return jnp.sqrt(w @ w / w.size)


def balancing_eps(A, B, w, gammas, non_skipped, eps_m):
    """The eps_p for which L(w) = 0: a point where part 1 of Theorem 3 applies."""
    gammas = _layer_gammas(A, B, gammas, non_skipped)
    shallow, deep = _parts(A, B, w, gammas, non_skipped, eps_m, 1.0)
    return -shallow / deep


def zero_points(B, w, direction):
    """The points of a great circle through w where B(w,..,w) = 0: part 2 of Theorem 3 applies.

    The circle is cos(t) w + sin(t) u, u the part of `direction` orthogonal to w, at w's length.
    B on it is a form of degree p in (cos t, sin t), whose real roots are found from its
    coefficients and polished by Newton's method. On the host, float64.

    Returns:
      (angles (n,) ascending in (0, pi), points (n, Lambda)); n = 0 is possible for even p.
    """
    B, w, direction = (np.asarray(x, np.float64) for x in (B, w, direction))
    p = B.ndim
    u = direction - w * (direction @ w) / (w @ w)
    u *= np.linalg.norm(w) / np.linalg.norm(u)
    fitted = np.pi * (np.arange(p + 1) + 0.5) / (p + 1)
    basis = np.stack([np.cos(fitted) ** (p - k) * np.sin(fitted) ** k for k in range(p + 1)], 1)
    values = [_contract(B, np.cos(t) * w + np.sin(t) * u) for t in fitted]
    form = np.linalg.solve(basis, values)
    tangents = np.roots(form[::-1])
    real = tangents.real[np.abs(tangents.imag) < 1e-8 * (1 + np.abs(tangents))]
    angles = np.sort([_polished(form, t) for t in np.arctan(real) % np.pi])
    return angles, np.outer(np.cos(angles), w) + np.outer(np.sin(angles), u)


def stationary_scale(A, B, w, eps_m, eps_p):
    """The C > 0 with m L_m + p L_p = 0 at C w, where Theorem 4 applies; NaN if there is none.

    C = (-m eps_m A(w,..,w) / (p eps_p B(w,..,w)))^{1/(p-m)}, all gammas 1.
    """
    _check_orders(A, B)
    ratio = -A.ndim * eps_m * _contract(A, w) / (B.ndim * eps_p * _contract(B, w))
    return jnp.where(ratio > 0, jnp.abs(ratio) ** (1 / (B.ndim - A.ndim)), jnp.nan)


def shrinking_scale_example(dtype=float):
    """A counterexample to Theorem 4: (A, B, w) with m = 2, p = 4, eps 1, where C shrinks.

    Lambda = 3, A = diag(2, 1, -1), w = (1, 1, 1/2), R = |w|^2 = 9/4, a = w.A w = 11/4 and

        L_p(x) = -(3/(4R)) (x.A x) |x|^2 + (a/(4R^2)) |x|^4

    Then 2 L_m + 4 L_p = 0 at w, the bracket of eq 25 is exactly -17/9, and dL/dC > 0 after a
    step. It is no accident: the tangential parts of g_m and g_p are antiparallel with
    1 < |g_m| / |g_p| < p/m = 2.
    """
    square, identity = np.diag([2.0, 1.0, -1.0]), np.eye(3)
    w = np.array([1.0, 1.0, 0.5])
    R, a = w @ w, w @ square @ w
    quartic = np.multiply.outer(a / (4 * R**2) * identity - 3 / (4 * R) * square, identity)
    return tuple(jnp.asarray(x, dtype) for x in (square, quartic, w))


def _parts(A, B, w, gammas, non_skipped, eps_m, eps_p):
    """(L_m, L_p)."""
    kept = jnp.prod(gammas[jnp.asarray(tuple(non_skipped))])
    return eps_m * kept * _contract(A, w), eps_p * jnp.prod(gammas) * _contract(B, w)


def _gradients(A, B, w, gammas, non_skipped, eps_m, eps_p):
    """(g_m, g_p), every slot differentiated."""
    return jax.jacrev(lambda x: _parts(A, B, x, gammas, non_skipped, eps_m, eps_p))(w)


def _contract(tensor, w):
    for _ in range(tensor.ndim):
        tensor = tensor @ w
    return tensor


def _polished(form, angle):
    """Newton on sum_k form_k cos^{p-k} sin^k from an angle that is a root up to rounding."""
    p = form.size - 1
    k = np.arange(p + 1)
    for _ in range(3):
        cos, sin = np.cos(angle), np.sin(angle)
        value = form @ (cos ** (p - k) * sin**k)
        slope = form @ (
            k * sin ** np.maximum(k - 1, 0) * cos ** (p - k + 1)
            - (p - k) * cos ** np.maximum(p - k - 1, 0) * sin ** (k + 1)
        )
        angle -= value / slope if slope else 0.0
    return angle


def _check_orders(A, B):
    size = B.shape[0] if B.ndim else 0
    if not 1 <= A.ndim < B.ndim or set(A.shape + B.shape) != {size}:
        raise ValueError(
            f'A has shape {A.shape} and B {B.shape}; expected (Lambda,) * m and (Lambda,) * p '
            'with 1 <= m < p'
        )


def _layer_gammas(A, B, gammas, non_skipped):
    """The gammas as an array of A's dtype, once shapes and layers have been checked."""
    _check_orders(A, B)
    gammas = jnp.asarray(gammas, jnp.result_type(A))
    if gammas.shape != (B.ndim,):
        raise ValueError(
            f'gammas have shape {gammas.shape}; B is of order {B.ndim}, so there must be one '
            f'for each of its layers: shape ({B.ndim},)'
        )
    layers = tuple(non_skipped)
    if len(layers) != A.ndim or len(set(layers) & set(range(B.ndim))) != A.ndim:
        raise ValueError(
            f'non_skipped is {layers}; A is of order {A.ndim}, so it must name {A.ndim} '
            f'distinct layers of 0..{B.ndim - 1}'
        )
    return gammas


def _check_step(mu):
    if not isinstance(mu, jax.core.Tracer) and np.any(np.asarray(mu) <= 0):
        raise ValueError(f'mu is {mu}; a step of descent must be positive')
