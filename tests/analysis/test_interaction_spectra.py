"""Interaction spectra of blocks that scale, whose coefficients are products; sums that hold."""

import jax
import numpy as np
import pytest

from resnet_dyn.analysis import effort, interaction_spectra, subjects
from resnet_dyn.kernels import lesions
from resnet_dyn.models import stack

FACTORS = np.array([0.5, -2.0, 1.5])
HEAD = np.array(jax.random.normal(jax.random.key(1), (4, 3)))
INPUTS = jax.random.normal(jax.random.key(0), (4, 4))
LABELS = np.array([0, 2, 1, 1])


def net():
    branches = [lambda h, f=factor: f * h for factor in FACTORS]
    return stack.from_functions(lambda x: x, branches, lambda h: h @ HEAD)


@pytest.fixture(scope='module')
def record():
    one = net()
    subject = subjects.of_networks([one, one], INPUTS, LABELS)
    options = interaction_spectra.Options()
    return interaction_spectra.measure(subject, effort.Effort(at_once=2), options)


def by_order(coefficients):
    """sum_k t^k of prod (a_l + b_l t), from pairs (a_l, b_l)."""
    total = np.ones(1)
    for pair in coefficients:
        total = np.convolve(total, pair)
    return total


def test_spectra_of_scaling_blocks_are_products(record):
    size = ((INPUTS @ HEAD) ** 2).sum() / len(INPUTS)
    moebius_R = size * by_order([(1, f**2) for f in FACTORS])
    walsh_R = size * by_order([((1 + f / 2) ** 2, (f / 2) ** 2) for f in FACTORS])
    np.testing.assert_allclose(record.moebius_SR, [moebius_R] * 2, rtol=1e-4)
    np.testing.assert_allclose(record.walsh_SR, [walsh_R] * 2, rtol=1e-4, atol=1e-5)


def test_orders_above_0_add_up_to_the_variance_over_sub_networks(record):
    np.testing.assert_allclose(record.walsh_SR[:, 1:].sum(1), record.variance_S, rtol=1e-6)


def test_shapley_values_share_out_the_gain_of_the_full_net_over_the_empty_one(record):
    scores = lesions.score(net(), INPUTS, LABELS, [[0, 0, 0], [1, 1, 1]])
    for name, shapley_SL in (
        ('loss', record.shapley_loss_SL),
        ('error', record.shapley_error_SL),
    ):
        empty, full = scores[name]
        np.testing.assert_allclose(shapley_SL.sum(1), [full - empty] * 2, rtol=1e-4, atol=1e-6)


def test_the_cost_is_a_block_evaluation_a_sub_network():
    cost = interaction_spectra.cost(9, interaction_spectra.Options())
    np.testing.assert_allclose(cost.forward * 9, 511)
