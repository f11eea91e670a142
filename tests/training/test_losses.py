"""Losses against their equations, written out in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resnet_dyn import config
from resnet_dyn.training import losses

LOGITS_BK = np.array([[2.0, -1.0, 0.5], [0.1, 0.2, 0.3], [-4.0, 5.0, 1.0], [60.0, -60.0, 0.0]])
LABELS_B = np.array([0, 0, 2, 1], np.int32)


@pytest.mark.parametrize('smoothing', [0.0, 0.1, 1.0])
def test_cross_entropy_is_that_against_the_smoothed_distribution(smoothing):
    target_BK = (1 - smoothing) * np.eye(3)[LABELS_B] + smoothing / 3
    log_sum_B = np.log(np.exp(LOGITS_BK).sum(-1))
    expected_B = -(target_BK * (LOGITS_BK - log_sum_B[:, None])).sum(-1)
    found_B = losses.cross_entropy(jnp.asarray(LOGITS_BK), jnp.asarray(LABELS_B), smoothing)
    np.testing.assert_allclose(found_B, expected_B, rtol=1e-6)


@pytest.mark.parametrize('loss', [losses.cross_entropy, losses.hinge])
def test_losses_of_bfloat16_logits_are_those_of_their_values_in_float32(loss):
    half_BK = jnp.asarray(LOGITS_BK, jnp.bfloat16)
    found_B = loss(half_BK, LABELS_B)
    assert found_B.dtype == jnp.float32
    expected_B = loss(np.asarray(half_BK, np.float32), LABELS_B)
    np.testing.assert_allclose(found_B, expected_B, rtol=1e-6)


def test_hinge_is_the_lead_that_the_best_other_class_has():
    expected_B = [
        max(0.0, 1 + max(row[j] for j in range(3) if j != label) - row[label])
        for row, label in zip(LOGITS_BK, LABELS_B, strict=True)
    ]
    found_B = losses.hinge(jnp.asarray(LOGITS_BK), jnp.asarray(LABELS_B))
    np.testing.assert_allclose(found_B, expected_B, rtol=1e-6)
    assert expected_B[0] == 0.0


def test_the_config_names_the_loss_and_a_test_set_is_never_smoothed():
    logits_BK, labels_B = jnp.asarray(LOGITS_BK), jnp.asarray(LABELS_B)
    train = config.Train(label_smoothing=0.3)
    smoothed_B = losses.from_config(train)(logits_BK, labels_B)
    np.testing.assert_array_equal(smoothed_B, losses.cross_entropy(logits_BK, labels_B, 0.3))
    plain_B = losses.without_smoothing(train)(logits_BK, labels_B)
    np.testing.assert_array_equal(plain_B, losses.cross_entropy(logits_BK, labels_B))
    for choose in (losses.from_config, losses.without_smoothing):
        assert choose(config.Train(loss='hinge')) is losses.hinge


def test_correct_counts_the_largest_logit():
    found_B = jax.jit(losses.correct)(jnp.asarray(LOGITS_BK), jnp.asarray(LABELS_B))
    np.testing.assert_array_equal(found_B, [1.0, 0.0, 0.0, 0.0])
