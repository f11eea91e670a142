"""How robust the first guess is: each layer deleted, and each two neighbours swapped.

    kept = share of the examples, or of the tokens that count, whose likeliest class stays that of
           the whole network

Source: Lad et al. 2024 (arXiv 2406.19384), who delete and swap layers of GPT-2 and Pythia. A layer
is what the network says belongs together (`groups`), else a block; blocks of no layer are kept, in
their place.
"""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from resnet_dyn.analysis import effort as effort_lib
from resnet_dyn.analysis import subjects
from resnet_dyn.kernels import lesions, metrics, reorder
from resnet_dyn.models import stack as stack_lib


class LayerSwaps(NamedTuple):
    """Of S networks of U layers; W = U - 1 pairs of neighbours, NaN where they cannot be swapped.

    They can where the blocks of each follow on one another, between them stands no other layer, and
    h has one shape all along.
    """

    step: np.ndarray  # ()
    full_loss_S: np.ndarray
    deleted_kept_SU: np.ndarray  # without layer u
    deleted_loss_SU: np.ndarray
    swapped_kept_SW: np.ndarray  # layers w and w + 1 in each other's place
    swapped_loss_SW: np.ndarray


class Labels(NamedTuple):
    """A metric of the labels at one place of the last axis."""

    metric: object
    place: int

    def __call__(self, output, labels):
        return self.metric(output, labels[..., self.place])


# Behind one another on a last axis of the labels: those of the examples, and the likeliest classes.
METRICS = {'loss': Labels(metrics.cross_entropy, 0), 'changed': Labels(metrics.wrong, 1)}


def measure(subject: subjects.Subject, effort: effort_lib.Effort, options=None) -> LayerSwaps:
    """2 U - 1 sub-networks."""
    S, L = len(subject.stacks), subject.blocks
    layers = layers_of(subject)
    masks_UL = np.ones((len(layers) + 1, L), np.float32)
    for u, layer in enumerate(layers):
        masks_UL[u + 1, list(layer)] = 0
    orders, where = _orders(subject, layers)
    totals = np.zeros((2, S, len(masks_UL) + len(orders)))
    for walk in effort_lib.walks(subject, effort._replace(how='map')):
        s, (deleting, swapping) = walk.rows.start, _turns(walk.progress)
        labels = _labels(subject.stacks[s], walk.inputs, walk.labels)
        steer = {'budget': effort.budget, 'mesh': effort.mesh}
        parts = [
            lesions.score(
                subject.stacks[s],
                walk.inputs,
                labels,
                masks_UL,
                METRICS,
                progress=deleting,
                **steer,
            )
        ]
        if orders:
            parts.append(
                reorder.score(
                    subject.stacks[s],
                    walk.inputs,
                    labels,
                    orders,
                    METRICS,
                    progress=swapping,
                    **steer,
                )
            )
        share = len(walk.labels) / subject.examples.number
        for m, name in enumerate(METRICS):
            totals[m, s] += share * np.concatenate([part[name] for part in parts])
    loss_SM, changed_SM = totals.astype(np.float32)
    U = len(layers)
    swapped_2SW = np.full((2, S, max(U - 1, 0)), np.nan, np.float32)
    swapped_2SW[:, :, where] = loss_SM[:, U + 1 :], 1 - changed_SM[:, U + 1 :]
    return LayerSwaps(
        np.array(subject.origin.step),
        full_loss_S=loss_SM[:, 0],
        deleted_kept_SU=1 - changed_SM[:, 1 : U + 1],
        deleted_loss_SU=loss_SM[:, 1 : U + 1],
        swapped_kept_SW=swapped_2SW[1],
        swapped_loss_SW=swapped_2SW[0],
    )


def cost(L: int, options=None) -> effort_lib.Cost:
    """All single lesions, as many orders that share their beginnings, and the whole network."""
    return effort_lib.Cost(L + 2)


def layers_of(subject: subjects.Subject) -> tuple[tuple[int, ...], ...]:
    """The blocks of each layer."""
    return subject.stacks[0].groups or tuple((l,) for l in range(subject.blocks))


def _orders(subject, layers) -> tuple[list[tuple[int, ...]], list[int]]:
    """The orders with two neighbours swapped, and which pairs these are."""
    alike = reorder.alike(subject.stacks[0], subject.examples.first(2))
    kind = {block: number for number, group in enumerate(alike) for block in group}
    in_layers = {block for layer in layers for block in layer}
    orders, where = [], []
    for w, (one, other) in enumerate(itertools.pairwise(layers)):
        between = range(one[-1] + 1, other[0])
        runs = all(layer[-1] - layer[0] == len(layer) - 1 for layer in (one, other))
        both = {kind.get(block) for block in (*one, *other)}
        if runs and in_layers.isdisjoint(between) and len(both) == 1 and None not in both:
            behind = range(other[-1] + 1, subject.blocks)
            orders.append((*range(one[0]), *other, *between, *one, *behind))
            where.append(w)
    return orders, where


@jax.jit
def _labels(stack, inputs, labels):
    """The labels and the likeliest classes, which count where labels do, (B, 2) or (B, T, 2)."""
    output = stack_lib.apply(stack, inputs, jnp.ones(stack.num_blocks))
    likeliest = jnp.where(labels == metrics.UNCOUNTED, metrics.UNCOUNTED, output.argmax(-1))
    return jnp.stack([labels, likeliest.astype(labels.dtype)], -1)


def _turns(progress):
    """The progress of the first half of the work, and of the second."""
    if progress is None:
        return None, None

    def half(number):
        def told(done, total):
            progress(number * total + done, 2 * total)

        return told

    return half(0), half(1)
