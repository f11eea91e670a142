"""What gives the S networks of a run their batches, those of many steps a call.

    Resident    the training set on every device; each network draws an order of its own an epoch
    Streamed    batches read on the host, those of several steps put on the mesh at a time; all
                networks see the same ones, in an order that is a function of (data.seed, epoch)

A feed has a part on the host, `begin` and `chunks`, and a part within the compiled program, `renew`
and `batch`, pure functions of what they are given. Its position is the step of the run, nothing
else: a checkpoint of step t says where either goes on. One program serves chunks of any length.
"""

import contextlib
import itertools
import math
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np
from jax import lax
from jax.sharding import Mesh

from resnet_dyn.data import batches, splits
from resnet_dyn.models import placement
from resnet_dyn.training import state, step

STEPS, BYTES = 32, 2**28  # of the batches of a stream on the devices at a time: at most


class Feed(Protocol):
    """What `program` asks of a feed."""

    steps_per_epoch: int

    def begin(self, keys_S, at: int) -> Any:
        """What the program carries for the feed at step `at`, led by S; () for nothing."""

    def chunks(self, start: int, stop: int) -> Iterator[tuple[int, int, Any]]:
        """(first, last, examples on the mesh) that together are the steps start .. stop - 1.

        Where there are none of these, one with first = last, of the same shapes: it only compiles.
        """

    def renew(self, drawn, keys_S, examples, t) -> Any:
        """What is carried, at the beginning of step t."""

    def batch(self, drawn, examples, t) -> splits.Split:
        """The batch of step t of one network, whose part of what is carried is `drawn`."""

    def close(self) -> None:
        """Gives back what it holds open on the host."""


class Stream(Protocol):
    """Labelled examples that are read as they are needed, on the host.

    The inputs have one shape and dtype, not normalised. In every pass each example comes once.
    """

    size: int  # examples
    inputs: Any  # (N, ...): shape and dtype, and what it is indexed by is read
    labels: Any  # (N,) int32, the same

    def batches(self, start: int, batch_size: int, rows: slice) -> Iterator[splits.Split]:
        """Those of the steps start, start + 1, .. without end; of each batch only these `rows`.

        Step t is batch t % (size // batch_size) of epoch t // (size // batch_size); the examples
        that are left over sit the epoch out. The order of an epoch is a function of its number and
        of the seed of the data. A caller who stops early closes the iterator (a generator).
        """

    def padded(self, batch_size: int, rows: slice) -> Iterator[splits.Split]:
        """All examples once, in one order; the last batch filled up with any others."""


class Resident:
    """The training set whole on each device of a mesh; orders are drawn there."""

    def __init__(self, split: splits.Split, batch_size: int, mesh: Mesh):
        self._size, self._batch_size, self._mesh = len(split.labels), batch_size, mesh
        self._split = placement.place(splits.Split(*split), mesh, placement.WHOLE)
        self.steps_per_epoch = self._size // batch_size

    def begin(self, keys_S, at: int):
        """The orders (S, N) of the epoch of step `at`."""
        orders = jax.jit(epoch_orders, static_argnums=2)
        return orders(keys_S, at // self.steps_per_epoch, self._size)

    def chunks(self, start: int, stop: int):
        """All steps at once."""
        yield start, stop, self._split

    def renew(self, drawn, keys_S, examples, t):
        """The orders, drawn anew at the first step of an epoch."""
        return lax.cond(
            t % self.steps_per_epoch == 0,
            lambda orders_SN: epoch_orders(keys_S, t // self.steps_per_epoch, self._size),
            lambda orders_SN: orders_SN,
            drawn,
        )

    def batch(self, drawn, examples, t):
        """The batch of a network with the order `drawn` (N,)."""
        return batches.take(examples, drawn, t % self.steps_per_epoch, self._batch_size)

    def close(self) -> None:
        """Nothing is open."""


class Chunk(NamedTuple):
    """The batches of C steps."""

    split: splits.Split  # inputs (C, B, ...), labels (C, B)
    first: Any  # the step of the first


class Streamed:
    """The batches of a stream, those of `steps` steps on the mesh at a time, examples along `data`.

    Each process reads the rows that its devices hold. `steps` are at most `STEPS`, and no more
    than take `BYTES`, unless given.
    """

    def __init__(self, stream: Stream, batch_size: int, mesh: Mesh, steps: int | None = None):
        self._stream, self._batch_size, self._mesh = stream, batch_size, mesh
        self._steps = at_once(stream, batch_size) if steps is None else steps
        self._rows = placement.own_rows(batch_size, mesh)
        self._batches: Iterator[splits.Split] = iter(())
        self._at: int | None = None  # the step of the next of them
        self.steps_per_epoch = stream.size // batch_size

    def begin(self, keys_S, at: int):
        """Nothing: the order is the stream's."""
        return ()

    def chunks(self, start: int, stop: int):
        """`steps` at a time; the rest, and none, in arrays of the same shapes."""
        for first in range(start, max(stop, start + 1), self._steps):
            last = min(stop, first + self._steps)
            split = filled((self._next(t) for t in range(first, last)), self._empty())
            split = placement.place_rows(split, self._batch_size, self._mesh)
            yield first, last, Chunk(split, np.int32(first))

    def renew(self, drawn, keys_S, examples, t):
        """Nothing is carried."""
        return drawn

    def batch(self, drawn, examples: Chunk, t):
        """The batch of step t, the same for every network."""
        return jax.tree.map(
            lambda array: lax.dynamic_index_in_dim(array, t - examples.first, keepdims=False),
            examples.split,
        )

    def close(self) -> None:
        """Gives back what the open iterator holds."""
        _close(self._batches)
        self._batches, self._at = iter(()), None

    def _next(self, t: int) -> splits.Split:
        if self._at != t:
            self.close()
            self._batches = self._stream.batches(t, self._batch_size, self._rows)
        self._at = t + 1
        return next(self._batches)

    def _empty(self) -> splits.Split:
        return empty(self._stream, self._steps, self._rows)


def of(train, batch_size: int, mesh: Mesh) -> Feed:
    """The feed of a training set: `Resident` where it is a Split, else `Streamed`."""
    kind = Resident if isinstance(train, splits.Split) else Streamed
    return kind(train, batch_size, mesh)


class Padded:
    """A test set in batches, padded with examples of weight 0: `step.Padded` on a mesh, in pieces.

    Of a Split there is one piece, put there once; a stream is read anew every time.
    """

    def __init__(self, test, batch_size: int, mesh: Mesh):
        shards = mesh.shape[placement.DATA]
        self.size, self._test, self._mesh = _size(test), test, mesh
        self._batch_size = shards * -(-min(batch_size, self.size) // shards)
        if isinstance(test, splits.Split):
            padded = step.padded_batches(test, batch_size, shards)
            self._whole = placement.place(padded, mesh, placement.BATCHES)

    def pieces(self) -> Iterator[step.Padded]:
        """The pieces in order: of one shape, of at most as many batches as `at_once` says."""
        if isinstance(self._test, splits.Split):
            yield self._whole
            return
        B = self._batch_size
        total = -(-self.size // B)
        number = -(-total // -(-total // at_once(self._test, B)))  # no piece of padding alone
        rows = placement.own_rows(B, self._mesh)
        with contextlib.closing(self._test.padded(B, rows)) as found:
            for first in range(0, self.size, number * B):
                split = filled(itertools.islice(found, number), empty(self._test, number, rows))
                here = first + np.arange(number * B).reshape(number, B)[:, rows]
                padded = step.Padded(*split, (here < self.size).astype(np.float32))
                yield placement.place_rows(padded, B, self._mesh)


def at_once(stream: Stream, batch_size: int) -> int:
    """How many batches of a stream are put on a mesh at a time."""
    example = max(1, math.prod(stream.inputs.shape[1:]) * stream.inputs.dtype.itemsize)
    return max(1, min(STEPS, BYTES // (batch_size * example)))


def empty(stream: Stream, number: int, rows: slice) -> splits.Split:
    """The arrays of these rows of `number` batches, zeros."""
    shape, inputs = (number, rows.stop - rows.start), stream.inputs
    found = np.zeros((*shape, *inputs.shape[1:]), inputs.dtype)
    return splits.Split(found, np.zeros(shape, np.int32))


def filled(found: Iterable[splits.Split], arrays: splits.Split) -> splits.Split:
    """The arrays with the batches that are found in their first places."""
    for i, batch in enumerate(found):
        arrays.inputs[i], arrays.labels[i] = batch
    return arrays


def epoch_orders(keys_S, epoch, size: int):
    """The orders (S, size) in which the networks see the training set in an epoch."""

    def order(key):
        return batches.epoch_order(jax.random.fold_in(key, state.ORDER), epoch, size)

    return jax.vmap(order)(keys_S)


def _size(examples) -> int:
    return len(examples.labels) if isinstance(examples, splits.Split) else examples.size


def _close(iterator) -> None:
    if hasattr(iterator, 'close'):
        iterator.close()
