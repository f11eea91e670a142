"""Lesions: the loss and error of a network whose blocks are deleted by masks (Veit et al. 2016).

A mask (L,) gates every branch, h_{l+1} = merge(skip_l(h_l) + mask_l branch_l(h_l)); 1 keeps a
block, 0 deletes it, any other finite number scales it. The norms keep the statistics that the
stack was built with.
"""

from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax

from resnet_dyn.kernels import masks as masks_lib
from resnet_dyn.models import stack as stack_lib

CHUNK = 8  # masks a compiled call


def mean_loss(logits_BK, labels_B):
    """Mean cross-entropy in nats, a scalar."""
    losses = optax.softmax_cross_entropy_with_integer_labels(logits_BK, labels_B)
    return losses.mean()


def mean_error(logits_BK, labels_B):
    """Fraction of examples whose largest logit is not the label's."""
    return (logits_BK.argmax(-1) != labels_B).mean(dtype=logits_BK.dtype)


def _logits(logits, labels):
    return logits


METRICS = {'loss': mean_loss, 'error': mean_error, 'logits': _logits}


def score(
    stack: stack_lib.ResidualStack,
    inputs,
    labels,
    masks,
    metrics: Sequence[str] | Mapping[str, Callable] = ('loss', 'error'),
    chunk: int = CHUNK,
) -> dict[str, np.ndarray]:
    """Scores every mask of (M, L): a dict of arrays (M,), and 'logits' (M, B, K) if asked for.

    `metrics` are names of `METRICS` or a mapping of names to functions of (logits, labels).
    Masks are carried through in chunks of `chunk` by vmap over the gates alone, and one program
    is compiled whatever their number. Raises ValueError for masks of the wrong length or not
    finite, for a deleted block that has no skip, and for logits that are not finite, naming the
    mask.
    """
    masks_ML = masks_lib.check(masks, stack_lib.num_blocks(stack))
    check_deletable(stack, masks_ML)
    if not len(masks_ML):
        raise ValueError('no masks to score: masks have shape (0, L)')
    functions = _functions(metrics)
    labels = jnp.asarray(labels)
    inputs = jnp.asarray(inputs)
    chunk = max(1, min(chunk, len(masks_ML)))
    parts = []
    for start in range(0, len(masks_ML), chunk):
        part = masks_ML[start : start + chunk]
        padded = np.concatenate([part, np.ones((chunk - len(part), part.shape[1]), part.dtype)])
        values, finite = _score_chunk(stack, inputs, labels, padded, functions)
        bad = np.flatnonzero(~np.asarray(finite)[: len(part)])
        if bad.size:
            row = masks_ML[start + bad[0]]
            raise ValueError(f'logits of mask {start + bad[0]} are not finite: {row.tolist()}')
        parts.append({name: np.asarray(value)[: len(part)] for name, value in values.items()})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def check_deletable(stack: stack_lib.ResidualStack, masks_ML: np.ndarray) -> None:
    """Raises ValueError where a mask deletes (gate 0) a block that has no skip."""
    skippable = np.concatenate([[stage.skippable] * stage.length for stage in stack.stages])
    bad = np.argwhere((masks_ML == 0) & ~skippable)
    if bad.size:
        raise ValueError(
            f'mask {bad[0][0]} deletes block {bad[0][1]}, which has no skip: nothing would be left '
            'of the signal; networks of block kind plain cannot be lesioned'
        )


def _functions(metrics) -> tuple[tuple[str, Callable], ...]:
    if isinstance(metrics, Mapping):
        return tuple(metrics.items())
    unknown = [name for name in metrics if name not in METRICS]
    if unknown:
        raise ValueError(f'no metric {unknown[0]!r}: take {", ".join(METRICS)}, or give functions')
    return tuple((name, METRICS[name]) for name in metrics)


@jax.jit(static_argnames='functions')
def _score_chunk(stack, inputs, labels, masks_ML, functions):
    def one(mask_L):
        logits = stack_lib.apply(stack, inputs, mask_L)
        values = {name: function(logits, labels) for name, function in functions}
        return values, jnp.isfinite(logits).all()

    return jax.vmap(one)(masks_ML)
