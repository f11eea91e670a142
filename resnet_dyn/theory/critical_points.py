"""Where the spin glass has no slope: descent to a minimum, and a search for all critical points.

A critical point of H on the sphere has P grad H = 0; its index is the number of negative
eigenvalues of the Riemannian Hessian R on the tangent space. Newton's method from random starts,

    w  <-  retract(w - (R + w w^T / |w|^2)^{-1} P grad H),

converges to critical points of every index. A search is over when the counts N_k have the
Euler characteristic of the sphere, sum_k (-1)^k N_k = 1 + (-1)^{Lambda - 1}, and no point has
been reached from one start only (by the Good-Turing rule, the mass of basins not seen yet is
about the share of such starts). The Euler characteristic alone is blind to a missing pair of
neighbouring indices, the second rule alone to a point with a small basin.

For the energy and its derivatives see `spin_glass`. Counting wants float64.
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from resnet_dyn.theory import spin_glass

# Critical points nearer than this count as one, in units of the radius.
_SAME_POINT = {np.dtype(np.float32): 1e-3, np.dtype(np.float64): 1e-4}


class Descent(NamedTuple):
    """w (Lambda,) after the last step; H and |P grad H| before each step."""

    w: jax.Array
    energies_T: jax.Array
    gradient_norms_T: jax.Array


class CriticalPoints(NamedTuple):
    """N critical points by rising energy (NumPy).

    points_ND: D = Lambda coordinates of each, on |w|^2 = Lambda.
    energies_N: H, not divided by Lambda.
    indices_N: the number of negative eigenvalues of the Riemannian Hessian.
    hits_N: how many starts led to each.
    starts: how many starts were made.
    euler_holds: whether sum_k (-1)^k N_k = 1 + (-1)^{Lambda - 1}.
    complete: whether that holds and every point, of one or more, was reached from several starts.
    """

    points_ND: np.ndarray
    energies_N: np.ndarray
    indices_N: np.ndarray
    hits_N: np.ndarray
    starts: int
    euler_holds: bool
    complete: bool


def descend(w, tensors, mixture, optimizer, steps):
    """Descent on the sphere through w by an optax optimizer fed with the Riemannian gradient.

    Each step adds the optimizer's update and returns to the sphere along the radius. Momentum, if
    the optimizer has any, is carried in the surrounding space, not transported.

    Args:
      w: (Lambda,), the start.
      tensors, mixture: as in `spin_glass.energy`.
      optimizer: an `optax.GradientTransformation`.
      steps: how many.

    Returns:
      A `Descent`.
    """
    radius = jnp.sqrt(w @ w)

    def step(carry, _):
        w, state = carry
        energy, slope = jax.value_and_grad(spin_glass.energy)(w, tensors, mixture)
        slope = spin_glass.tangent(slope, w)
        update, state = optimizer.update(slope, state, w)
        moved = spin_glass.retract(optax.apply_updates(w, update), radius)
        return (moved, state), (energy, jnp.sqrt(slope @ slope))

    (w, _), (energies_T, gradient_norms_T) = jax.lax.scan(
        step, (w, optimizer.init(w)), length=steps
    )
    return Descent(w, energies_T, gradient_norms_T)


def find_critical_points(key, tensors, mixture, starts=2048, max_rounds=32, iterations=40):
    """All critical points of H on |w|^2 = Lambda, by Newton's method from random starts.

    Rounds of `starts` starts are made until the two rules above are met, at most `max_rounds`; a
    result that is not `complete` belongs in no statistics. Where H(-w) = +-H(w), every point
    brings its antipode. Degenerate critical points, which are not isolated, are not meant here.

    Args:
      key: a JAX key; it seeds a NumPy generator of the starts.
      tensors, mixture: as in `spin_glass.energy`; two samples of equal shapes share a compilation.
      starts, max_rounds, iterations: starts in a round, rounds, Newton steps from each start.

    Returns:
      `CriticalPoints`.
    """
    weights = {r: weight for r, weight in spin_glass.normalised(mixture).items() if weight > 0}
    first = min(weights)
    if first not in tensors:
        raise ValueError(f'the mixture has r = {first}, tensors only {sorted(tensors)}')
    Lambda = spin_glass.checked_size(jnp.shape(tensors[first])[0])
    terms = spin_glass.terms(Lambda, tensors, weights)
    dtype = jnp.result_type(float, *(tensor for tensor, _ in terms))
    parities = {r % 2 for r in weights}
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).tolist())
    found, made = _nothing(Lambda), 0
    for _ in range(max_rounds):
        made += starts
        points_BD = _on_radius(rng.normal(size=(starts, Lambda)))
        converged = _converged(points_BD.astype(dtype), terms, iterations)
        if len(parities) == 1:
            converged = _with_antipodes(converged, -1 if parities == {1} else 1)
        found = _merge(found, converged, _SAME_POINT[dtype])
        indices_N = _indices(found)
        euler_holds = bool(np.sum((-1) ** indices_N) == 1 + (-1) ** (Lambda - 1))
        reached_again = found.hits_N.size > 0 and bool((found.hits_N > 1).all())
        complete = euler_holds and reached_again
        if complete:
            break
    order = np.argsort(found.energies_N)
    return CriticalPoints(
        found.points_ND[order],
        found.energies_N[order],
        indices_N[order],
        found.hits_N[order],
        made,
        euler_holds,
        complete,
    )


def count_by_index(points, Lambda):
    """The counts N_0 .. N_{Lambda-1} of a `CriticalPoints`, as an integer array (Lambda,)."""
    return np.bincount(points.indices_N, minlength=Lambda)


def symmetric_part(tensor):
    """The average over all permutations of the axes: the same form, and r equal partial slots.

    Symmetrised one axis at a time, r(r-1)/2 transpositions rather than r! permutations.
    """
    for last in range(1, tensor.ndim):
        swaps = [jnp.swapaxes(tensor, axis, last) for axis in range(last)]
        tensor = (tensor + sum(swaps)) / (last + 1)
    return tensor


class _Found(NamedTuple):
    points_ND: np.ndarray
    energies_N: np.ndarray
    hessians_NDD: np.ndarray
    hits_N: np.ndarray


def _nothing(Lambda):
    shapes = (0, Lambda), (0,), (0, Lambda, Lambda), (0,)
    return _Found(*(np.zeros(shape) for shape in shapes[:3]), np.zeros(0, int))


def _converged(points_BD, terms, iterations):
    """Where those starts led that converged, one row each, repetitions included."""
    *columns, converged_B = _newton(points_BD, terms, iterations)
    points_BD, energies_B, hessians_BDD = (
        np.asarray(column, np.float64)[converged_B] for column in columns
    )
    hits_B = np.ones(len(points_BD), int)
    return _Found(_on_radius(points_BD), energies_B, hessians_BDD, hits_B)


def _on_radius(points_BD):
    lengths_B1 = np.linalg.norm(points_BD, axis=1, keepdims=True)
    return points_BD * (math.sqrt(points_BD.shape[1]) / lengths_B1)


@jax.jit
def _newton(points_BD, terms, iterations):
    """Newton from B points of the sphere: (points_BD, energies_B, hessians_BDD, converged_B)."""
    forms = {tensor.ndim: coefficient * symmetric_part(tensor) for tensor, coefficient in terms}
    Lambda, dtype = points_BD.shape[1], points_BD.dtype
    radius = jnp.sqrt(jnp.asarray(Lambda, dtype))

    def step(w):
        _, slope, hessian = _on_sphere(forms, w)
        move = jnp.linalg.solve(hessian + jnp.outer(w, w) / Lambda, slope)
        return spin_glass.retract(w - move, radius)

    points_BD = jax.lax.fori_loop(0, iterations, lambda _, w_BD: jax.vmap(step)(w_BD), points_BD)
    energies_B, slopes_BD, hessians_BDD = jax.vmap(lambda w: _on_sphere(forms, w))(points_BD)
    size = jnp.sqrt(jnp.mean(jnp.square(hessians_BDD), axis=(1, 2))) * radius
    tolerance = 1e4 * jnp.finfo(dtype).eps
    converged_B = jnp.linalg.norm(slopes_BD, axis=1) < tolerance * size
    return points_BD, energies_B, hessians_BDD, converged_B


def _on_sphere(forms, w):
    """(H, P grad H, Riemannian Hessian) of symmetric forms, all from one contraction of each."""
    Lambda = w.size
    energy, gradient, hessian = 0.0, jnp.zeros_like(w), jnp.zeros((Lambda, Lambda), w.dtype)
    for r, form in forms.items():
        if r == 1:
            energy, gradient = energy + form @ w, gradient + form
            continue
        power = functools.reduce(jnp.multiply.outer, [w] * (r - 2), jnp.ones((), w.dtype))
        pair = (form.reshape(Lambda**2, -1) @ power.ravel()).reshape(Lambda, Lambda)
        once = pair @ w
        energy, gradient = energy + once @ w, gradient + r * once
        hessian = hessian + r * (r - 1) * pair
    unit = w / jnp.sqrt(w @ w)
    projector = jnp.eye(Lambda, dtype=w.dtype) - jnp.outer(unit, unit)
    radial = w @ gradient / (w @ w)
    return (
        energy,
        spin_glass.tangent(gradient, w),
        projector @ hessian @ projector - radial * projector,
    )


def _with_antipodes(found, sign):
    """The points and their antipodes, where H(-w) = sign H(w)."""
    return _Found(
        np.concatenate([found.points_ND, -found.points_ND]),
        np.concatenate([found.energies_N, sign * found.energies_N]),
        np.concatenate([found.hessians_NDD, sign * found.hessians_NDD]),
        np.concatenate([found.hits_N, found.hits_N]),
    )


def _merge(known, new, same_point):
    """The known points and those of the new ones that differ from them and from each other."""
    Lambda = known.points_ND.shape[1]
    near = Lambda * (1 - same_point**2 / 2)
    hits_N = known.hits_N.copy()
    hits_N += (known.points_ND @ new.points_ND.T > near).sum(1)
    left = np.flatnonzero(~(new.points_ND @ known.points_ND.T > near).any(1))
    chosen, chosen_hits = [], []
    while left.size:
        same = new.points_ND[left] @ new.points_ND[left[0]] > near
        chosen.append(left[0])
        chosen_hits.append(same.sum())
        left = left[~same]
    chosen = np.array(chosen, int)
    return _Found(
        np.concatenate([known.points_ND, new.points_ND[chosen]]),
        np.concatenate([known.energies_N, new.energies_N[chosen]]),
        np.concatenate([known.hessians_NDD, new.hessians_NDD[chosen]]),
        np.concatenate([hits_N, np.array(chosen_hits, int)]),
    )


def _indices(found):
    """The number of negative eigenvalues on the tangent space; the radial one is lifted away."""
    scale = 1 + np.abs(found.hessians_NDD).sum((1, 2))
    Lambda = found.points_ND.shape[1]
    lift_NDD = np.einsum('ni,nj,n->nij', found.points_ND, found.points_ND, scale / Lambda)
    return (np.linalg.eigvalsh(found.hessians_NDD + lift_NDD) < 0).sum(1)
