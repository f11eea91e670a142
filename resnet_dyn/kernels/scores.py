"""Scores of a tree of sub-networks: their metrics, put together where examples go through in parts.

metric of all = sum over parts (examples in the part / examples) * metric of the part
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from resnet_dyn import errors
from resnet_dyn.kernels import metrics as metrics_lib
from resnet_dyn.kernels import prefix_walk
from resnet_dyn.models import placement, seed_axis
from resnet_dyn.models import stack as stack_lib


def score_tree(
    stack,
    inputs,
    labels,
    tree,
    metrics,
    name,
    examples_at_once=None,
    progress=None,
    seeds=None,
    mesh=None,
    **walk,
) -> dict[str, np.ndarray]:
    """`score` of any tree of sub-networks; `name(i)` is what an error calls the i-th.

    Where examples do not divide over the devices along `data` of the `mesh`, those that are left
    over go through after the others, if they may be cut; else all of them on one.
    `seeds` S: the stack is one of S networks (`seed_axis.over_seeds`), and what comes back (M, S).
    """
    functions = metrics_lib.functions_of(metrics)
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((stack, inputs, labels))):
        raise ValueError(
            'a walk over sub-networks steers many programs from the host, and is none within jit, '
            'vmap or grad: call it outside, or take stack.apply with gates, which is'
        )
    stack, inputs = stack_lib.on_device(stack), stack_lib.arrays(inputs)
    examples = stack_lib.examples(inputs)
    if labels is None and any(f is not metrics_lib.whole_output for _, f in functions):
        raise ValueError("labels are None: that goes with metrics=('logits',) alone")
    labels = metrics_lib.labels_of(np.zeros(examples, int) if labels is None else labels)
    if labels.shape[:1] != (examples,):
        number = len(labels) if labels.ndim else 'no axis of'
        raise ValueError(f'{examples} inputs and {number} labels: give one label an input')
    if any(f in metrics_lib.OF_CLASSES for _, f in functions):
        metrics_lib.check_labels(labels, _output(stack, inputs, seeds))
    shards = placement.shards(mesh)
    if examples_at_once is not None and 0 < examples_at_once < examples:
        examples_at_once = max(shards, examples_at_once - examples_at_once % shards)
    spans = stack_lib.spans(stack, examples, examples_at_once)
    if len(spans) > 1:  # of two sizes, where the last part is smaller
        for size in {stop - start for start, stop in spans}:
            here, known = stack_lib.shapes_of((inputs, labels), size)
            metrics_lib.check_cut(functions, _output(stack, here, seeds), known)
    start, stop = spans[-1]
    sizes = dealt(stop - start, shards)
    if len(sizes) > 1 and not stack.couples_examples:
        here, known = stack_lib.shapes_of((inputs, labels), stop - start)
        if metrics_lib.can_be_cut(functions, _output(stack, here, seeds), known):
            spans[-1:] = [(start, start + sizes[0]), (start + sizes[0], stop)]
    scores, parts = Scores(functions, seeds), []
    for number, (start, stop) in enumerate(spans):
        finish = prefix_walk.Finish(scores, labels[start:stop])
        found = []
        steer = {**walk, 'mesh': mesh}
        steer['progress'] = prefix_walk.share(progress, number, len(spans))
        for index, (values, sound) in prefix_walk.run(
            stack, stack_lib.take(inputs, slice(start, stop)), tree, finish, **steer
        ):
            if not sound.all():
                bad = index[np.flatnonzero(~sound)[0]]
                raise errors.NotFiniteError(
                    f'logits of {name(bad)} or a metric of them are NaN: check the inputs, delete '
                    'fewer blocks or take smaller factors'
                )
            found.append(values)
        parts.append({key: np.concatenate([f[key] for f in found]) for key, _ in functions})
    weights = [stop - start for start, stop in spans]
    axis = 1 if seeds is None else 2  # of an output's examples, behind masks and seeds
    return {
        key: _join([part[key] for part in parts], weights, axis, function)
        for key, function in functions
    }


def dealt(examples: int, shards: int) -> tuple[int, ...]:
    """The sizes of parts that go through in turn: what divides over the shards, what is left."""
    left = examples % shards
    return (examples - left, left) if 0 < left < examples else (examples,)


def _output(stack, inputs, seeds: int | None):
    """The shape of the output of one network."""
    output = stack_lib.output_shape(stack, inputs)
    if seeds is None:
        return output
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), output)


class Scores(NamedTuple):
    """(output, labels) -> (metrics by name, whether all of them and the output are numbers)."""

    functions: tuple[tuple[str, Callable], ...]
    seeds: int | None

    def __call__(self, output, labels):
        values = {}
        for name, function in self.functions:
            function = metrics_lib.Reduced(function)
            if self.seeds is not None:
                function = seed_axis.Mapped(function, self.seeds, (0, None))
            values[name] = function(output, labels)
        number = [~jnp.isnan(a).any() for a in jax.tree.leaves((output, values))]
        return values, jnp.stack(number).all()


def _join(parts: list[np.ndarray], weights: list[int], axis: int, function) -> np.ndarray:
    if len(parts) == 1:
        return parts[0]
    if function is metrics_lib.whole_output:
        return np.concatenate(parts, axis=axis)
    return np.average(parts, axis=0, weights=weights).astype(parts[0].dtype)
