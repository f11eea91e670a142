"""Sampling along a path against dense tensors, the covariances and what a tensor must obey."""

import math

import jax
import numpy as np
import pytest

from resnet_dyn.theory import spin_glass, trajectory_sampling

pytestmark = pytest.mark.usefixtures('float64')

MIXTURE = {2: 0.5, 3: 0.5}
LAMBDA = 8


@pytest.mark.slow
def test_descent_along_sampled_paths_agrees_in_law_with_dense_tensors():
    steps, sampled, dense = 7, 500, 4000
    start = spin_glass.random_point(jax.random.key(0), LAMBDA)

    def descent(key):
        tensors = spin_glass.sample_tensors(key, LAMBDA, MIXTURE)

        def step(w, _):
            energy, slope = jax.value_and_grad(spin_glass.energy)(w, tensors, MIXTURE)
            moved = w - 0.1 * spin_glass.tangent(slope, w)
            return spin_glass.retract(moved, math.sqrt(LAMBDA)), energy

        return jax.lax.scan(step, start, length=steps)[1]

    dense_ST = jax.lax.map(descent, jax.random.split(jax.random.key(1), dense), batch_size=500)
    sampled_ST = np.stack(
        [_descend(seed, start, MIXTURE, steps).energies_T for seed in range(sampled)]
    )
    for power in (1, 2):
        a, b = (np.asarray(x) ** power for x in (sampled_ST, dense_ST))
        errors = np.sqrt(a.var(0) / sampled + b.var(0) / dense)
        z = (a.mean(0) - b.mean(0)) / errors
        assert np.abs(z).max() < 4, f'{z} standard errors'


@pytest.mark.slow
def test_energies_and_gradients_on_a_fixed_path_have_their_covariances():
    """Two points and two mixtures: the cross-covariance has the amplitudes' products in it."""
    draws = 2500
    x, y = (np.asarray(spin_glass.random_point(jax.random.key(i), 3)) for i in (1, 2))
    first, second = {2: 0.9, 3: 0.1}, {2: 0.2, 3: 0.8}
    path = [(x, first), (y, second), (y, first)]
    rows = []
    for seed in range(draws):
        trajectory, _ = trajectory_sampling.sample_trajectory(
            jax.random.key(seed), 0, lambda i: path[i], lambda i, *_: i + 1, 3
        )
        h, g = trajectory.energies_T, trajectory.gradients_TD
        rows.append([h[0] * h[1], h[0] * h[2], h[1] * h[2], *(h[0] * g[1]), *(g[0] * g[1])])
    t = x @ y / 3
    mixed = {r: math.sqrt(first[r] * second[r]) for r in first}
    value = sum(weight * t**r for r, weight in mixed.items())
    slope = sum(weight * r * t ** (r - 1) for r, weight in mixed.items())
    curvature = sum(weight * r * (r - 1) * t ** (r - 2) for r, weight in mixed.items())
    expected = [
        3 * value,
        3 * sum(weight * t**r for r, weight in first.items()),
        3 * sum(mixed.values()),
        *(slope * x),
        *(slope + curvature * x * y / 3),
    ]
    rows = np.array(rows)
    z = (rows.mean(0) - expected) / (rows.std(0) / math.sqrt(draws))
    assert np.abs(z).max() < 4, f'{z} standard errors'


def test_a_linear_energy_has_the_same_gradient_everywhere():
    path = _descend(0, _start(5), {1: 1.0}, 8)
    np.testing.assert_allclose(path.gradients_TD, path.gradients_TD[:1].repeat(8, 0), atol=2e-4)


def test_a_quadratic_energy_has_a_symmetric_linear_gradient_past_the_whole_space():
    """9 points in 5 dimensions: the last gradients are combinations of the first."""
    path = _descend(1, _start(5), {2: 1.0}, 9)
    w_TD, g_TD = path.points_TD, path.gradients_TD
    np.testing.assert_allclose(w_TD @ g_TD.T, g_TD @ w_TD.T, atol=1e-3)
    matrix = np.linalg.lstsq(w_TD[:6], g_TD[:6])[0]
    np.testing.assert_allclose(w_TD[6:] @ matrix, g_TD[6:], atol=1e-2)


def test_a_pure_model_is_homogeneous_along_the_path():
    path = _descend(2, _start(30), {4: 1.0}, 10)
    radial = np.sum(path.points_TD * path.gradients_TD, axis=1)
    np.testing.assert_allclose(radial, 4 * path.energies_T, atol=2e-3)


def test_energies_differ_along_the_path_by_the_integral_of_the_gradient():
    """Between near points: H(y) - H(x) = (g_x + g_y).(y - x) / 2 + O(|y - x|^3)."""
    path = _descend(3, _start(50), MIXTURE, 12, rate=0.005)
    w, g = path.points_TD, path.gradients_TD
    trapezoid = np.sum((g[1:] + g[:-1]) * np.diff(w, axis=0), axis=1) / 2
    np.testing.assert_allclose(np.diff(path.energies_T), trapezoid, rtol=2e-3)


def test_a_sphere_on_which_no_tensor_would_fit_can_be_descended():
    path = _descend(4, _start(1000), {10: 1.0}, 12, rate=0.05)
    assert (np.diff(path.energies_T) < 0).all()
    np.testing.assert_allclose(np.sum(path.points_TD**2, 1), 1000, rtol=1e-9)


def test_equal_keys_give_equal_paths():
    start = spin_glass.random_point(jax.random.key(0), 6)
    paths = [_descend(seed, start, MIXTURE, 4).energies_T for seed in (5, 5, 6)]
    np.testing.assert_array_equal(paths[0], paths[1])
    assert not np.allclose(paths[0], paths[2])


def test_impossible_paths_are_refused():
    w = _start(6)
    with pytest.raises(ValueError, match='a factor of 39,200 bytes'):
        _descend(0, w, MIXTURE, 10, max_bytes=39_199)
    with pytest.raises(ValueError, match='steps is 0'):
        _descend(0, w, MIXTURE, 0)
    with pytest.raises(ValueError, match=r'\|w\|\^2 = Lambda'):
        _descend(0, 2 * w, MIXTURE, 2)
    mixtures = iter([{2: 1.0}, {3: 1.0}])
    with pytest.raises(ValueError, match=r'lengths \(3,\) at step 1'):
        trajectory_sampling.sample_trajectory(
            jax.random.key(0), w, lambda w: (w, next(mixtures)), lambda w, *_: w, 2
        )


def _start(Lambda):
    """By NumPy: JAX compiles a draw for each shape."""
    w = np.random.default_rng(0).normal(size=Lambda)
    return w * (Lambda**0.5 / np.linalg.norm(w))


def _descend(seed, w, mixture, steps, rate=0.1, **options):
    def move(w, _, gradient):
        moved = w - rate * (gradient - w * (w @ gradient) / (w @ w))
        return moved * np.linalg.norm(w) / np.linalg.norm(moved)

    trajectory, _ = trajectory_sampling.sample_trajectory(
        jax.random.key(seed), np.asarray(w), lambda w: (w, mixture), move, steps, **options
    )
    return trajectory
