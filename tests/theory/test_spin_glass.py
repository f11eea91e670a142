"""The spin glass against reference values, autodiff along geodesics and its covariances."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resnet_dyn.theory import spin_glass

pytestmark = pytest.mark.usefixtures('float64')

MIXTURE = {2: 0.3, 3: 0.5, 4: 0.2}

# Lambda = 5, eps^2 = MIXTURE, J^(r) and w as in `_setting`.
REFERENCE = {
    'H': -1.9548628331981697,
    'riem_grad_norm': 5.9579881550658,
    'w_dot_grad_over_Lambda': -1.6798240285298576,
    'riem_hess_eigs': [
        -3.284164274908739,
        -1.397067154022399,
        2.6684074775272655,
        3.3957685784808485,
    ],
}


# Compiled whole: step by step they would be some thirty programs each.
energy = jax.jit(lambda w, tensors: spin_glass.energy(w, tensors, MIXTURE))
gradient = jax.jit(lambda w, tensors: spin_glass.riemannian_gradient(w, tensors, MIXTURE))
hessian = jax.jit(lambda w, tensors: spin_glass.riemannian_hessian(w, tensors, MIXTURE))
at_weights = jax.jit(jax.value_and_grad(spin_glass.energy))


@jax.jit
def pure(w, tensors):
    """The energy and its gradient, of each length by itself."""
    of = jax.value_and_grad(spin_glass.energy)
    return {r: of(w, tensors, {r: 1.0}) for r in (1, 2, 3, 4)}


def test_energy_gradient_and_hessian_equal_the_reference():
    w, tensors = _setting()
    value, slope = at_weights(w, tensors, MIXTURE)
    eigenvalues = np.linalg.eigvalsh(hessian(w, tensors))
    radial = np.argmin(np.abs(eigenvalues))
    measured = {
        'H': value,
        'riem_grad_norm': np.linalg.norm(gradient(w, tensors)),
        'w_dot_grad_over_Lambda': w @ slope / w.size,
        'riem_hess_eigs': np.delete(eigenvalues, radial),
    }
    for key, value in measured.items():
        np.testing.assert_allclose(value, REFERENCE[key], rtol=1e-9, err_msg=key)


def test_energy_is_the_sum_of_every_product_of_weights_along_every_path():
    w, tensors = _setting()
    expected = 0.0
    for r, share in MIXTURE.items():
        paths = itertools.product(range(5), repeat=r)
        form = sum(tensors[r][path] * math.prod(w[i] for i in path) for path in paths)
        expected += math.sqrt(share) * 5 ** (-(r - 1) / 2) * float(form)
    np.testing.assert_allclose(energy(w, tensors), expected, rtol=1e-12)


def test_derivatives_along_geodesics_are_those_of_the_gradient_and_the_hessian():
    w, tensors = _setting()
    radius = math.sqrt(w.size)

    def along(s, u):
        point = jnp.cos(s / radius) * w + jnp.sin(s / radius) * radius * u
        return spin_glass.energy(point, tensors, MIXTURE)

    def slope(s, u):
        return jax.jvp(lambda s: along(s, u), (s,), (1.0,))[1]

    derivatives = jax.jit(lambda u: jax.jvp(lambda s: slope(s, u), (0.0,), (1.0,)))
    for seed in range(3):
        u = np.random.default_rng(seed).normal(size=w.shape)
        u -= w * (w @ u) / (w @ w)
        u /= np.linalg.norm(u)
        first, second = derivatives(u)
        np.testing.assert_allclose(first, gradient(w, tensors) @ u, rtol=1e-11)
        np.testing.assert_allclose(second, u @ np.asarray(hessian(w, tensors)) @ u, rtol=1e-11)


def test_the_gradient_is_tangent_and_the_hessian_symmetric_and_zero_on_the_radial_direction():
    w, tensors = _setting()
    matrix = np.asarray(hessian(w, tensors))
    assert abs(w @ np.asarray(gradient(w, tensors))) < 1e-13
    np.testing.assert_allclose(matrix @ w, 0, atol=1e-13)
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-13)


@pytest.mark.parametrize('r', [1, 2, 3, 4])
def test_a_pure_model_is_homogeneous_of_degree_r(r):
    w, tensors = _setting()
    (value, slope), (twice, _) = pure(w, tensors)[r], pure(2 * w, tensors)[r]
    np.testing.assert_allclose(w @ slope, r * value, rtol=1e-12)
    np.testing.assert_allclose(twice, 2**r * value, rtol=1e-12)


def test_energies_and_gradients_have_the_covariances_of_the_mixture():
    Lambda, draws, mixture = 4, 8_000, {1: 0.2, 2: 0.5, 3: 0.3}
    x, y = np.random.default_rng(1).normal(size=(2, Lambda))
    x *= math.sqrt(Lambda) / np.linalg.norm(x)
    y = x + 0.5 * y
    y *= math.sqrt(Lambda) / np.linalg.norm(y)

    def draw(key):
        tensors = spin_glass.sample_tensors(key, Lambda, mixture)
        of = jax.value_and_grad(lambda w: spin_glass.energy(w, tensors, mixture))
        (h_x, h_y), (g_x, g_y) = jax.vmap(of)(np.stack([x, y]))
        return h_x * h_y, h_x * g_y, jnp.outer(g_x, g_y)

    products = jax.jit(jax.vmap(draw))(jax.random.split(jax.random.key(0), draws))
    value, slope, curvature = spin_glass.covariance(x @ y / Lambda, mixture)
    predicted = (
        Lambda * value,
        slope * x,
        slope * np.eye(Lambda) + curvature * np.outer(y, x) / Lambda,
    )
    for product, expected in zip(map(np.asarray, products), predicted, strict=True):
        errors = (product.mean(0) - expected) / (product.std(0) / math.sqrt(draws))
        assert np.abs(errors).max() < 4, 'in standard errors'


def test_the_mixture_is_normalised_on_entry_and_zero_weights_need_no_tensor():
    w, tensors = _setting()
    scaled = {r: 7 * share for r, share in MIXTURE.items()} | {9: 0.0}
    found = jax.jit(lambda w: spin_glass.energy(w, tensors, scaled))(w)
    np.testing.assert_allclose(found, energy(w, tensors), rtol=1e-14)


def test_weights_may_be_traced_and_differentiated():
    w, tensors = _setting()

    @jax.jit
    def of_share(share):
        return spin_glass.energy(w, tensors, {2: 1 - share, 3: share})

    slope = jax.jit(jax.grad(of_share))(0.4)
    numeric = (of_share(0.4 + 1e-6) - of_share(0.4 - 1e-6)) / 2e-6
    np.testing.assert_allclose(slope, numeric, rtol=1e-7)


def test_float32_stays_float32():
    w, tensors = jax.tree.map(lambda x: x.astype(np.float32), _setting())
    for function in (gradient, hessian):
        assert jax.eval_shape(function, w, tensors).dtype == np.float32
    value = energy(w, tensors)
    assert value.dtype == np.float32
    np.testing.assert_allclose(value, REFERENCE['H'], rtol=1e-5)


def test_dense_samples_are_shared_between_mixtures_and_have_unit_variance():
    key = jax.random.key(3)
    pure = spin_glass.sample_tensors(key, 20, {3: 1.0})
    mixed = spin_glass.sample_tensors(key, 20, {2: 0.5, 3: 0.5, 6: 0.0})
    assert set(mixed) == {2, 3}
    np.testing.assert_array_equal(pure[3], mixed[3])
    assert abs(np.var(np.asarray(pure[3])) - 1) < 4 * math.sqrt(2 / 8000)
    assert pure[3].dtype == jnp.float64


def test_tensors_too_big_are_refused_with_the_bytes_named():
    with pytest.raises(ValueError, match='8,000,000,000,000 bytes'):
        spin_glass.sample_tensors(jax.random.key(0), 10_000, {3: 1.0})
    with pytest.raises(ValueError, match='need 864 bytes'):
        spin_glass.sample_tensors(jax.random.key(0), 3, {3: 0.5, 4: 0.5}, float, 800)


@pytest.mark.parametrize(
    'mixture', [{}, {3: -0.1, 2: 0.5}, {3: 0.0}, {0: 1.0}, {2.5: 1.0}, {3: float('nan')}, [1.0]]
)
def test_a_bad_mixture_is_refused(mixture):
    w, tensors = _setting()
    with pytest.raises(ValueError, match='mixture'):
        spin_glass.energy(w, tensors, mixture)


def test_missing_or_misshapen_tensors_and_tiny_spheres_are_refused():
    w, tensors = _setting()
    with pytest.raises(ValueError, match='no tensor'):
        spin_glass.energy(w, tensors, {5: 1.0})
    with pytest.raises(ValueError, match=r'\(5, 5\), found \(5,\)'):
        spin_glass.energy(w, {2: w}, {2: 1.0})
    with pytest.raises(ValueError, match='Lambda is 1'):
        spin_glass.sample_tensors(jax.random.key(0), 1, {3: 1.0})


def _tensor(shape, shift):
    flat = np.arange(np.prod(shape), dtype=np.float64).reshape(shape)
    return np.sqrt(2) * np.sin((flat + 1) ** 2 + shift)


def _setting():
    w = _tensor((5,), 0.7)
    tensors = {r: _tensor((5,) * r, r) for r in (1, 2, 3, 4)}
    return w * math.sqrt(5) / np.linalg.norm(w), tensors
