"""Orders of blocks: equal to the blocks applied one by one, and refused where h does not fit."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import random_variables

from resnet_dyn.kernels import lesions, masks, reorder
from resnet_dyn.models import presets, stack

L = 5


@functools.cache
def net():
    model = presets.fully_connected(6, 8, 3, 'postact')
    x = np.random.default_rng(1).normal(size=(4, 5)).astype(np.float32)
    return stack.from_model(model, random_variables.of(model, x)), x


branch = jax.jit(lambda stage, index, h: stage.branch(stack.block_params(stage, index), h))


def by_hand(whole, x, order):
    h, located = jax.jit(stack.stem)(whole, x), stack.locate(whole)
    for step in order:
        addends = []
        for block in np.atleast_1d(step):
            stage, index = located[block]
            addends.append(np.asarray(branch(whole.stages[stage], index, h)))
        h = np.maximum(h + sum(addends), 0)
    return jax.jit(stack.head)(whole, h)


def test_orders_equal_their_blocks_applied_one_by_one():
    whole, x = net()
    orders = [
        tuple(range(L)),
        reorder.swap(L, 1, 3),
        reorder.reverse(L, 0, 4),
        reorder.repeat(L, 2, 3),
        reorder.repeat(L, 4, 0),
        reorder.parallel(L, 1, 4),
    ]
    found = reorder.score(whole, x, np.arange(4) % 3, orders, ('logits',))['logits']
    expected = [by_hand(whole, x, order) for order in orders]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_the_builders_give_the_orders_that_they_name():
    assert reorder.swap(4, 0, 2) == (2, 1, 0, 3)
    assert reorder.reverse(4, 1, 4) == (0, 3, 2, 1)
    assert reorder.repeat(3, 1) == (0, 1, 1, 2)
    assert reorder.parallel(4, 1, 3) == (0, (1, 2), 3)


def test_random_swaps_stay_within_their_group_and_one_swap_moves_two_blocks():
    whole, _ = net()
    groups = [[0, 1], [2, 3, 4]]
    for order in reorder.random_swaps(jax.random.key(0), whole, 1, 20, groups):
        moved = [block for place, block in enumerate(order) if place != block]
        assert moved in ([1, 0], *([b, a] for a, b in ((2, 3), (3, 4), (2, 4))))
    for order in reorder.permute(jax.random.key(1), whole, 20, groups):
        assert set(order[:2]) == {0, 1}
    shuffled = reorder.permute(jax.random.key(2), whole, 50)
    assert len(set(shuffled)) > 30


def test_kendalls_tau_counts_the_pairs_out_of_order():
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [1, 0, 2, 3], [2, 3, 0, 1]):
        turned = sum(order[i] > order[j] for j in range(4) for i in range(j))
        assert reorder.kendall_tau(order) == pytest.approx(1 - 4 * turned / 12)
    with pytest.raises(ValueError, match='no permutation'):
        reorder.kendall_tau([0, 0, 1])


@pytest.mark.parametrize(
    ('order', 'message'),
    [
        ((0, 9), 'blocks are 0..5'),
        ((1, 2, 2, 3, 4, 5), 'order 1 gives block 2 an input of shape'),
        ((0, 1, 3, 2, 4, 5), 'order 1 gives block 3 an input of shape'),
        ((0, 1, (2, 3), 4, 5), 'no identity as its skip'),
        ((0, 1, 2, 3), 'ends in shape'),
    ],
)
def test_orders_that_h_does_not_fit_are_refused_before_anything_runs(order, message):
    whole, x = convolutional()
    with pytest.raises(ValueError, match=message):
        reorder.score(whole, x, np.zeros(2, int), [tuple(range(6)), order])


@functools.cache
def convolutional():
    model = presets.cifar_resnet(14)  # blocks 2 and 4 change the shape
    x = np.ones((2, 8, 8, 3), np.float32)
    return stack.from_model(model, random_variables.of(model, x)), x


def ten_times(total):
    return 10 * total


def sine(params, h):
    return jnp.sin(h)


def test_blocks_side_by_side_whose_merges_differ_are_refused_in_every_order():
    stages = [
        stack.Stage(np.ones((1, 4), np.float32), sine, 1, None, merge)
        for merge in (None, ten_times, ten_times)
    ]
    foreign = stack.ResidualStack((), tuple(stages), (), lambda p, x: x, lambda p, h: h)
    x = np.ones((1, 4), np.float32)
    for order in (((0, 1), 2), ((1, 0), 2), (0, (2, 1, 0))):
        with pytest.raises(ValueError, match='their merges differ'):
            reorder.score(foreign, x, None, [order], ('logits',))
    found = reorder.score(foreign, x, None, [(0, (1, 2))], ('logits',))['logits']
    h = 1 + np.sin(1)
    np.testing.assert_allclose(found, 10 * (h + 2 * np.sin(h)), rtol=1e-6)


def test_a_network_of_single_stages_names_its_groups():
    foreign = stack.from_functions(lambda x: x, [jnp.tanh, jnp.sin], lambda h: h)
    with pytest.raises(ValueError, match='groups'):
        reorder.random_swaps(jax.random.key(0), foreign, 1, 1)
    assert reorder.random_swaps(jax.random.key(0), foreign, 1, 1, [[0, 1]]) == [(1, 0)]


def test_leaving_blocks_out_is_deleting_them():
    whole, x = net()
    labels = np.arange(4) % 3
    orders = [[b for b in range(L) if mask[b]] for mask in masks.exactly(L, 2)]
    np.testing.assert_allclose(
        reorder.score(whole, x, labels, orders)['loss'],
        lesions.score(whole, x, labels, masks.exactly(L, 2))['loss'],
        rtol=1e-6,
    )


@pytest.mark.parametrize(
    ('order', 'message'),
    [
        ((0.7, 1), r'order 0 has the step 0\.7: blocks are whole numbers'),
        ((0, (1.0, 0)), 'blocks are whole numbers'),
        ((True, 1), 'blocks are whole numbers'),
        (('0', 1), 'blocks are whole numbers'),
        ((0, (1, 1)), r'runs blocks \(1, 1\) in parallel, and one of them stands there twice'),
        ((0, ()), r'the step \(\): blocks are 0\.\.1'),
    ],
)
def test_steps_that_are_no_blocks_are_refused(order, message):
    foreign = stack.from_functions(lambda x: x, [jnp.tanh, jnp.sin], lambda h: h)
    with pytest.raises(ValueError, match=message):
        reorder.score(foreign, np.ones((1, 4), np.float32), None, [order], ('logits',))
