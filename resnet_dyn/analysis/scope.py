"""What a measure is given beside the networks: examples, how many at once, memory, samples.

    sum over examples = sum over parts of `at_once` examples        (`totals`)

Networks go through one after the other or vmapped (`walks`); what is random
takes its key from the seed of the data and the name of the measure.
"""

import collections
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from resnet_dyn.kernels import prefix_walk

STREAMS = {'random': 1, 'reorder': 2, 'paths': 3}  # of the measures that draw


class Cost(NamedTuple):
    """What a measure costs for one network, in passes over all examples.

    A forward pass is L block evaluations; a backward one, L block VJPs from the head to h_0.
    """

    forward: float = 0
    backward: float = 0


class Scope(NamedTuple):
    """Examples, and how much is spent on them."""

    inputs: Any  # (B, ...), normalised
    labels: Any  # (B,)
    seed: int = 0  # of the data; `key` draws from it
    at_once: int = 250  # examples in one call: their activations stay in a CPU's cache
    budget: int | None = None  # bytes of activations; None: what the device has free
    how: str = 'map'  # how several networks go through a pure function: map or vmap
    random: int = 20  # masks or orders drawn for each number of deleted blocks or swaps
    probes: int = 8  # Rademacher draws of the path energies
    exhaustive: int = 14  # the largest L of which all 2^L sub-networks are scored
    progress: Callable[[int, int], None] | None = None  # (done, total), in units of the measure

    @property
    def examples(self) -> int:
        """B."""
        return len(self.labels)

    def key(self, name: str) -> jax.Array:
        """The key of the measure `name`: the same for all networks and checkpoints."""
        return jax.random.fold_in(jax.random.key(self.seed), STREAMS[name])

    def kernel(self) -> dict[str, Any]:
        """The keywords of kernels that carry the ensemble through chunks of their own."""
        return {
            'examples_at_once': min(self.at_once, self.examples),
            'budget': self.budget,
            'progress': self.progress,
        }

    def turn(self, number: int, turns: int) -> 'Scope':
        """The same, its progress that of turn `number` of so many equal ones."""
        return self._replace(progress=prefix_walk.share(self.progress, number, turns))


class Walk(NamedTuple):
    """Networks and examples that go through a kernel together."""

    rows: slice  # of the networks
    part: int
    inputs: Any
    labels: Any
    progress: Callable[[int, int], None] | None  # of this walk alone


def walks(stacks: Sequence, scope: Scope) -> Iterator[Walk]:
    """All networks with all examples, `at_once` of them a walk, the last what is left.

    One network a walk, part by part, where they go through in turn; else all of them.
    """
    group = 1 if scope.how == 'map' else len(stacks)
    firsts, starts = range(0, len(stacks), group), range(0, scope.examples, scope.at_once)
    turns = len(firsts) * len(starts)
    for number, (first, start) in enumerate(itertools.product(firsts, starts)):
        rows = slice(start, start + scope.at_once)
        yield Walk(
            rows=slice(first, first + group),
            part=start // scope.at_once,
            inputs=scope.inputs[rows],
            labels=scope.labels[rows],
            progress=prefix_walk.share(scope.progress, number, turns),
        )


def totals(function: Callable, stacks: Sequence, scope: Scope, key: jax.Array | None = None):
    """The sum over parts of function(stack, inputs, labels[, key]), a tree of sums over examples.

    Float64 NumPy arrays led by S. Each part has a key of its own, the same for all networks.
    """
    found = collections.defaultdict(list)
    for walk in walks(stacks, scope):
        keys = () if key is None else (jax.random.fold_in(key, walk.part),)
        shared = (walk.inputs, walk.labels, *keys)
        sums = _each(function, stacks[walk.rows], scope.how, *shared)
        found[walk.rows.start].append(jax.tree.map(lambda a: np.asarray(a, np.float64), sums))
        if walk.progress is not None:
            walk.progress(1, 1)
    over_parts = [jax.tree.map(lambda *a: sum(a), *parts) for parts in found.values()]
    return jax.tree.map(lambda *a: np.concatenate(a), *over_parts)


def _each(function, stacks, how, *shared):
    if how == 'vmap':
        together = jax.tree.map(lambda *leaves: jnp.stack(leaves), *stacks)
        return jax.vmap(lambda stack: function(stack, *shared))(together)
    (stack,) = stacks
    return jax.tree.map(lambda array: array[None], function(stack, *shared))
