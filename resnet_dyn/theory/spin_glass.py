"""The loss of the virtual ensemble as a spin glass on a sphere: energy, derivatives, dense samples.

A mixture {r: eps_r^2}, normalised to sum 1 on entry, and tensors {r: J^(r)} of standard normal
entries, not symmetrised, define for weights w on |w|^2 = Lambda (eq 26)

    H(w) = sum_r eps_r Lambda^{-(r-1)/2} J^(r)(w, .., w),      E[H(x) H(y)] = Lambda v(x.y / Lambda)

with v(t) = sum_r eps_r^2 t^r. Derivatives along the sphere, P = I - w w^T / |w|^2:

    gradient  P grad H          Hessian  P (Hess H) P - (w.grad H / |w|^2) P

Everything runs in the dtype of w and the tensors and can be jitted, vmapped and differentiated.
A mixture's weights may be traced too: then they are not checked, every weight needs its tensor,
and weights that are negative or all 0 give NaN. `critical_points` finds where the gradient
vanishes; `trajectory_sampling` draws H along a path when the tensors would not fit.
Source: Littwin & Wolf 2016, section 5.
"""

import math
import operator
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

MAX_BYTES = 2**31


def energy(w, tensors, mixture):
    """H(w) = sum_r eps_r Lambda^{-(r-1)/2} J^(r)(w, .., w).

    Args:
      w: (Lambda,), on the sphere |w|^2 = Lambda where the laws above are meant.
      tensors: {r: J^(r) of shape (Lambda,) * r}, need not be symmetric; lengths that are not in
        the mixture are left out.
      mixture: {r: eps_r^2}.

    Raises:
      ValueError: a bad mixture (see `normalised`), or a tensor missing or of another shape.
    """
    total = jnp.zeros((), jnp.result_type(w))
    for tensor, coefficient in terms(w.size, tensors, mixture):
        for _ in range(tensor.ndim):
            tensor = tensor @ w
        total = total + coefficient * tensor
    return total


def riemannian_gradient(w, tensors, mixture):
    """P grad H, the gradient along the sphere through w: (Lambda,), orthogonal to w."""
    return tangent(jax.grad(energy)(w, tensors, mixture), w)


def riemannian_hessian(w, tensors, mixture):
    """P (Hess H) P - (w.grad H / |w|^2) P: (Lambda, Lambda), symmetric, 0 on the radial direction.

    For a geodesic x(s) of unit speed from w, s the arc length, u its direction, it gives
    d^2 H / ds^2 = u.Hessian.u.
    """
    gradient = jax.grad(energy)
    hessian = jax.jacfwd(gradient)(w, tensors, mixture)
    radial = w @ gradient(w, tensors, mixture) / (w @ w)
    unit = w / jnp.sqrt(w @ w)
    projector = jnp.eye(w.size, dtype=hessian.dtype) - jnp.outer(unit, unit)
    return projector @ hessian @ projector - radial * projector


def tangent(vector, w):
    """The part of a vector that is orthogonal to w."""
    return vector - w * (w @ vector) / (w @ w)


def retract(w, radius):
    """The point of the sphere of that radius in the direction of w."""
    return w * (radius / jnp.sqrt(w @ w))


def covariance(t, mixture):
    """(v(t), v'(t), v''(t)) of v(t) = sum_r eps_r^2 t^r, for t = x.y / Lambda of any shape.

    E[H(x) H(y)] = Lambda v,  E[H(x) dH/dy_j] = v' x_j,
    E[dH/dx_i dH/dy_j] = v' delta_ij + v'' y_i x_j / Lambda.
    """
    weights = normalised(mixture)
    value = sum(weight * t**r for r, weight in weights.items())
    slope = sum(weight * r * t ** (r - 1) for r, weight in weights.items())
    curvature = sum(w * r * (r - 1) * t ** max(r - 2, 0) for r, w in weights.items())
    return value, slope, curvature


def sample_tensors(key, Lambda, mixture, dtype=float, max_bytes=MAX_BYTES):
    """{r: J^(r)} with independent standard normal entries, for every r of positive weight.

    J^(r) depends on the key and on r alone, so that mixtures share their tensors.

    Raises:
      ValueError: Lambda < 2, a bad mixture, or tensors of more than `max_bytes` together.
    """
    Lambda = checked_size(Lambda)
    lengths = [r for r, weight in normalised(mixture).items() if not _is_zero(weight)]
    needed = (
        sum(Lambda**r for r in lengths) * jnp.dtype(jax.dtypes.canonicalize_dtype(dtype)).itemsize
    )
    if needed > max_bytes:
        raise ValueError(
            f'tensors of orders {lengths} at Lambda = {Lambda} need {needed:,} bytes, more than '
            f'max_bytes = {max_bytes:,}; lower Lambda or r, or sample along a path with '
            'trajectory_sampling.sample_trajectory'
        )
    return {r: jax.random.normal(jax.random.fold_in(key, r), (Lambda,) * r, dtype) for r in lengths}


def random_point(key, Lambda, dtype=float):
    """A uniformly random point of the sphere |w|^2 = Lambda."""
    Lambda = checked_size(Lambda)
    return retract(jax.random.normal(key, (Lambda,), dtype), math.sqrt(Lambda))


def normalised(mixture):
    """The mixture with its weights eps_r^2 divided by their sum.

    Raises:
      ValueError: an empty mixture, an r that is not an integer >= 1, weights negative, not
        finite or all 0 (weights that are traced cannot be checked).
    """
    if not isinstance(mixture, Mapping) or not mixture:
        raise ValueError(f'mixture is {mixture!r}; expected a mapping {{r: eps_r^2}}, not empty')
    for r in mixture:
        if not isinstance(r, int | np.integer) or r < 1:
            raise ValueError(f'mixture has the path length {r!r}; expected integers >= 1')
    weights = {operator.index(r): weight for r, weight in mixture.items()}
    if not any(isinstance(weight, jax.core.Tracer) for weight in weights.values()):
        weights = {r: float(weight) for r, weight in weights.items()}
        sound = all(math.isfinite(weight) and weight >= 0 for weight in weights.values())
        if not sound or not any(weights.values()):
            raise ValueError(
                f'mixture is {weights}; expected finite weights eps_r^2 >= 0, not all 0'
            )
    total = sum(weights.values())
    return {r: weight / total for r, weight in weights.items()}


def checked_size(Lambda):
    """Lambda as an int; a ValueError unless it is one and at least 2."""
    if not isinstance(Lambda, int | np.integer) or Lambda < 2:
        raise ValueError(f'Lambda is {Lambda!r}; expected an integer >= 2')
    return int(Lambda)


def terms(Lambda, tensors, mixture):
    """(J^(r), eps_r Lambda^{-(r-1)/2}) for every r of positive weight: H(w) sums their forms."""
    found = []
    for r, weight in normalised(mixture).items():
        if _is_zero(weight):
            continue
        shape = jnp.shape(tensors[r]) if r in tensors else 'no tensor'
        if shape != (Lambda,) * r:
            raise ValueError(
                f'the mixture has r = {r} and w {Lambda} entries: expected a tensor of shape '
                f'{(Lambda,) * r}, found {shape}'
            )
        root = math.sqrt(weight) if isinstance(weight, float) else jnp.sqrt(weight)
        found.append((jnp.asarray(tensors[r]), root * Lambda ** (-(r - 1) / 2)))
    return found


def _is_zero(weight):
    return isinstance(weight, float) and weight == 0
