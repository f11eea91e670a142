"""Effective depths read off curves, their intervals, and tokens that count."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from resnet_dyn.analysis import curve_depths, effective_depth, effort, subjects
from resnet_dyn.models import stack

NAN = np.nan


@pytest.mark.parametrize(
    ('cosines', 'expected'),
    [([-1, 1, -1, 1, 1], 2), ([-1, 0, 0], 0), ([1, -1, -1], NAN), ([1, 1], NAN)],
)
def test_the_last_layer_below_zero_before_one_that_is_not(cosines, expected):
    np.testing.assert_equal(effective_depth.sign_change(np.array(cosines, float)), expected)


@pytest.mark.parametrize(
    ('curve', 'expected'),
    [
        ([4.0, 3.0, 1.0, 0.0], 2),
        ([4.0, 1.0, 3.0, 0.0], 3),  # for good
        ([4.0, 2.0, 0.0], 2),  # at the threshold is not below it
        ([NAN, NAN, 0.0], 2),
        ([0.0, 0.0], 0),
        ([1.0, 3.0], NAN),
    ],
)
def test_a_curve_is_below_its_threshold_from_a_depth_on(curve, expected):
    np.testing.assert_equal(curve_depths.from_on(np.array(curve), 2.0, between=False), expected)


def scaled(factors, h):
    return jnp.where(h[:, :1] < 0, factors[0], factors[1]) * h


def turning(*factors):
    """h + f h: against h where f < 0, and no order of classes ever changes.

    Of a pair the first is for examples whose first number is negative.
    """
    params = np.array([np.broadcast_to(f, 2) for f in factors], np.float32)
    stage = stack.Stage(params, scaled, len(factors))
    return stack.ResidualStack((), (stage,), HEAD, stem, head)


def stem(params, x):
    return x


def head(kernel, h):
    return h @ kernel


HEAD = np.random.default_rng(1).normal(size=(4, 40)).astype(np.float32)
INPUTS = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)


def measured(net, at_once=6, inputs=INPUTS, **given):
    subject = subjects.of_networks(net, inputs, np.zeros(12, int))
    options = effective_depth.Options(resamples=200, **given)
    return effective_depth.measure(subject, effort.Effort(at_once), options)


def test_where_all_examples_agree_the_interval_is_the_depth():
    record = measured(turning(-0.5, 0.1, -0.5, 0.1, 1.0))
    assert record.depth_SQ[0, 0] == record.low_SQ[0, 0] == record.high_SQ[0, 0] == 2
    assert record.depth_SQ[0, 2] == 0 and (record.lacking_SQ == 0).all()  # the order never changes
    np.testing.assert_allclose(record.cosine_SU, [[-1, 1, -1, 1, 1]], rtol=1e-5)


def test_half_of_the_examples_against_the_others_make_an_interval():
    signs = np.where(np.arange(12) % 2, 1.0, -1.0)[:, None].astype(np.float32)
    inputs = np.concatenate([signs, np.ones((12, 3), np.float32)], 1)
    net = turning(-0.1, (-0.11, 0.1), 0.1, 0.1, 0.1)
    record = measured(net, inputs=inputs)
    assert record.low_SQ[0, 0] == 0 and record.high_SQ[0, 0] == 1
    again = measured(net, at_once=7, inputs=inputs)
    np.testing.assert_array_equal(again.low_SQ, record.low_SQ)  # whatever goes at once


def test_a_depth_that_most_resamples_lack_has_no_interval():
    record = measured(turning(*[0.5] * 5))
    assert np.isnan(record.depth_SQ[0, 0]) and record.lacking_SQ[0, 0] == 1
    assert np.isnan(record.low_SQ[0, 0])


def test_thresholds_are_options():
    net = turning(*[0.3] * 5)
    early, late = (measured(net, divergence=share).depth_SQ[0, 1] for share in (0.8, 0.05))
    assert early < late


def test_groups_are_layers():
    net = turning(-0.5, 0.1, 0.1, 0.1)
    record = measured(dataclasses.replace(net, groups=((0, 1), (2, 3))))
    assert record.cosine_SU.shape == (1, 2) and record.divergence_SV.shape == (1, 3)
    np.testing.assert_allclose(record.cosine_SU, [[(-1 + 1 - 1) / 3, 1]], rtol=1e-5)
