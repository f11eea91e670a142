"""What the steps since the last training line add up to, a value a network.

They are a part of the state of a run: a checkpoint holds them in its meta, so that the next line
of a run that goes on is that of the uninterrupted one, and a network that has diverged is known.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

NEVER = np.iinfo(np.int32).max
META = 'totals'  # their name in the meta of a checkpoint

_SUMS = ('loss', 'accuracy', 'last_finite')


class Totals(NamedTuple):
    """Sums and memories of S networks."""

    loss: jax.Array  # (S,) sum over the steps
    accuracy: jax.Array  # (S,) sum over the steps
    last_finite: jax.Array  # (S,) the latest loss that was finite
    first_bad: jax.Array  # (S,) int32, the first step whose loss was NaN or Inf, else NEVER


def zero(networks: int) -> Totals:
    """The totals of no step."""
    zeros_S = np.zeros(networks, np.float32)
    return Totals(zeros_S, zeros_S, zeros_S * np.nan, np.full(networks, NEVER, np.int32))


def add(totals: Totals, loss_S, accuracy_S, t) -> Totals:
    """The totals with those of step t, counted from 0; where the loss is not finite, all is NaN."""
    finite_S = jnp.isfinite(loss_S)
    return Totals(
        totals.loss + loss_S,
        totals.accuracy + jnp.where(finite_S, accuracy_S, np.nan),
        jnp.where(finite_S, loss_S, totals.last_finite),
        jnp.where(finite_S, totals.first_bad, jnp.minimum(totals.first_bad, t)),
    )


def to_json(totals: Totals) -> dict[str, list]:
    """The totals as JSON can say them, to the last bit: null for NaN.

    `diverged_at` is the step, counted from 1 as everywhere outside, or null.
    """
    diverged_at = [None if t == NEVER else int(t) + 1 for t in np.asarray(totals.first_bad)]
    sums = {name: _plain(getattr(totals, name)) for name in _SUMS}
    return {**sums, 'diverged_at': diverged_at}


def from_json(said: Mapping[str, Any]) -> Totals:
    """The inverse of `to_json`."""
    first_bad = [NEVER if at is None else at - 1 for at in said['diverged_at']]
    sums = (np.array(said[name], np.float32) for name in _SUMS)
    return Totals(*sums, np.array(first_bad, np.int32))


def diverged_at(meta: Mapping[str, Any]) -> list[int | None]:
    """The step at which each network diverged, None for not yet, by the meta of a checkpoint."""
    return meta.get(META, {}).get('diverged_at', [])  # none in those of earlier versions


def _plain(values_S) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in np.asarray(values_S)]
