"""The compiled functions of a run: many steps of S networks, their evaluation, their record.

Many steps are one `fori_loop` with traced bounds, so that the length of a chunk neither compiles
anew nor changes a bit of the result. The loop carries what the `feed` carries, the order of the
epoch of each network, renewed outside of what is done for each network. The networks that go into
`advance` are donated: their memory is that of those that come out, and they are gone.
"""

import functools
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding

from resnet_dyn import config
from resnet_dyn.data import datasets
from resnet_dyn.models import placement, seed_axis
from resnet_dyn.training import dynamics, feed, losses, optimizer, state, step, totals

EVALUATION_BATCH = 500


class Networks(NamedTuple):
    """What the loop carries, every leaf led by S."""

    state: state.State
    drawn: Any  # what the feed carries: of `Resident` the orders (S, N) of the present epoch
    totals: totals.Totals


class Evaluation(NamedTuple):
    """Of S networks on the test set."""

    loss: np.ndarray  # (S,) mean over the examples
    accuracy: np.ndarray  # (S,)
    median_loss: np.ndarray  # (S,)


class Program:
    """The functions of a run, each compiled once, with its data on the devices of a mesh."""

    def __init__(
        self,
        cfg: config.Config,
        model: nn.Module,
        dataset: datasets.Dataset,
        total_steps: int,
        mesh: Mesh,
    ):
        """`cfg` has its `train.seed_axis` settled (`seed_axis.settle`)."""
        transform = optimizer.from_config(cfg.train, total_steps)
        self._mesh, self._split = mesh, NamedSharding(mesh, placement.SPLIT)
        self._feed = feed.of(dataset.train, cfg.train.batch_size, mesh)
        self._test = feed.Padded(dataset.test, EVALUATION_BATCH, mesh)
        self._keys_S = placement.place(state.keys(cfg), mesh, placement.SPLIT)
        self._norm = placement.place((dataset.mean, dataset.std), mesh, placement.WHOLE)
        probe = dynamics.probe(dataset.train)
        where = placement.of_examples(len(probe), mesh)
        self._probe = step.Data(placement.place(probe, mesh, where), *self._norm)
        moves = cfg.train.gammas
        self._parts = (model, transform, moves, state.keys(cfg), probe.shape[1:])

        def compiled(function, split=1, **options):
            over = placement.over_networks(function, mesh, split)
            return jax.jit(over, out_shardings=self._split, **options)

        how = cfg.train.seed_axis
        objective, plain = losses.from_config(cfg.train), losses.without_smoothing(cfg.train)

        def batch(drawn, examples, t):
            return placement.along_data(self._feed.batch(drawn, examples, t), mesh)

        augment = cfg.data.augment and not datasets.is_streamed(dataset)  # a stream is, by the host
        one_step = step.train_step(model, transform, objective, batch, augment, moves)
        self._advance = compiled(many_steps(one_step, how, self._feed.renew), 2, donate_argnums=0)
        self._evaluate = compiled(seed_axis.each(step.evaluation(model, plain), how))
        self._record = compiled(seed_axis.each(functools.partial(dynamics.record, model), how))

    def begin(self) -> Networks:
        """The networks at step 0."""
        return self._load(state.initial(*self._parts), 0)

    def restore(
        self, at: int, trees: Mapping[str, Any], since: totals.Totals | None = None
    ) -> Networks:
        """The networks of the checkpoint of step `at` (`state.to_trees`), with their totals."""
        return self._load(state.from_trees(trees, state.form(*self._parts)), at, since)

    def advance(self, networks: Networks, start: int, stop: int) -> Networks:
        """The networks after the steps start .. stop - 1; where that is none, it only compiles.

        Those that are given are gone.
        """
        for first, last, examples in self._feed.chunks(start, stop):
            shared = (step.Data(examples, *self._norm), np.int32(first), np.int32(last))
            networks = self._advance(networks, self._keys_S, shared)
        return networks

    def evaluate(self, networks: Networks) -> Evaluation:
        """The test set with running statistics, nothing smoothed; NaN where a loss is not finite.

        The loss is the mean over the examples; the median is that of an example in the middle.
        """
        size, variables = self._test.size, networks.state.variables
        found = [
            placement.gather(self._evaluate(variables, step.Data(padded, *self._norm)))
            for padded in self._test.pieces()
        ]
        sums, losses_SIB = zip(*found, strict=True)
        means = (np.float64(total_PS).sum(0) / size for total_PS in zip(*sums, strict=True))
        loss_SN = np.concatenate([loss.reshape(len(loss), -1) for loss in losses_SIB], axis=1)
        loss_SN = loss_SN[:, :size]  # less the padding
        found = Evaluation(*means, np.median(loss_SN, axis=1))
        finite_S = np.isfinite(found.loss)
        return Evaluation(*(np.where(finite_S, values_S, np.nan) for values_S in found))

    def close(self) -> None:
        """Gives back what the feed holds open."""
        self._feed.close()

    def record(self, networks: Networks) -> dict[str, Any]:
        """`dynamics.record` of each network, S first."""
        return placement.gather(self._record(networks.state.variables, self._probe))

    def lowered(
        self, names: Collection[str] = ('advance', 'evaluate', 'record')
    ) -> dict[str, jax.stages.Lowered]:
        """The functions of these names, traced for the shapes of the run; nothing is computed.

        It needs no data, where all was made within `placement.shapes_alone`.
        """
        with placement.shapes_alone():
            drawn = jax.eval_shape(lambda keys_S: self._feed.begin(keys_S, 0), self._keys_S)
            now, since = state.form(*self._parts), totals.zero(len(self._keys_S))
            networks = Networks(now, drawn, since)
            networks = placement.place(networks, self._mesh, placement.SPLIT)
            first, last, examples = next(iter(self._feed.chunks(0, 0)))
            padded = next(iter(self._test.pieces()))
        shared = (step.Data(examples, *self._norm), np.int32(first), np.int32(last))
        variables = networks.state.variables
        functions = {
            'advance': (self._advance, (networks, self._keys_S, shared)),
            'evaluate': (self._evaluate, (variables, step.Data(padded, *self._norm))),
            'record': (self._record, (variables, self._probe)),
        }
        return {name: functions[name][0].lower(*functions[name][1]) for name in names}

    def clear(self, networks: Networks) -> Networks:
        """The networks with the sums of their totals at zero."""
        zeros = totals.zero(len(self._keys_S))
        zeros = zeros.loss, zeros.accuracy
        loss_S, accuracy_S = placement.place(zeros, self._mesh, placement.SPLIT)
        return networks._replace(totals=networks.totals._replace(loss=loss_S, accuracy=accuracy_S))

    def take_out(self, networks: Networks, first_bad_S: np.ndarray) -> Networks:
        """The networks with NaN for all of those that were bad at some step, of these first ones.

        Not the finite values that one of them may have gone on with: they mean nothing.
        """
        bad_S, sums = first_bad_S != totals.NEVER, networks.totals
        taken_out = jax.jit(_nan_where, out_shardings=self._split)
        now, loss_S, accuracy_S = taken_out(bad_S, (networks.state, sums.loss, sums.accuracy))
        first_bad_S = placement.place(first_bad_S.astype(np.int32), self._mesh, placement.SPLIT)
        sums = totals.Totals(loss_S, accuracy_S, sums.last_finite, first_bad_S)
        return Networks(now, networks.drawn, sums)

    def _load(self, now: state.State, at: int, since: totals.Totals | None = None) -> Networks:
        since = totals.zero(len(self._keys_S)) if since is None else since
        networks = Networks(now, self._feed.begin(self._keys_S, at), since)
        return placement.place(networks, self._mesh, placement.SPLIT)


def many_steps(one_step: Callable, how: str, renew: Callable) -> Callable:
    """(Networks, keys_S, (data, start, stop)) -> Networks after the steps start .. stop - 1.

    `renew` is that of the feed.
    """
    advance = seed_axis.each(one_step, how)

    def program(networks: Networks, keys_S, shared) -> Networks:
        data, start, stop = shared

        def body(t, networks: Networks) -> Networks:
            now, drawn = networks.state, renew(networks.drawn, keys_S, data.split, t)
            variables, momenta, metrics = advance(
                (now.variables, now.optimizer, keys_S, drawn), data, t
            )
            sums = totals.add(networks.totals, metrics.loss, metrics.accuracy, t)
            return Networks(state.State(variables, momenta), drawn, sums)

        return lax.fori_loop(start, stop, body, networks)

    return program


def _nan_where(bad_S, tree):
    """The tree, every leaf led by S, with NaN for the floats of the networks that are bad."""

    def nan(leaf):
        if not jnp.issubdtype(leaf.dtype, jnp.inexact):
            return leaf
        return jnp.where(bad_S.reshape(-1, *[1] * (leaf.ndim - 1)), np.nan, leaf)

    return jax.tree.map(nan, tree)
