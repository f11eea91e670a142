"""Depths that are read off curves; records of parts and of networks that lack something."""

import numpy as np
import pytest

from resnet_dyn.analysis import curve_depths, depth_use, effort, subjects
from resnet_dyn.models import stack

NAN = np.nan


@pytest.mark.parametrize(
    ('cosines', 'expected'),
    [
        ([-1, 1, -1, 1, 1], 3),  # the last one: three blocks stand before it
        ([-1, 0, 0], 1),
        ([1, -1, -1], NAN),  # from above 0 is none
        ([1, 1], NAN),
    ],
)
def test_the_sign_changes_last_from_below_zero(cosines, expected):
    np.testing.assert_equal(depth_use.sign_change(np.array(cosines, float)), expected)


@pytest.mark.parametrize(
    ('curve', 'expected'),
    [
        ([4.0, 3.0, 1.0, 0.0], 1.5),  # 2 lies half way from 3 to 1
        ([4.0, 1.0, 3.0, 0.0], 2 + 1 / 3),  # below 2 for good
        ([NAN, NAN, 4.0, 0.0], 2.5),
        ([NAN, NAN, NAN, 0.0], 3),
        ([0.0, 0.0, 0.0], 0),  # the output is there from the start
        ([1.0, 1.0, 3.0], NAN),
    ],
)
def test_a_curve_is_below_its_threshold_from_a_depth_on(curve, expected):
    np.testing.assert_allclose(curve_depths.from_on(np.array(curve), 2.0, between=True), expected)


INPUTS = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)


def scaling(*factors):
    """h + f h: nothing turns, and a block left out divides all behind it."""
    branches = [lambda h, f=f: f * h for f in factors]
    net = stack.from_functions(lambda x: x, branches, lambda h: h[:, :3])
    return subjects.of_networks(net, INPUTS, np.zeros(6, int))


def test_blocks_that_scale_have_cosines_of_one_and_known_changes_part_by_part():
    record = depth_use.measure(scaling(-0.5, 1.0, 3.0), effort.Effort(at_once=3))
    np.testing.assert_allclose(record.cosine_SL, [[-1, 1, 1]], rtol=1e-5)
    np.testing.assert_array_equal(record.sign_change_S, [1])
    expected = [[NAN, 1, 1], [NAN, NAN, 0.5], [NAN, NAN, NAN]]
    np.testing.assert_allclose(record.change_SLL[0], expected, rtol=1e-5)
    np.testing.assert_allclose(record.later_change_SL, [[1, 0.5, NAN]], rtol=1e-5)
    np.testing.assert_allclose(record.overlap_SN, np.ones((1, 4)))  # order is kept
    assert record.chance == 2 / 3 and record.overlap_depth_S == [0]


def test_where_branches_are_zero_the_output_is_there_at_once_and_nothing_changes():
    record = depth_use.measure(scaling(0.0, 0.0), effort.Effort())
    assert np.isnan(record.change_SLL).all() and np.isnan(record.sign_change_S).all()
    assert record.divergence_depth_S == [0] and record.overlap_depth_S == [0]
