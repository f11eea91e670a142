"""Influences of blocks that scale, and of examples taken in parts."""

import jax.numpy as jnp
import numpy as np

from resnet_dyn.analysis import block_influence, effort, subjects
from resnet_dyn.models import stack

RANDOM = np.random.default_rng(0)
INPUTS = RANDOM.normal(size=(4, 4)).astype(np.float32)
LABELS = np.array([0, 2, 1, 1])
HEAD = RANDOM.normal(size=(4, 3)).astype(np.float32)


def net(*branches):
    return stack.from_functions(lambda x: x, branches, lambda h: h @ HEAD)


def test_blocks_that_scale_have_their_factors_and_others_turn_the_signal():
    one = net(lambda h: 0.5 * h, lambda h: 3 * h, jnp.tanh)
    subject = subjects.of_networks(one, INPUTS, LABELS)
    record = block_influence.measure(subject, effort.Effort(at_once=2))
    np.testing.assert_allclose(record.branch_over_skip_SL[0, :2], [0.5, 3], rtol=1e-5)
    np.testing.assert_allclose(record.block_influence_SL[0, :2], [0, 0], atol=1e-6)
    np.testing.assert_allclose(record.angular_distance_SNN[0, :3, :3], np.zeros((3, 3)), atol=1e-3)
    h = 6 * INPUTS.astype(float)
    cosines = [a @ b / np.sqrt((a @ a) * (b @ b)) for a, b in zip(h, h + np.tanh(h), strict=True)]
    np.testing.assert_allclose(record.block_influence_SL[0, 2], 1 - np.mean(cosines), rtol=1e-3)
    ratios = np.linalg.norm(np.tanh(h), axis=1) / np.linalg.norm(h, axis=1)
    np.testing.assert_allclose(record.branch_over_skip_SL[0, 2], ratios.mean(), rtol=1e-5)
