"""Reordering: blocks that commute do not mind, others do; the numbers beside the orders."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from resnet_dyn.analysis import orders, scope
from resnet_dyn.models import stack

LABELS = np.array([0, 2, 1, 1])
INPUTS = jax.random.normal(jax.random.key(0), (4, 4))
HEAD = jax.random.normal(jax.random.key(1), (4, 3))
SCOPE = scope.Scope(INPUTS, LABELS, random=6, at_once=2)


def net(branch):
    stage = stack.Stage(jnp.array([0.5, -2.0, 1.5]), branch, 3)
    return stack.ResidualStack((), (stage,), (), lambda p, x: x, lambda p, h: h @ HEAD)


@pytest.fixture(scope='module')
def record():
    return orders.measure(3, [net(lambda f, h: jnp.tanh(f * h)), net(lambda f, h: f * h)], SCOPE)


def test_as_trained_comes_first_and_blocks_that_commute_do_not_mind(record):
    logits = stack.apply(net(lambda f, h: f * h), INPUTS, jnp.ones(3))
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, LABELS).mean()
    np.testing.assert_allclose(record.full_loss_S[1], loss, rtol=1e-5)
    np.testing.assert_allclose(record.loss_SJN[1], np.full((2, 6), loss), rtol=1e-4)


def test_orders_out_of_order_change_the_loss_of_others_and_only_they(record):
    changed_JN = ~np.isclose(record.loss_SJN[0], record.full_loss_S[0], rtol=1e-5)
    np.testing.assert_array_equal(changed_JN, record.kendall_JN < 1)
    assert changed_JN[0].all()  # one swap always changes the order


def test_one_swap_of_three_blocks_turns_one_pair_or_all(record):
    np.testing.assert_array_equal(record.swaps_J, [1, 2])
    assert set(np.round(record.kendall_JN[0], 6)) <= {round(1 / 3, 6), -1.0}


def test_numbers_of_swaps_double_up_to_the_number_of_blocks():
    assert orders.numbers(54).tolist() == [1, 2, 4, 8, 16, 32]
    assert orders.cost(9, SCOPE).forward == 4 * 6 + 1
