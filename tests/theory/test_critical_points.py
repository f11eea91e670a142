"""Searches of critical points against exact Kac-Rice means, topology and linear algebra."""

import jax
import numpy as np
import optax
import pytest

from resnet_dyn.theory import critical_points, spin_glass

pytestmark = pytest.mark.usefixtures('float64')

# Exact mean numbers (Kac-Rice at finite Lambda): total, then by index 0, 1, 2.
EXACT = {
    ('pure 3', 3): [10.55235974119758, 3.1380899353, 4.2761798706, 3.1380899353],
    ('pure 3', 4): [18.790233801030155, 3.5795244615, 5.8155924390, 5.8155924390],
    ('pure 3', 6): [50.87313651725072, 4.4117810650, 8.9912482829, 12.0335389107],
    ('pure 4', 3): [15.14534138012399, 4.2863353450, 6.5726706901, 4.2863353450],
    ('pure 4', 6): [128.98930575826824, 8.2443733158, 22.3611535437, 33.8891260196],
    ('half 2 + half 3', 3): [8.722889362417797, 2.6807223406, 3.3614446812, 2.6807223406],
    ('half 2 + half 3', 4): [14.07649519893256, 2.9043067538, 4.1339408457, 4.1339408457],
}
MIXTURES = {'pure 3': {3: 1.0}, 'pure 4': {4: 1.0}, 'half 2 + half 3': {2: 0.5, 3: 0.5}}
SAMPLES = {3: 60, 4: 50, 6: 15}


@pytest.mark.slow_but('mixture0-4')
@pytest.mark.parametrize(
    ('mixture', 'Lambda'), [({3: 1.0}, 4), ({4: 1.0}, 6), ({1: 0.2, 2: 0.4, 5: 0.4}, 5)]
)
def test_each_point_found_is_critical_with_the_index_of_its_hessian_and_found_once(mixture, Lambda):
    points, tensors = _search(mixture, Lambda, 0)

    @jax.jit
    @jax.vmap
    def at(w):
        slope = spin_glass.riemannian_gradient(w, tensors, mixture)
        hessian = spin_glass.riemannian_hessian(w, tensors, mixture)
        return slope, hessian, spin_glass.energy(w, tensors, mixture)

    slopes, hessians, energies = at(points.points_ND)
    np.testing.assert_allclose(slopes, 0, atol=1e-9)
    np.testing.assert_allclose(energies, points.energies_N, rtol=1e-9)
    np.testing.assert_array_equal((np.linalg.eigvalsh(hessians) < -1e-9).sum(1), points.indices_N)
    assert (np.diff(points.energies_N) >= 0).all()
    cosines = points.points_ND @ points.points_ND.T / Lambda - 2 * np.eye(len(energies))
    assert cosines.max() < 1 - 1e-8


def test_the_critical_points_of_a_quadratic_are_the_eigenvectors_of_its_symmetric_part():
    points, tensors = _search({2: 1.0}, 6, 1)
    eigenvalues = np.linalg.eigvalsh((tensors[2] + tensors[2].T) / 2)
    np.testing.assert_allclose(points.energies_N / 6**0.5, np.repeat(eigenvalues, 2), rtol=1e-9)
    np.testing.assert_array_equal(critical_points.count_by_index(points, 6), [2] * 6)


def test_a_linear_energy_has_one_minimum_and_one_maximum():
    points, tensors = _search({1: 1.0}, 5, 2)
    expected = np.linalg.norm(tensors[1]) * 5**0.5
    np.testing.assert_allclose(points.energies_N, [-expected, expected], rtol=1e-12)
    np.testing.assert_array_equal(points.indices_N, [0, 4])


@pytest.mark.slow
def test_many_more_starts_find_no_further_point():
    for seed in range(3):
        points, tensors = _search({2: 0.5, 3: 0.5}, 6, seed)
        again = critical_points.find_critical_points(
            jax.random.key(99), tensors, {2: 0.5, 3: 0.5}, starts=16_384, max_rounds=1
        )
        np.testing.assert_allclose(again.energies_N, points.energies_N, rtol=1e-8)


@pytest.mark.slow_but('0')
@pytest.mark.parametrize('seed', range(4))
def test_a_search_of_too_few_starts_says_that_it_is_not_complete(seed):
    """Which points a few starts reach depends on the rounding of the machine; this does not.

    One start reaches one point and its antipode. At Lambda = 6 those cancel in the Euler
    characteristic, which is 0, for a cubic H, and count twice for a quartic.
    """
    for r, cancels in ((3, True), (4, False)):
        points, _ = _search({r: 1.0}, 6, seed, starts=1, max_rounds=1)
        assert not points.complete
        assert points.starts == 1
        if len(points.energies_N):  # the start converged
            assert points.hits_N.tolist() == [1, 1]
            assert points.euler_holds == cancels


def test_a_search_is_complete_only_if_no_point_was_reached_once():
    for seed in range(3):
        points, _ = _search({4: 1.0}, 6, seed, starts=16, max_rounds=1)
        counts = critical_points.count_by_index(points, 6)
        assert points.euler_holds == (counts[::2].sum() == counts[1::2].sum())
        assert points.complete == (points.euler_holds and points.hits_N.min() > 1)
        assert points.hits_N.sum() <= 2 * points.starts


def test_a_search_in_which_no_start_converges_is_not_complete():
    """Nothing found has the Euler characteristic of the spheres of odd dimension, by accident."""
    points, _ = _search({3: 1.0}, 6, 0, starts=16, max_rounds=1, iterations=0)
    assert len(points.energies_N) == 0
    assert not points.complete


@pytest.mark.parametrize(('r', 'sign'), [(3, -1), (4, 1)])
def test_every_point_of_a_pure_model_brings_its_antipode(r, sign):
    points, _ = _search({r: 1.0}, 6, 0, starts=16, max_rounds=1)
    for w, energy, index in zip(points.points_ND, points.energies_N, points.indices_N, strict=True):
        same = np.argmin(np.linalg.norm(points.points_ND + w, axis=1))
        assert np.linalg.norm(points.points_ND[same] + w) < 1e-9
        np.testing.assert_allclose(points.energies_N[same], sign * energy, rtol=1e-9)
        assert points.indices_N[same] == (index if sign == 1 else 5 - index)


@pytest.mark.slow
def test_descent_ends_in_a_minimum_that_the_search_knows():
    mixture = {2: 0.5, 3: 0.5}
    points, tensors = _search(mixture, 6, 3)
    w = _random_point(7, 6)
    steps = jax.jit(critical_points.descend, static_argnames=('optimizer', 'steps'))
    for optimizer in (optax.sgd(0.1), optax.sgd(0.05, momentum=0.5), optax.adam(0.01)):
        end = steps(w, tensors, mixture, optimizer=optimizer, steps=1500)
        assert end.gradient_norms_T.shape == end.energies_T.shape == (1500,)
        np.testing.assert_allclose(np.sum(np.square(end.w)), 6, rtol=1e-12)
        assert end.gradient_norms_T[-1] < 1e-6
        minima = points.energies_N[points.indices_N == 0]
        assert np.abs(minima - end.energies_T[-1]).min() < 1e-9


def test_small_steps_of_descent_never_raise_the_energy():
    tensors, w = _tensors(0, 10, {3: 1.0}), _random_point(1, 10)
    path = critical_points.descend(w, tensors, {3: 1.0}, optax.sgd(0.02), 300)
    np.testing.assert_allclose(path.energies_T[0], _form(tensors[3], w) / 10)
    assert (np.diff(path.energies_T) <= 0).all()


@pytest.mark.parametrize('r', [1, 2, 3, 4])
def test_the_symmetric_part_is_symmetric_and_the_same_form(r):
    tensor = _tensors(r, 4, {r: 1.0})[r]
    symmetric = np.asarray(jax.jit(critical_points.symmetric_part)(tensor))
    for last in range(1, r):
        np.testing.assert_allclose(symmetric, np.swapaxes(symmetric, 0, last), atol=1e-14)
    w = np.random.default_rng(9).normal(size=4)
    np.testing.assert_allclose(_form(symmetric, w), _form(tensor, w), rtol=1e-12)


def test_searches_of_equal_shapes_share_one_compilation():
    _search({3: 1.0}, 4, 0)
    before = critical_points._newton._cache_size()
    _search({3: 2.0}, 4, 1)
    assert critical_points._newton._cache_size() == before


def test_a_search_in_float32_finds_the_same_points():
    points, tensors = _search({3: 1.0}, 4, 5)
    single = jax.tree.map(lambda x: x.astype(np.float32), tensors)
    found = critical_points.find_critical_points(jax.random.key(0), single, {3: 1.0}, starts=512)
    np.testing.assert_allclose(found.energies_N, points.energies_N, rtol=1e-4)
    np.testing.assert_array_equal(found.indices_N, points.indices_N)


def test_a_search_without_its_tensors_is_refused():
    with pytest.raises(ValueError, match='r = 3, tensors only'):
        critical_points.find_critical_points(jax.random.key(0), {}, {3: 1.0})


@pytest.mark.usefixtures('optimised')  # from here on, for it is of the module
@pytest.mark.slow_but('half 2 + half 3-4')
@pytest.mark.parametrize(('name', 'Lambda'), EXACT)
def test_mean_counts_equal_kac_rice_and_every_sample_has_the_euler_characteristic(name, Lambda):
    counts_SK = []
    for seed in range(SAMPLES[Lambda]):
        points, _ = _search(MIXTURES[name], Lambda, seed)
        counts = critical_points.count_by_index(points, Lambda)
        assert points.complete
        assert sum((-1) ** k * n for k, n in enumerate(counts)) == 1 + (-1) ** (Lambda - 1)
        counts_SK.append([counts.sum(), *counts[:3]])
    counts_SK = np.array(counts_SK)
    errors = counts_SK.std(0, ddof=1) / np.sqrt(len(counts_SK))
    z_K = (counts_SK.mean(0) - EXACT[name, Lambda]) / errors
    assert np.abs(z_K).max() < 4, f'{z_K} standard errors'


def _search(mixture, Lambda, seed, **options):
    tensors = _tensors(seed, Lambda, mixture)
    options = {'starts': 2048 if Lambda > 4 else 512, **options}
    key = jax.random.key(10_000 + seed)
    return critical_points.find_critical_points(key, tensors, mixture, **options), tensors


def _tensors(seed, Lambda, mixture):
    """By NumPy: JAX compiles a draw for each shape."""
    return {r: np.random.default_rng([seed, r]).normal(size=(Lambda,) * r) for r in mixture}


def _random_point(seed, Lambda):
    w = np.random.default_rng(seed).normal(size=Lambda)
    return w * (Lambda**0.5 / np.linalg.norm(w))


def _form(tensor, w):
    for _ in range(tensor.ndim):
        tensor = tensor @ w
    return tensor
