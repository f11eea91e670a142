"""Masks as a tree: its exact price, its mean price, and walks that equal a loop over masks."""

import itertools
import math
import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh

from resnet_dyn import errors
from resnet_dyn.kernels import lesions, masks, prefix_tree, prefix_walk
from resnet_dyn.models import stack

PRICES = {  # (single deletions and the full net, exactly 2, up to 2)
    8: (36, 83, 92),
    16: (136, 679, 696),
    54: (1485, 26234, 26289),
}


@pytest.mark.parametrize('L', PRICES)
def test_prices_of_deletions_are_those_of_the_closed_forms(L):
    singles, pairs, up_to_2 = PRICES[L]
    assert prefix_tree.block_evaluations(masks.up_to(L, 1)) == singles == L * (L + 1) // 2
    assert prefix_tree.block_evaluations(masks.single(L)) == (L - 1) * (L + 2) // 2
    assert prefix_tree.block_evaluations(masks.exactly(L, 2)) == pairs
    assert prefix_tree.block_evaluations(masks.up_to(L, 2)) == up_to_2
    assert up_to_2 == sum(math.comb(L, z + 1) for z in range(3))


def test_all_masks_cost_one_block_evaluation_each():
    assert prefix_tree.block_evaluations(masks.all_masks(16)) == 2**16 - 1


def test_prices_are_the_number_of_distinct_prefixes_that_end_in_an_open_gate():
    random = np.random.default_rng(0)
    masks_ML = random.choice([0, 0.5, 1], (40, 7))
    prefixes = {tuple(mask[: l + 1]) for mask in masks_ML for l in range(7) if mask[l]}
    assert prefix_tree.block_evaluations(masks_ML) == len(prefixes)
    assert prefix_tree.block_evaluations(np.repeat(masks_ML, 3, axis=0)) == len(prefixes)


def test_the_mean_price_of_random_masks_is_that_of_all_draws():
    every = masks.exactly(4, 2)
    pairs = itertools.product(range(6), repeat=2)
    prices = [prefix_tree.block_evaluations(every[[a, b]]) for a, b in pairs]
    assert prefix_tree.expected_block_evaluations(4, 2, 2) == pytest.approx(np.mean(prices))
    different = itertools.combinations(range(6), 3)
    prices = [prefix_tree.block_evaluations(every[list(rows)]) for rows in different]
    expected = prefix_tree.expected_block_evaluations(4, 2, 3, replace=False)
    assert expected == pytest.approx(np.mean(prices))


def test_mean_prices_of_large_draws_are_the_reference_values():
    expected = prefix_tree.expected_block_evaluations
    assert expected(54, 5, 100) == pytest.approx(3566.142517373201, rel=1e-12)
    assert expected(20, 3, 50, replace=False) == pytest.approx(496.1796273246671, rel=1e-12)
    # As many different masks as there are: the price of all of them.
    assert expected(18, 6, math.comb(18, 6), replace=False) == prefix_tree.block_evaluations(
        masks.exactly(18, 6)
    )
    by_gammas = expected(30, 4, 5_000, replace=False)  # not by the product form
    assert by_gammas < expected(30, 4, 5_001, replace=False) < by_gammas + 20


@pytest.mark.parametrize('parts', [1, 2, 3, 7])
def test_parts_of_a_tree_are_the_trees_of_their_rows_at_about_equal_prices(parts):
    masks_ML = np.unique(np.random.default_rng(0).choice([0, 0.5, 1], (60, 7)), axis=0)
    tree = prefix_tree.from_masks(masks_ML)
    found = prefix_tree.split(tree, parts)
    assert len(found) == parts
    np.testing.assert_array_equal(np.concatenate([own for _, own in found]), range(len(masks_ML)))
    for part, own in found:
        expected = prefix_tree.from_masks(masks_ML[own])
        assert part.evaluations == expected.evaluations
        for level, of_rows in zip(part.levels, expected.levels, strict=True):
            np.testing.assert_array_equal(level.parent_N, of_rows.parent_N)
            gates = [part.steps[step] for step in level.step_N]
            assert gates == [expected.steps[step] for step in of_rows.step_N]
        np.testing.assert_array_equal(part.leaf_M, range(len(own)))
    prices = [part.evaluations for part, _ in found]
    assert max(prices) - min(prices) <= 0.35 * tree.evaluations / parts + 2 * 7


def test_cutting_a_tree_takes_memory_by_its_nodes_not_by_its_sequences():
    tree = prefix_tree.from_masks(masks.all_masks(14))
    sequences = 8 * 14 * 2**14
    for parts, share in ((1, 0.2), (4, 0.75)):
        tracemalloc.start()
        prefix_tree.split(tree, parts)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < share * sequences


@pytest.mark.parametrize('bad', [{'L': 0, 'j': 0}, {'L': 3, 'j': 4}, {'L': 3, 'j': 1, 'num': -1}])
def test_impossible_draws_have_no_price(bad):
    with pytest.raises(ValueError, match='need L >= 1'):
        prefix_tree.expected_block_evaluations(**{'num': 2, **bad})
    with pytest.raises(ValueError, match='there are only 3'):
        prefix_tree.expected_block_evaluations(3, 1, 4, replace=False)


def dense(dtype=jnp.float32, merge=None):
    """Two stages of equal blocks, 3 and 2, with a block between that changes the width."""
    random = np.random.default_rng(1)

    def weights(*shape):
        return (random.normal(size=shape) / np.sqrt(shape[-2])).astype(dtype)

    stages = (
        stack.Stage(weights(3, 4, 4), branch, 3, merge=merge),
        stack.Stage(weights(1, 4, 6), branch, 1, skip=wider, merge=merge),
        stack.Stage(weights(2, 6, 6), branch, 2, merge=merge),
    )
    return stack.ResidualStack(weights(5, 4), stages, weights(6, 3), linear, linear)


def branch(w, h):
    return jnp.tanh(h @ w)


def wider(w, h):
    return jnp.concatenate([h, h[:, :2]], axis=1)


def linear(w, h):
    return h @ w


def same(params, h):
    return h


def mesh(**axes):
    kinds = (AxisType.Auto,) * len(axes)
    return jax.make_mesh(tuple(axes.values()), tuple(axes), axis_types=kinds)


THREE = Mesh(np.array(jax.devices()[:3]), ('data',), axis_types=(AxisType.Auto,))

SETS = {
    'single': masks.single(6),
    'exactly': masks.exactly(6, 3),
    'up_to': masks.up_to(6, 2),
    'all_masks': masks.all_masks(6)[:-1],
    'random': masks.random(jax.random.key(0), 6, 2, 13),
    'bernoulli': 0.5 * masks.bernoulli(jax.random.key(1), 6, 0.6, 17),
    'runs': masks.runs(6, 2),
}
WALKS = {
    'width 1': {'width': 1},
    'width 7': {'width': 7},
    'its own width': {},
    'examples in threes': {'examples_at_once': 3, 'width': 1},
    '2 devices of masks': {'mesh': mesh(mask=2), 'width': 3},
    '4 devices of masks and data': {'mesh': mesh(data=2, mask=2), 'width': 4},
    '4 devices of masks': {'mesh': mesh(mask=4), 'width': 1},
    'parts of 5 on 2 devices': {'mesh': mesh(data=2), 'examples_at_once': 5, 'width': 4},
    '8 examples on 3 devices': {'mesh': THREE, 'width': 4},
}


@pytest.fixture(scope='module')
def looped():
    """(net, x, {name: (masks, logits of a loop over them)}) in float64, each set shuffled."""
    with jax.enable_x64(True):
        net, found = dense(jnp.float64, jax.nn.relu), {}
        x = np.random.default_rng(2).normal(size=(8, 5))
        forward = jax.jit(stack.apply)
        for name, masks_ML in SETS.items():
            masks_ML = np.random.default_rng(0).permutation(masks_ML)
            logits = [forward(net, x, np.asarray(mask, np.float64)) for mask in masks_ML]
            found[name] = masks_ML, np.array(logits)
        return net, x, found


@pytest.mark.slow_but(
    'width 7', 'its own width', 'examples in threes', '4 devices of masks and data'
)
@pytest.mark.parametrize('walk', WALKS)
def test_every_walk_equals_a_loop_over_masks_in_their_order(looped, walk):
    net, x, sets = looped
    with jax.enable_x64(True):
        for name, (masks_ML, expected) in sets.items():
            found = lesions.score(net, x, np.arange(8) % 3, masks_ML, ('logits',), **WALKS[walk])
            np.testing.assert_allclose(found['logits'], expected, rtol=1e-12, err_msg=name)


def test_results_stream_in_the_order_of_the_masks_and_progress_adds_up():
    net, x, told = dense(), np.ones((2, 5), np.float32), []
    masks_ML = masks.all_masks(6)
    tree = prefix_tree.from_masks(masks_ML)
    finish = prefix_walk.Finish(lambda output, extra: output.sum())
    walk = prefix_walk.run(net, x, tree, finish, width=4, progress=lambda *now: told.append(now))
    parts = [indices for indices, _ in walk]
    assert len(parts) > 1
    np.testing.assert_array_equal(np.concatenate(parts), np.arange(64))
    assert told[-1] == (tree.evaluations, tree.evaluations)
    assert all(a <= b for (a, _), (b, _) in itertools.pairwise(told))


def test_deleted_blocks_are_not_computed():
    net = stack.from_functions(lambda x: x, [lambda h: h / 0 * jnp.inf] * 3, lambda h: h)
    x, none = np.ones((2, 3), np.float32), np.zeros((1, 3))
    scores = lesions.score(net, x, np.zeros(2, int), none, ('logits',))
    np.testing.assert_array_equal(scores['logits'][0], 1.0)


def test_programs_are_as_many_for_ten_masks_as_for_thousands():
    traced = []

    def branch(w, h):
        traced.append(h.shape)
        return w[0] * h

    def net(length):
        stage = stack.Stage(np.ones((length, 1), np.float32), branch, length)
        return stack.ResidualStack((), (stage,), (), same, same)

    x, labels, counts = np.ones((2, 3), np.float32), np.zeros(2, int), []
    for chosen in (masks.all_masks(11)[::7], masks.all_masks(11)[:-1], masks.all_masks(11)):
        traced.clear()
        lesions.score(net(11), x, labels, chosen, width=64)
        counts.append(len(traced))
    assert counts[0] <= 6  # four sizes of a chunk, and the shapes asked for in advance
    assert counts[1:] == [0, 0]


def test_what_does_not_fit_says_what_it_needs_and_how_to_raise_the_budget():
    net, x = dense(), np.ones((8, 5), np.float32)
    tree = prefix_tree.from_masks(masks.all_masks(6))
    wide = prefix_walk.fit(net, x, tree, width=16)
    narrow = prefix_walk.fit(net, x, tree, width=16, budget=wide.bytes - 1)
    assert narrow.width < wide.width == 16
    assert narrow.bytes < wide.bytes
    with pytest.raises(errors.BudgetError, match=r'8 examples need about .* GiB .*--memory'):
        lesions.score(net, x, np.zeros(8, int), masks.all_masks(6), budget=100)


def test_outputs_that_are_larger_than_activations_narrow_the_walk():
    def shape(*sizes):
        return jax.ShapeDtypeStruct(sizes, jnp.float32)

    classes, tree = 50_257, prefix_tree.from_masks(masks.all_masks(6))
    stage = stack.Stage(shape(6, 5, 5), lambda w, h: h @ w, 6)
    few, many = (
        stack.ResidualStack((), (stage,), shape(5, K), lambda p, x: x, lambda w, h: h @ w)
        for K in (5, classes)
    )
    outputs = 8 * classes * 4  # bytes of one mask
    known = [prefix_walk.fit(net, shape(8, 5), tree, 16, budget=2**40) for net in (few, many)]
    assert known[0].bytes < outputs and 16 * outputs < known[1].bytes < 100 * outputs
    narrow = prefix_walk.fit(many, shape(8, 5), tree, 16, budget=8 * outputs)
    assert narrow.width == 2
    with pytest.raises(errors.BudgetError, match='outputs'):
        prefix_walk.fit(many, shape(8, 5), tree, 16, budget=outputs)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'mesh': mesh(seed=2)}, 'knows mask and data alone'),
        ({'width': 0}, 'at least 1 node'),
        ({'examples_at_once': 0}, 'must be at least 1'),
    ],
)
def test_walks_that_cannot_be_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        x = np.ones((6, 5), np.float32)
        lesions.score(dense(), x, np.zeros(6, int), masks.single(6), **options)


@pytest.mark.parametrize('parts', [0, -1])
def test_a_tree_is_not_cut_into_fewer_parts_than_one(parts):
    tree = prefix_tree.from_masks(masks.all_masks(3))
    with pytest.raises(ValueError, match=f'parts={parts}'):
        prefix_tree.split(tree, parts)
