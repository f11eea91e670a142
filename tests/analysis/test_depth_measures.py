"""The depth law from measured gains, against laws worked out by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from resnet_dyn import errors
from resnet_dyn.analysis import depth_measures, effort, subjects
from resnet_dyn.models import stack


def on_ones(net):
    return subjects.of_networks(net, jnp.ones((4, 2)), jnp.zeros(4, int))


def scaling_stack(factors):
    """Linear blocks h + factor h, whose amplitude gains are the factors."""
    branches = [lambda h, f=factor: f * h for factor in factors]
    return stack.from_functions(lambda x: x, branches, lambda h: h)


def test_gains_of_blocks_that_scale_are_their_factors_whatever_came_before():
    subject = on_ones(scaling_stack([0.5, 3.0]))
    record = depth_measures.measure(subject._replace(origin=subjects.Origin(7)), effort.Effort())
    assert record.step == 7
    np.testing.assert_allclose(record.gains_SL, [[0.5, 3.0]], rtol=1e-6)


def test_incoherent_law_is_the_poisson_binomial_of_the_power_gains():
    record = depth_measures.from_gains(0, [[1.0, 3.0]])  # q = 1/2 and 9/10
    np.testing.assert_allclose(record.incoherent_SR, [[0.05, 0.5, 0.45]], rtol=1e-5)
    np.testing.assert_allclose(record.incoherent_mean_S, [2.4], rtol=1e-5)
    np.testing.assert_allclose(record.incoherent_std_S, [np.sqrt(0.25 + 0.09)], rtol=1e-5)


def test_coherent_law_squares_the_elementary_symmetric_polynomials():
    record = depth_measures.from_gains(0, [[1.0, 3.0]])  # e = 1, 4, 3
    np.testing.assert_allclose(record.coherent_SR, [[1 / 26, 16 / 26, 9 / 26]], rtol=1e-5)
    np.testing.assert_allclose(record.coherent_mean_S, [(1 + 32 + 27) / 26], rtol=1e-5)


def test_networks_keep_their_own_laws():
    both = depth_measures.from_gains(0, [[1.0, 3.0], [0.2, 0.1]])
    alone = depth_measures.from_gains(0, [[0.2, 0.1]])
    np.testing.assert_allclose(both.incoherent_SR[1], alone.incoherent_SR[0], rtol=1e-6)


def test_a_skip_that_carries_nothing_has_no_depth_law():
    plain = stack.from_functions(lambda x: x, [lambda h: h], lambda h: h, [lambda h: 0 * h])
    with pytest.raises(errors.NotFiniteError, match='its skip carries nothing'):
        depth_measures.measure(on_ones(plain), effort.Effort())
