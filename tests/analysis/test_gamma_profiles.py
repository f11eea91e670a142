"""Profiles of |gamma| over a hand-made tree of two networks."""

import jax
import numpy as np

from resnet_dyn.analysis import gamma_profiles, subjects
from resnet_dyn.models import stack


def tree():
    """Two networks; a stage of two blocks and one of one, which lacks norm_1; two channels."""
    return {
        'stem': {'norm': {'gamma': np.array([[1.0, -3.0], [2.0, 2.0]])}},
        'stage_0': {
            'norm_0': {'gamma': np.array([[[1.0, -1.0], [0.0, 4.0]], [[5.0, 5.0], [6.0, 8.0]]])},
            'norm_1': {'gamma': np.array([[[2.0, 2.0], [1.0, 3.0]], [[0.0, 0.0], [1.0, 1.0]]])},
        },
        'stage_1': {'norm_0': {'gamma': np.array([[[10.0, -20.0]], [[7.0, 7.0]]])}},
    }


def subject(gammas):
    """The two networks as stacks, which hold their gammas among their parameters."""

    def network(s):
        own = jax.tree.map(lambda leaf: leaf[s], gammas)
        stages = tuple(
            stack.Stage({'gammas': own[name]}, None, len(own[name]['norm_0']['gamma']))
            for name in ('stage_0', 'stage_1')
        )
        stem = {'gammas': own['stem']} if 'stem' in own else {}
        return stack.ResidualStack(stem, stages, (), None, None)

    networks = (network(0), network(1))
    return subjects.Subject(networks, subjects.numbered(2, 3), None, subjects.Origin(5))


def test_mean_and_spread_are_over_channels_of_the_absolute_value():
    record = gamma_profiles.measure(subject(tree()))
    assert record.norms_N.tolist() == ['norm_0', 'norm_1']
    np.testing.assert_allclose(record.mean_SLN[:, :, 0], [[1, 2, 15], [5, 7, 7]])
    np.testing.assert_allclose(record.spread_SLN[:, :, 0], [[0, 2, 5], [0, 1, 0]])
    np.testing.assert_allclose(record.stem_mean_S, [2, 2])
    np.testing.assert_allclose(record.stem_spread_S, [1, 0])


def test_a_norm_that_a_block_lacks_is_nan_there():
    record = gamma_profiles.measure(subject(tree()))
    np.testing.assert_allclose(record.mean_SLN[:, :, 1], [[2, 2, np.nan], [0, 1, np.nan]])


def test_a_stem_without_a_norm_is_nan():
    gammas = tree()
    del gammas['stem']
    assert np.isnan(gamma_profiles.measure(subject(gammas)).stem_mean_S).all()
