"""The depth law that a network's virtual ensemble should have, from its measured power gains.

    b_l^2 = E|g_l branch_l(h_l)|^2 / E|skip_l(h_l)|^2

    incoherent   eps_r^2 proportional to e_{r-1}(b^2)   paths are uncorrelated: variances add
    coherent     eps_r   proportional to e_{r-1}(b)     all paths of one length add up (eq 13)

with r = 1..L+1 the paper's path length: r - 1 of the L branches are used. sigma is the one of the
checkpoint at hand ("recomputed"), never frozen at an earlier one. A
prediction, not a measurement of paths: the gains are those of a signal in the full network.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from resnet_dyn import errors
from resnet_dyn.analysis import effort as effort_lib
from resnet_dyn.analysis import subjects
from resnet_dyn.models import stack as stack_lib
from resnet_dyn.theory import path_weights


class DepthLaw(NamedTuple):
    """Both laws of S networks at one checkpoint; eps_r^2 at index r - 1."""

    step: np.ndarray  # ()
    gains_SL: np.ndarray  # b_l, amplitudes
    incoherent_SR: np.ndarray
    coherent_SR: np.ndarray
    incoherent_mean_S: np.ndarray  # E[r]
    coherent_mean_S: np.ndarray
    incoherent_std_S: np.ndarray
    coherent_std_S: np.ndarray


class Law(NamedTuple):
    """One depth law: eps_r^2 (R,), and the mean and standard deviation of r under it."""

    weights_R: jax.Array
    mean: jax.Array
    std: jax.Array


def measure(subject: subjects.Subject, effort: effort_lib.Effort, options=None) -> DepthLaw:
    """The laws of S networks.

    Raises NotFiniteError where a gain is NaN or infinite, as those of blocks without a skip are.
    """
    sums = effort_lib.totals(_moment_sums, subject, effort, masked=True)
    return from_gains(subject.origin.step, gains(jax.tree.map(np.float32, sums)))


def cost(L: int, options=None) -> effort_lib.Cost:
    """A forward pass, whatever L."""
    return effort_lib.Cost(1)


def from_gains(step: int, gains_SL) -> DepthLaw:
    """The record of measured gains b_l (S, L), amplitudes, not powers."""
    gains_SL = np.asarray(gains_SL, np.float32)
    if not np.isfinite(gains_SL).all():
        raise errors.NotFiniteError(
            'the power gain of a block is not finite: its branch is NaN or infinite, or its skip '
            'carries nothing'
        )
    incoherent, coherent = _laws(gains_SL)
    return DepthLaw(
        step=np.array(step),
        gains_SL=gains_SL,
        incoherent_SR=np.asarray(incoherent.weights_R),
        coherent_SR=np.asarray(coherent.weights_R),
        incoherent_mean_S=np.asarray(incoherent.mean),
        coherent_mean_S=np.asarray(coherent.mean),
        incoherent_std_S=np.asarray(incoherent.std),
        coherent_std_S=np.asarray(coherent.std),
    )


def gains(moments: stack_lib.Moments):
    """b_l = sqrt(E|branch|^2 / E|skip|^2), (L,), of `models.stack.second_moments`."""
    branch, skip = np.asarray(moments.branch), np.asarray(moments.skip)
    with np.errstate(divide='ignore', invalid='ignore'):  # where a skip carries nothing
        return np.sqrt(branch / skip)


def law(gains_L, coherent: bool = False) -> Law:
    """The depth law of gains b_l (L,); the incoherent one unless asked."""
    log_weights = path_weights.log_path_weights_from_gains(gains_L, coherent)
    mean, variance = path_weights.depth_moments(log_weights)
    return Law(jnp.exp(2 * log_weights), mean, jnp.sqrt(variance))


@jax.jit
def _moment_sums(stack, inputs, labels, mask):
    moments = stack_lib.second_moments(stack, inputs, mask=mask)
    count = len(labels) if mask is None else mask.sum()
    return jax.tree.map(lambda mean: mean * count, moments)


@jax.jit
def _laws(gains_SL):
    """The incoherent laws of S networks, and the coherent ones."""
    return [
        jax.vmap(lambda gains_L, coherent=coherent: law(gains_L, coherent))(gains_SL)
        for coherent in (False, True)
    ]
