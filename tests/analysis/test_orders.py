"""Reordering: blocks that commute do not mind, others do; the numbers beside the orders."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from resnet_dyn.analysis import effort, orders, subjects, summaries
from resnet_dyn.models import stack

LABELS = np.array([0, 2, 1, 1])
INPUTS = jax.random.normal(jax.random.key(0), (4, 4))
HEAD = jax.random.normal(jax.random.key(1), (4, 3))
FACTORS = jnp.array([0.5, -2.0, 1.5])


def saturating(factor, h):
    return jnp.tanh(factor * h)


def scaling(factor, h):
    return factor * h


def net(branch, factors=FACTORS, blocks=1):
    """A stage of the factors, or a stage of one for each."""
    stages = (
        [stack.Stage(factors, branch, len(factors))]
        if blocks == 1
        else [stack.Stage(factors[i : i + 1], branch, 1) for i in range(len(factors))]
    )
    return stack.ResidualStack((), tuple(stages), (), lambda p, x: x, lambda p, h: h @ HEAD)


def measured(one, draws):
    subject = subjects.of_networks(one, INPUTS, LABELS)
    return orders.measure(subject, effort.Effort(at_once=2), orders.Options(draws))


@pytest.fixture(scope='module')
def minding():
    return measured(net(saturating), 6)


def test_as_trained_comes_first_and_blocks_that_commute_do_not_mind():
    record = measured(net(scaling), 6)
    logits = stack.apply(net(scaling), INPUTS, jnp.ones(3))
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, LABELS).mean()
    np.testing.assert_allclose(record.full_loss_S, [loss], rtol=1e-5)
    np.testing.assert_allclose(record.loss_SN, np.full_like(record.loss_SN, loss), rtol=1e-4)


def test_every_order_is_another_one_than_the_trained_and_stands_once_for_its_number(minding):
    assert not np.isclose(minding.loss_SN[0], minding.full_loss_S[0], rtol=1e-5).any()
    assert (minding.kendall_N < 1).all()
    for swaps in set(minding.swaps_N):
        losses = minding.loss_SN[0, minding.swaps_N == swaps].round(5)
        assert len(set(losses)) == len(losses)


def test_rows_of_one_order_have_its_number_and_orders_of_equal_scores_one_each(minding):
    for record in (minding, measured(net(scaling), 6)):  # blocks that commute all score the same
        losses = minding.loss_SN[0].round(5)  # the same draws, told apart by blocks that mind
        same_NN = losses[:, None] == losses
        np.testing.assert_array_equal(record.orders_N[:, None] == record.orders_N, same_NN)
        assert set(record.orders_N) == set(range(len(set(losses))))


def test_one_swap_of_three_blocks_turns_one_pair_or_all_and_makes_three_orders(minding):
    one_N = minding.swaps_N == 1
    assert set(np.round(minding.kendall_N[one_N], 6)) <= {round(1 / 3, 6), -1.0}
    assert one_N.sum() <= 3
    assert minding.possible_orders == 6


def test_two_blocks_alone_have_one_other_order_and_even_numbers_of_swaps_lead_back():
    record = measured(net(saturating, FACTORS[:2]), 20)
    assert record.swaps_N.tolist() == [1]  # two swaps are none, and count as nothing
    assert record.possible_orders == 2
    swapped = net(saturating, FACTORS[1::-1])
    logits = stack.apply(swapped, INPUTS, jnp.ones(2))
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, LABELS).mean()
    np.testing.assert_allclose(record.loss_SN, [[loss]], rtol=1e-5)
    assert np.isnan(summaries.swapped_error(record, 2)).all()


def test_blocks_that_are_stages_by_themselves_change_places_where_shapes_are_alike(minding):
    record = measured(net(saturating, blocks=3), 6)
    np.testing.assert_allclose(record.loss_SN, minding.loss_SN, rtol=1e-5)


def test_numbers_of_swaps_double_up_to_the_number_of_blocks():
    assert orders.numbers(54).tolist() == [1, 2, 4, 8, 16, 32]
    assert orders.cost(9, orders.Options(6)).forward == 4 * 6 + 1
