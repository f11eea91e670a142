"""The gradient by path length: what all paths through k branches carry back to the first block.

    prod_l (S_l + t J_l)^T v = sum_k t^k G_k        G_k    the sum of the gradients of C(L, k) paths
                                                    S_k    the sum of their squared norms

for every example by itself: v is the gradient of its own cross-entropy, and the network is
linearised at its full forward pass. |G_k|^2 counts what paths of one length add up to, S_k what
they are each; S_k / C(L, k) is the mean square of one path, which Veit et al. 2016 (figure 6)
sampled. The forward analogue u_k sends h_0 through the linearised blocks. Length k stands at index
k: it is the paper's r = k + 1.
"""

import dataclasses
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from resnet_dyn import fields
from resnet_dyn.analysis import effort as effort_lib
from resnet_dyn.analysis import subjects
from resnet_dyn.kernels import metrics, path_gradients
from resnet_dyn.models import stack as stack_lib
from resnet_dyn.models import transforms


@dataclasses.dataclass(frozen=True)
class Options:
    """How much is drawn."""

    probes: int = fields.field(8, 'Rademacher draws of the energies', low=2, serves='more')


class PathSpectrum(NamedTuple):
    """Spectra of S networks at one checkpoint; means are over examples."""

    step: np.ndarray  # ()
    sum_norm_SR: np.ndarray  # sqrt(mean |G_k|^2)
    root_energy_SR: np.ndarray  # sqrt(mean S_k), estimated from `probes` draws
    energy_se_SR: np.ndarray  # standard error of mean S_k over the draws
    forward_norm_SR: np.ndarray  # sqrt(mean |u_k|^2)
    paths_R: np.ndarray  # C(L, k)
    closure_S: np.ndarray  # |sum_k G_k - gradient| / |gradient|, all examples; 0 where both are
    probes: np.ndarray  # ()


def measure(subject: subjects.Subject, effort: effort_lib.Effort, options: Options) -> PathSpectrum:
    """The spectra at h_0 of networks whose examples do not meet (norms of fixed statistics)."""
    L, examples = subject.blocks, subject.examples.number

    key = effort_lib.key(subject, 'paths')
    sums = effort_lib.totals(backward_sums, subject, effort.turn(0, 2), key, probes=options.probes)
    forward_SR = effort_lib.totals(forward_sums, subject, effort.turn(1, 2))
    squares_SR, energy_SR, variance_SR, gap_S, gradient_S = sums

    def root_mean(total):
        return np.sqrt(np.maximum(total, 0) / examples).astype(np.float32)

    return PathSpectrum(
        step=np.array(subject.origin.step),
        sum_norm_SR=root_mean(squares_SR),
        root_energy_SR=root_mean(energy_SR),
        energy_se_SR=(np.sqrt(variance_SR) / examples).astype(np.float32),
        forward_norm_SR=root_mean(forward_SR),
        paths_R=np.array([math.comb(L, k) for k in range(L + 1)], np.float64),
        closure_S=np.sqrt(gap_S / np.where(gradient_S == 0, 1, gradient_S)).astype(np.float32),
        probes=np.array(options.probes),
    )


def cost(L: int, options: Options) -> effort_lib.Cost:
    """(L + 1) / 2 backward passes for G_k, as many for each probe, and the gradient itself.

    And (L + 1) / 2 passes of forward derivatives for u_k, counted as forward passes.
    """
    spectrum = (L + 1) / 2
    return effort_lib.Cost(spectrum + 1, (1 + options.probes) * spectrum + 1)


@jax.jit(static_argnames='probes')
def backward_sums(stack, inputs, labels, key, probes):
    """Sums over examples: |G_k|^2, S_k, its variance, |sum_k G_k - gradient|^2, |gradient|^2.

    Examples do not meet (running statistics), so that the gradients of the summed loss are those
    of each; the signs of the draws are each example's own, so that variances add up.
    """

    def loss(logits):
        return metrics.cross_entropy(logits, labels).sum()

    net, first = stack_lib.enter(stack, inputs)

    def from_h0(h):
        gates_L = jnp.ones(stack.num_blocks, h.dtype)
        return loss(stack_lib.apply(transforms.without_stem(net), h, gates_L))

    parts = path_gradients.by_length(stack, inputs, loss)
    energies = path_gradients.energies(stack, inputs, loss, key, probes, per_example=True)
    energy_RB, error_RB = energies
    gradient = jax.grad(from_h0)(first)
    gradient = stack_lib.precise(gradient)
    gap = stack_lib.precise(parts).sum(0) - gradient
    squares = (gap**2).sum(), (gradient**2).sum()
    return _squares(parts), energy_RB.sum(1), (error_RB**2).sum(1), *squares


@jax.jit
def forward_sums(stack, inputs, labels):
    """Sums over examples of |u_k|^2."""
    return _squares(path_gradients.forward_by_length(stack, inputs))


def _squares(parts_R):
    """Squared norms by length, over examples and units, in float32 or above."""
    return (stack_lib.precise(parts_R).reshape(len(parts_R), -1) ** 2).sum(1)
