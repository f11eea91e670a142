"""Lesion curves against networks built without the blocks, and their stated costs."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from resnet_dyn.analysis import effort, lesion_curves, subjects
from resnet_dyn.kernels import masks, prefix_tree
from resnet_dyn.models import stack

LABELS = np.array([0, 2, 1, 1])
FACTORS = (0.5, -2.0, 1.5)
RANDOM = np.random.default_rng(0)
INPUTS, HEAD = (RANDOM.normal(size=(4, n)).astype(np.float32) for n in (4, 3))
EFFORT = effort.Effort(at_once=2)


def loss_and_error(*deleted, nudge=(0, 0, 0)):
    """Of a network that is built without the deleted blocks, its gates nudged, in float64."""
    h = INPUTS.astype(float)
    for block, factor in enumerate(FACTORS):
        if block not in deleted:
            h = h + (1 + nudge[block]) * np.tanh(factor * h)
    logits_BK = h @ HEAD
    losses = np.log(np.exp(logits_BK).sum(-1)) - logits_BK[np.arange(4), LABELS]
    return losses.mean(), np.mean(logits_BK.argmax(-1) != LABELS)


@pytest.fixture(scope='module')
def full():
    """h + tanh(factor h), a fixed head."""
    branches = [lambda h, f=factor: jnp.tanh(f * h) for factor in FACTORS]
    return stack.from_functions(lambda x: x, branches, lambda h: h @ HEAD)


@pytest.fixture(scope='module')
def subject(full):
    found = subjects.of_networks(full, INPUTS, LABELS)
    return found._replace(origin=subjects.Origin(3))


def test_each_single_lesion_is_the_net_built_without_that_block(subject):
    record = lesion_curves.single(subject, EFFORT)
    assert record.step == 3
    full = record.full_loss_S[0], record.full_error_S[0]
    np.testing.assert_allclose(full, loss_and_error(), rtol=1e-5)
    for block in range(3):
        loss, error = loss_and_error(block)
        np.testing.assert_allclose(record.loss_SL[0, block], loss, rtol=1e-5)
        np.testing.assert_allclose(record.error_SL[0, block], error, rtol=1e-6)


def test_the_first_order_lesion_is_the_slope_of_the_loss_at_the_open_gate(subject):
    record = lesion_curves.single(subject, EFFORT)
    for block in range(3):
        step = np.eye(3)[block] * 1e-2
        low, high = (loss_and_error(nudge=nudge)[0] for nudge in (-step, step))
        np.testing.assert_allclose(
            record.first_order_SL[0, block], (low - high) / 2e-2, rtol=1e-2, atol=1e-4
        )


def test_each_pair_is_the_net_built_without_both_and_the_diagonal_without_one(subject):
    record = lesion_curves.pairs(subject, EFFORT)
    for l, m in itertools.product(range(3), repeat=2):
        loss, error = loss_and_error(l, m)
        np.testing.assert_allclose(record.loss_SLL[0, l, m], loss, rtol=1e-5)
        np.testing.assert_allclose(record.error_SLL[0, l, m], error, rtol=1e-6)


def test_random_lesions_begin_at_the_full_net_and_end_at_the_empty_one(full):
    two = subjects.of_networks([full, full], INPUTS, LABELS)
    record = lesion_curves.random(two, EFFORT, lesion_curves.RandomOptions(draws=3))
    assert record.deleted_J.tolist() == [0, 1, 2, 3]
    for j, deleted in ((0, ()), (-1, (0, 1, 2))):
        loss, error = loss_and_error(*deleted)
        np.testing.assert_allclose(record.loss_SJM[:, j], np.full((2, 3), loss), rtol=1e-5)
        np.testing.assert_allclose(record.error_SJM[:, j], np.full((2, 3), error), rtol=1e-6)
    np.testing.assert_array_equal(record.loss_SJM[0], record.loss_SJM[1])  # the same masks for all


def test_random_lesions_are_scores_of_nets_built_without_so_many_blocks(subject):
    record = lesion_curves.random(subject, EFFORT, lesion_curves.RandomOptions(draws=5))
    for j in (1, 2):
        possible = [loss_and_error(*gone)[0] for gone in itertools.combinations(range(3), j)]
        gaps_MN = np.abs(record.loss_SJM[0, j][:, None] - np.array(possible))
        assert gaps_MN.min(1).max() < 1e-5


def test_greedy_lesions_take_the_block_missed_least_at_every_turn(subject):
    record = lesion_curves.greedy(subject, EFFORT)
    gone = []
    for turn, block in enumerate(record.deleted_SL[0]):
        losses = {l: loss_and_error(l, *gone)[0] for l in range(3) if l not in gone}
        assert block == min(losses, key=losses.get)
        gone.append(block)
        loss, error = loss_and_error(*gone)
        np.testing.assert_allclose(record.loss_SJ[0, turn + 1], loss, rtol=1e-5)
        np.testing.assert_allclose(record.error_SJ[0, turn + 1], error, rtol=1e-6)
    np.testing.assert_allclose(record.loss_SJ[0, 0], loss_and_error()[0], rtol=1e-5)


@pytest.mark.parametrize('L', [1, 2, 9, 54])
def test_costs_are_the_block_evaluations_of_the_masks(L):
    counted = {
        lesion_curves.single_cost: masks.up_to(L, 1),
        lesion_curves.pairs_cost: masks.up_to(L, min(L, 2)),
    }
    for cost, masks_ML in counted.items():
        backward = cost(L).backward
        evaluations = (cost(L).forward - backward) * L  # a gradient has a forward pass
        np.testing.assert_allclose(evaluations, prefix_tree.block_evaluations(masks_ML))


def test_numbers_of_deleted_blocks_are_all_of_a_few_and_about_twenty_of_many():
    assert lesion_curves.numbers(3).tolist() == [0, 1, 2, 3]
    many = lesion_curves.numbers(54)
    assert len(many) == 21 and many[0] == 0 and many[-1] == 54
