"""Losses of one batch, a value an example, in float32 or above; of tokens the mean over them.

cross-entropy   log sum_j exp z_j - (1 - s) z_y - s mean_j z_j      s: label smoothing
hinge           max(0, 1 + max_{j != y} z_j - z_y)                  Crammer & Singer 2001
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from resnet_dyn import config
from resnet_dyn.models import stack

Loss = Callable[[jax.Array, jax.Array], jax.Array]


def from_config(train: config.Train) -> Loss:
    """The training loss that a config names: (logits_BK, labels_B) -> (B,).

    Of sequences the logits are (B, T, K) and the labels (B, T).
    """
    if train.loss == 'hinge':
        return hinge
    return functools.partial(cross_entropy, smoothing=train.label_smoothing)


def without_smoothing(train: config.Train) -> Loss:
    """The loss that a test set is measured by: the training loss, its labels not smoothed."""
    return hinge if train.loss == 'hinge' else cross_entropy


def cross_entropy(logits_BK, labels_B, smoothing=0.0):
    """Cross-entropy (B,) against the labels, smoothed towards the uniform distribution."""
    logits_BK = stack.precise(logits_BK)
    target_B = (1 - smoothing) * _of_label(logits_BK, labels_B) + smoothing * logits_BK.mean(-1)
    return _of_example(jax.nn.logsumexp(logits_BK, axis=-1) - target_B)


def hinge(logits_BK, labels_B):
    """Multi-class hinge loss (B,): zero where the label leads every other class by 1."""
    logits_BK = stack.precise(logits_BK)
    others_BK = 1 - jax.nn.one_hot(labels_B, logits_BK.shape[-1], dtype=logits_BK.dtype)
    return _of_example((logits_BK + others_BK).max(-1) - _of_label(logits_BK, labels_B))


def correct(logits_BK, labels_B):
    """1.0 (B,) where the label has the largest logit, else 0.0; of tokens the share of those."""
    return _of_example((logits_BK.argmax(-1) == labels_B).astype(jnp.float32))


def _of_label(logits_BK, labels_B):
    return jnp.take_along_axis(logits_BK, labels_B[..., None], axis=-1)[..., 0]


def _of_example(values):
    """(B,) as it is, (B, T) averaged over T."""
    return values if values.ndim < 2 else values.mean(tuple(range(1, values.ndim)))
