"""Interactions: direct sums over all subsets, published spectra, identities, dtypes, errors."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import random_variables
import reference_values_paths as reference

from resnet_dyn.kernels import interactions, lesions, masks, metrics
from resnet_dyn.models import presets, stack


def table(L, *trailing):
    return np.random.default_rng(L).normal(size=(2**L, *trailing))


def sets(L):
    return [frozenset(np.flatnonzero(row)) for row in masks.all_masks(L)]


def test_moebius_and_walsh_equal_their_sums_over_all_sets():
    f, subsets = table(4), sets(4)
    a = [
        sum((-1) ** (len(S) - len(T)) * v for T, v in zip(subsets, f, strict=True) if T <= S)
        for S in subsets
    ]
    F = [
        np.mean([(-1) ** len(S & m) * v for m, v in zip(subsets, f, strict=True)]) for S in subsets
    ]
    np.testing.assert_allclose(interactions.moebius(f), a, rtol=0, atol=1e-14)
    np.testing.assert_allclose(interactions.walsh(f), F, rtol=0, atol=1e-15)


def test_sums_by_order_run_over_all_sets_of_a_size():
    c, subsets = table(4), sets(4)
    groups = [[v for S, v in zip(subsets, c, strict=True) if len(S) == k] for k in range(5)]
    np.testing.assert_allclose(interactions.sums_by_order(c), [sum(g) for g in groups], rtol=1e-14)
    squares = [np.square(g).sum() for g in groups]
    np.testing.assert_allclose(interactions.by_order(c), squares, rtol=1e-14)


def test_shapley_is_the_mean_change_over_all_orders_of_opening_the_blocks():
    f, subsets = table(4), sets(4)
    value = dict(zip(subsets, f, strict=True))
    phi = np.zeros(4)
    for order in itertools.permutations(range(4)):
        for place, block in enumerate(order):
            before = frozenset(order[:place])
            phi[block] += (value[before | {block}] - value[before]) / math.factorial(4)
    np.testing.assert_allclose(interactions.shapley(f), phi, rtol=1e-13)


@pytest.mark.parametrize('activation', reference.ACTIVATIONS)
def test_the_spectra_of_the_reference_net_are_the_published_ones(activation):
    expected = reference.VALUES[activation]
    f = reference.outputs(activation, masks.all_masks(8))
    a, F = interactions.moebius(f), interactions.walsh(f)
    found = {
        'f_empty': f[0],
        'f_full': f[-1],
        'A_signed': interactions.sums_by_order(a),
        'A2': interactions.by_order(a),
        'W2': interactions.by_order(F),
        'var_f': interactions.by_order(F)[1:].sum(),
        'shapley': interactions.shapley(f),
        'lesion': masks.all_masks(8).T @ a,
    }
    for name, value in found.items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-9, atol=1e-12, err_msg=name)


def test_the_spectrum_of_linear_blocks_is_that_of_the_path_lengths():
    f = reference.outputs('linear', masks.all_masks(8))
    signed = interactions.sums_by_order(interactions.moebius(f))
    np.testing.assert_allclose(signed, reference.VALUES['linear']['vF'], rtol=1e-9)


def test_the_coefficients_give_the_values_back_and_what_follows_from_them():
    f, L = table(6), 6
    a, F, masks_ML = interactions.moebius(f), interactions.walsh(f), masks.all_masks(6)
    contains = masks_ML @ masks_ML.T == masks_ML.sum(1)  # [m, S]: S subset m
    np.testing.assert_allclose(contains @ a, f, atol=1e-13)
    np.testing.assert_allclose(interactions.walsh(F) * 2**L, f, atol=1e-13)
    np.testing.assert_allclose(F[1:] @ F[1:], f.var(), rtol=1e-13)
    size = masks_ML.sum(1)
    from_moebius = (-1) ** size * (contains.T @ (0.5**size * a))
    np.testing.assert_allclose(F, from_moebius, atol=1e-14)
    lesions = f[-1] - f[2**L - 1 - 2 ** np.arange(L)]
    np.testing.assert_allclose(masks_ML.T @ a, lesions, atol=1e-13)
    shares = masks_ML[1:].T @ (a[1:] / size[1:])
    np.testing.assert_allclose(interactions.shapley(f), shares, atol=1e-13)


@pytest.mark.parametrize(
    'function', ['moebius', 'walsh', 'by_order', 'sums_by_order', 'shapley'], ids=str
)
def test_trailing_axes_stay_and_dtype_and_library_are_kept(function):
    function = getattr(interactions, function)
    f = table(3, 2, 1)
    one_by_one = np.stack([function(f[:, b, 0]) for b in range(2)], -1)[..., None]
    np.testing.assert_array_equal(function(f), one_by_one)
    for dtype in (np.float32, np.float64):
        result = function(f.astype(dtype))
        assert isinstance(result, np.ndarray)
        assert result.dtype == dtype
    half = jax.jit(function)(f.astype(jnp.bfloat16))
    assert isinstance(half, jax.Array)
    assert half.dtype == jnp.bfloat16
    np.testing.assert_allclose(function([0, 1, 1, 5]), function(np.array([0.0, 1, 1, 5])))


def test_jax_tables_go_through_jit_vmap_and_grad():
    f = table(5, 3).astype(np.float32)

    @jax.jit
    def run(f):
        def spectrum(one):
            return interactions.by_order(interactions.walsh(one))

        rows = (jax.vmap(spectrum, 1, 1)(f), interactions.moebius(f), interactions.shapley(f))
        return rows, jax.grad(lambda one: spectrum(one)[1:].sum())(f[:, 0])

    (spectra, a, phi), gradient = run(f)
    np.testing.assert_allclose(spectra, interactions.by_order(interactions.walsh(f)), rtol=2e-5)
    np.testing.assert_allclose(a, interactions.moebius(f), atol=2e-5)
    np.testing.assert_allclose(phi, interactions.shapley(f), atol=1e-6)
    # the derivative of a variance over 32 values
    np.testing.assert_allclose(gradient, (f[:, 0] - f[:, 0].mean()) / 16, atol=1e-6)


def test_twenty_blocks_take_a_fast_transform_and_float32_shares_add_up():
    L = 20
    bits = np.arange(2**L)
    f = (1000 + np.sin(bits * 0.37)).astype(np.float32)
    phi = interactions.shapley(f)
    np.testing.assert_allclose(phi.sum(), f[-1] - f[0], atol=2e-4)  # eps * 1000 = 1.2e-4
    F = interactions.walsh(f)
    np.testing.assert_allclose(interactions.by_order(F)[1:].sum(), f.var(dtype=float), rtol=1e-4)


@pytest.mark.parametrize(
    ('values', 'message'),
    [
        (np.ones(6), r'shape \(6,\) is of no L: it needs 2\^L values'),
        (np.ones((0, 3)), r'shape \(0, 3\)'),
        (np.float64(1.0), r'shape \(\)'),
        (np.broadcast_to(np.float32(0), (2**21,)), r'L=21 blocks, .* of 8 MiB: at most L=20'),
    ],
)
def test_tables_that_are_no_table_of_all_masks_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        interactions.moebius(values)
    with pytest.raises(ValueError, match=message):
        interactions.shapley(values)


def test_a_net_without_blocks_has_one_coefficient_and_no_shares():
    assert interactions.moebius([3.0]).tolist() == interactions.walsh([3.0]).tolist() == [3.0]
    assert interactions.by_order([3.0]).tolist() == [9.0]
    assert interactions.shapley([3.0]).shape == (0,)


def test_sampled_shapley_values_agree_with_those_of_all_sub_networks_within_their_errors():
    model = presets.fully_connected(5, 6, 3)
    x = np.random.default_rng(1).normal(size=(6, 4)).astype(np.float32)
    net = stack.from_model(model, random_variables.of(model, x))
    labels = np.arange(6) % 3
    table = lesions.score(net, x, labels, masks.all_masks(4))['loss']
    found, error = interactions.sampled_shapley(net, x, labels, jax.random.key(2), 200)
    assert (abs(found - interactions.shapley(table)) < 5 * error).all()
    assert found.sum() == pytest.approx(table[-1] - table[0], abs=1e-5)
    twice = {'twice': lambda logits, labels: 2 * metrics.cross_entropy(logits, labels)}
    own, _ = interactions.sampled_shapley(
        net, x, labels, jax.random.key(2), 200, twice, examples_at_once=3
    )
    np.testing.assert_allclose(own, 2 * found, rtol=1e-3, atol=1e-5)
    with pytest.raises(ValueError, match='num=0'):
        interactions.sampled_shapley(net, x, labels, jax.random.key(2), 0)
