"""Metrics: numbers that are made of a sub-network's output and the labels.

    of each example   f(output, labels) of shape (B,); the metric is its mean over the examples
    of all of them    f(output, labels) of any other shape

Labels of tokens, (B, T), may be -1: such a token does not count.

The first kind may be cut: the examples go through in parts, whose means are put together by their
numbers of examples. Means are taken in float32 or above, whatever the dtype of the output.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from resnet_dyn.models import stack as stack_lib

Metrics = Sequence[str] | Mapping[str, Callable]


UNCOUNTED = -1  # the label of a token that does not count


def cross_entropy(logits_BK, labels_B):
    """The cross-entropy of each example in nats, (B,); of tokens (B, T) the mean of what counts.

    An example of which no token counts has 0. ValueError where labels and logits do not go
    together.
    """
    check_form(labels_B, logits_BK)
    known = jnp.maximum(labels_B, 0)
    losses = optax.softmax_cross_entropy_with_integer_labels(stack_lib.precise(logits_BK), known)
    return _by_example(losses, labels_B)


def wrong(logits_BK, labels_B):
    """1 for each example whose largest logit is not the label's, else 0, (B,); of tokens a mean."""
    check_form(labels_B, logits_BK)
    found = logits_BK.argmax(-1) != labels_B
    return _by_example(found.astype(stack_lib.precise(logits_BK).dtype), labels_B)


def whole_output(output, labels):
    """The output itself, for every example."""
    return output


def mean_loss(logits_BK, labels_B):
    """Mean cross-entropy in nats, a scalar."""
    return cross_entropy(logits_BK, labels_B).mean()


def mean_error(logits_BK, labels_B):
    """Fraction of examples whose largest logit is not the label's."""
    return wrong(logits_BK, labels_B).mean()


METRICS = {'loss': cross_entropy, 'error': wrong, 'logits': whole_output}
OF_CLASSES = (cross_entropy, wrong)  # whose labels are places on the output's last axis
MEANS = (mean_loss, mean_error)  # of these


def functions_of(metrics: Metrics) -> tuple[tuple[str, Callable], ...]:
    """(name, function of (output, labels)) for names of `METRICS` or a mapping."""
    if isinstance(metrics, Mapping):
        for name, function in metrics.items():
            if not callable(function):
                raise ValueError(
                    f'metric {name!r} is {function!r}: it must be a function of (output, labels)'
                )
        return tuple(metrics.items())
    if not isinstance(metrics, Iterable):
        raise ValueError(
            f'metrics={metrics!r}: give names ({", ".join(METRICS)}), or functions by name, as in '
            "{'margin': function}"
        )
    metrics = (metrics,) if isinstance(metrics, str) else tuple(metrics)
    unknown = [name for name in metrics if name not in tuple(METRICS)]
    if unknown:
        raise ValueError(f'no metric {unknown[0]!r}: take {", ".join(METRICS)}, or give functions')
    return tuple((name, METRICS[name]) for name in metrics)


def single(metric: str | Mapping[str, Callable]) -> tuple[str, Mapping[str, Callable]]:
    """(name, mapping) of the one metric that something is chosen or shared out by."""
    found = functions_of(metric)
    if len(found) != 1:
        raise ValueError(f'{len(found)} metrics, {[name for name, _ in found]}: give exactly one')
    if found[0][1] is whole_output:
        raise ValueError("metric='logits' is no single number: take loss or error")
    return found[0][0], dict(found)


def check_single(name: str, values_M: np.ndarray) -> np.ndarray:
    """The values where they are one number a sub-network, else ValueError."""
    if values_M.ndim != 1:
        raise ValueError(
            f'metric {name!r} has shape {values_M.shape[1:]} for one sub-network: it must give one '
            'number, or one an example'
        )
    return values_M


class Reduced(NamedTuple):
    """A metric's function with the mean taken over examples where it gives one number for each."""

    function: Callable

    def __call__(self, output, labels):
        value = self.function(output, labels)
        shapes = {jnp.shape(part) for part in jax.tree.leaves(value)}
        if len(shapes) != 1 or isinstance(value, Mapping):
            name = getattr(self.function, '__name__', repr(self.function))
            raise ValueError(
                f'a metric ({name}) gives {type(value).__name__}, parts of shapes '
                f'{sorted(shapes)}: it must give one array; take a metric for each part'
            )
        value = jnp.asarray(value)
        if self.function is whole_output or value.shape != labels.shape[:1]:
            return value
        return stack_lib.precise(value).mean()


def check_form(labels, output) -> None:
    """Raises ValueError where labels (B, ...) and an output, or its shape, are no (B, ..., K)."""
    if why := _misfit(labels, output):
        raise ValueError(why)


def labels_of(labels) -> jax.Array:
    """Labels as JAX's arrays; ValueError for those that it has not: names."""
    try:
        return stack_lib.array(labels)
    except TypeError as error:
        raise ValueError(no_classes(np.asarray(labels).dtype)) from error


def no_classes(dtype) -> str:
    """Why labels of this dtype are no classes, and what makes them so."""
    return (
        f'labels have dtype {dtype}: classes are whole numbers, which one-hot labels become by '
        '.argmax(-1), whole numbers of another dtype by .astype(int), names by '
        'np.unique(names, return_inverse=True)[1]'
    )


def check_labels(labels, output) -> None:
    """Raises ValueError for labels that are no classes of an output of this shape.

    So does an example of which no token counts. Labels that are traced pass by what they are.
    """
    if isinstance(labels, jax.core.Tracer):
        check_form(labels, output)
    elif why := reason(np.asarray(labels), output):
        raise ValueError(why)


def reason(labels: np.ndarray, output) -> str:
    """Why labels are no classes of an output, or of its shape, or leave an example out; else ''."""
    if why := _misfit(labels, output):
        return why
    seen, classes = labels.astype(int), output.shape[-1]
    if at := _outside(seen, classes):
        return (
            f'label {seen[at]} of example {at[0]} is none of the {classes} classes '
            f'0..{classes - 1} of the output'
        )
    return _uncounted(seen)


def check_cut(functions, output, labels) -> None:
    """Raises ValueError for a metric that is no mean over examples, which no parts make up.

    `output` and `labels` are those of one part, or their shapes.
    """
    for name, function in functions:
        shape = _shape(function, output, labels)
        if not _of_each(function, shape, labels):
            raise ValueError(
                f'metric {name!r} gives shape {shape} for {len(labels)} examples, and cannot '
                'be put together from parts of them: give one number an example, of shape (B,), '
                'leave examples_at_once out, or ask for the logits and compute it from them'
            )


def can_be_cut(functions, output, labels) -> bool:
    """Whether all metrics are means over examples, or the output itself (`check_cut`)."""
    shapes = ((f, _shape(f, output, labels)) for _, f in functions)
    return all(_of_each(function, shape, labels) for function, shape in shapes)


def _misfit(labels, output) -> str:
    """Why labels are no classes (B, ...) of an output (B, ..., K), or of its shape; else ''."""
    if not hasattr(output, 'shape'):
        shapes = [leaf.shape for leaf in jax.tree.leaves(output)]
        return (
            f'the output is a {type(output).__name__} of arrays of shapes {shapes}: loss and error '
            'are of one array of logits. Let the head give that alone, or give metrics of your own'
        )
    if not hasattr(labels, 'dtype') or labels.dtype.kind not in 'iub':
        return no_classes(getattr(labels, 'dtype', type(labels).__name__))
    if output.shape[:-1] != labels.shape or not output.ndim:
        wanted = ', '.join(map(str, (*labels.shape, 'K')))
        return (
            f'the output has shape {output.shape} and labels {labels.shape}: logits of K classes '
            f'for them are ({wanted}). Give one label an example, or one a token where logits are '
            'of tokens; for what is no class, metrics of your own'
        )
    return ''


def _outside(labels: np.ndarray, classes: int) -> tuple[int, ...]:
    """The place of the first label that is none of 0..classes - 1; () where all are.

    Labels of tokens, of two axes or more, may be `UNCOUNTED` too.
    """
    lowest = 0 if labels.ndim < 2 else UNCOUNTED
    bad = np.argwhere((labels < lowest) | (labels >= classes))
    return tuple(map(int, bad[0])) if bad.size else ()


def _uncounted(labels: np.ndarray) -> str:
    """Which example has no token that counts, as a reason to leave it out; '' where all have."""
    if labels.ndim < 2:
        return ''
    empty = np.flatnonzero((labels == UNCOUNTED).reshape(len(labels), -1).all(1))
    if not empty.size:
        return ''
    return (
        f'no token of example {empty[0]} counts (its labels are all {UNCOUNTED}), so that it has '
        'no loss: leave it out'
    )


def _shape(function, output, labels) -> tuple[int, ...] | None:
    def metric(output, labels):  # JAX refers to it weakly, which not every callable allows
        return function(output, labels)

    value = jax.eval_shape(metric, output, labels)
    return getattr(value, 'shape', None)  # the whole output may be a tree


def _of_each(function, shape, labels) -> bool:
    return function is whole_output or shape == labels.shape[:1]


def _by_example(values, labels):
    """The mean over all axes but the first: of examples as they are, of tokens those that count."""
    if values.ndim < 2:
        return values
    counts = jnp.broadcast_to(labels != UNCOUNTED, values.shape).reshape(len(values), -1)
    sums = jnp.where(counts, values.reshape(len(values), -1), 0).sum(1)
    return sums / jnp.maximum(counts.sum(1), 1)
