"""The compiled functions of a run: many steps of S networks, their evaluation, their record.

Many steps are one `fori_loop` with traced bounds, so that the length of a chunk neither compiles
anew nor changes a bit of the result. The loop carries the order of the epoch of each network,
drawn anew at the first step of an epoch by a `cond` on the step, which stands outside of what is
done for each network.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh

from resnet_dyn import config
from resnet_dyn.data import batches, datasets
from resnet_dyn.models import seed_axis
from resnet_dyn.training import dynamics, losses, optimizer, state, step, totals

EVALUATION_BATCH = 500


class Networks(NamedTuple):
    """What the loop carries, every leaf led by S."""

    state: state.State
    orders_SN: jax.Array  # int32, of the present epoch
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
        transform = optimizer.sgd(cfg.train, total_steps)
        self._mesh = mesh
        self._batch_size, self._size = cfg.train.batch_size, len(dataset.train.labels)
        self._test_size = len(dataset.test.labels)
        self._keys_S = seed_axis.place(state.keys(cfg), mesh, seed_axis.SPLIT)
        moves, shape = cfg.train.gammas, dataset.train.inputs.shape[1:]
        self._parts = (model, transform, moves, state.keys(cfg), shape)

        def share(split):
            return seed_axis.place(
                step.Data(split, dataset.mean, dataset.std), mesh, seed_axis.WHOLE
            )

        self._train = share(dataset.train)
        self._test = share(step.padded_batches(dataset.test, EVALUATION_BATCH))
        self._probe = share(dynamics.probe(dataset.train))

        def compiled(function):
            return jax.jit(seed_axis.over_devices(function, mesh))

        how = cfg.train.seed_axis
        objective, plain = losses.from_config(cfg.train), losses.without_smoothing(cfg.train)
        one_step = step.train_step(
            model, transform, objective, self._batch_size, cfg.data.augment, moves
        )
        self._advance = compiled(many_steps(one_step, how, self._batch_size))
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
        """The networks after the steps start .. stop - 1; where that is none, it only compiles."""
        shared = (self._train, np.int32(start), np.int32(stop))
        return self._advance((networks, self._keys_S), shared)

    def evaluate(self, networks: Networks) -> Evaluation:
        """The test set with running statistics, nothing smoothed; NaN where a loss is not finite.

        The loss is the mean over the examples; the median is that of an example in the middle.
        """
        sums, loss_SIB = jax.device_get(self._evaluate(networks.state.variables, self._test))
        loss_SN = loss_SIB.reshape(len(loss_SIB), -1)[:, : self._test_size]  # less the padding
        means = (np.float64(total_S) / self._test_size for total_S in sums)
        found = Evaluation(*means, np.median(loss_SN, axis=1))
        finite_S = np.isfinite(found.loss)
        return Evaluation(*(np.where(finite_S, values_S, np.nan) for values_S in found))

    def record(self, networks: Networks) -> dict[str, Any]:
        """`dynamics.record` of each network, S first."""
        return jax.device_get(self._record(networks.state.variables, self._probe))

    def clear(self, networks: Networks) -> Networks:
        """The networks with the sums of their totals at zero."""
        zeros_S = seed_axis.place(totals.zero(len(self._keys_S)).loss, self._mesh, seed_axis.SPLIT)
        return networks._replace(totals=networks.totals._replace(loss=zeros_S, accuracy=zeros_S))

    def take_out(self, networks: Networks, first_bad_S: np.ndarray) -> Networks:
        """The networks with NaN for all of those that were bad at some step, of these first ones.

        Not the finite values that one of them may have gone on with: they mean nothing.
        """
        bad_S, sums = first_bad_S != totals.NEVER, networks.totals
        now, loss_S, accuracy_S = jax.jit(_nan_where)(
            bad_S, (networks.state, sums.loss, sums.accuracy)
        )
        first_bad_S = first_bad_S.astype(np.int32)
        sums = totals.Totals(loss_S, accuracy_S, sums.last_finite, first_bad_S)
        networks = Networks(now, networks.orders_SN, sums)
        return seed_axis.place(networks, self._mesh, seed_axis.SPLIT)

    def _load(self, now: state.State, at: int, since: totals.Totals | None = None) -> Networks:
        since = totals.zero(len(self._keys_S)) if since is None else since
        epoch = at // (self._size // self._batch_size)
        orders_SN = jax.jit(epoch_orders, static_argnums=2)(self._keys_S, epoch, self._size)
        networks = Networks(now, orders_SN, since)
        return seed_axis.place(networks, self._mesh, seed_axis.SPLIT)


def many_steps(one_step: Callable, how: str, batch_size: int) -> Callable:
    """((Networks, keys_S), (data, start, stop)) -> Networks after the steps start .. stop - 1."""
    advance = seed_axis.each(one_step, how)

    def program(split, whole):
        (networks, keys_S), (data, start, stop) = split, whole
        size = data.split.labels.shape[0]
        steps_per_epoch = size // batch_size

        def body(t, networks: Networks) -> Networks:
            epoch, index = t // steps_per_epoch, t % steps_per_epoch
            orders_SN = lax.cond(
                index == 0,
                lambda orders_SN: epoch_orders(keys_S, epoch, size),
                lambda orders_SN: orders_SN,
                networks.orders_SN,
            )
            now = networks.state
            variables, momenta, metrics = advance(
                (now.variables, now.optimizer, keys_S, orders_SN), data, t, index
            )
            sums = totals.add(networks.totals, metrics.loss, metrics.accuracy, t)
            return Networks(state.State(variables, momenta), orders_SN, sums)

        return lax.fori_loop(start, stop, body, networks)

    return program


def epoch_orders(keys_S, epoch, size: int):
    """The orders (S, size) in which the networks see the training set in an epoch."""

    def order(key):
        return batches.epoch_order(jax.random.fold_in(key, state.ORDER), epoch, size)

    return jax.vmap(order)(keys_S)


def _nan_where(bad_S, tree):
    """The tree, every leaf led by S, with NaN for the floats of the networks that are bad."""

    def nan(leaf):
        if not jnp.issubdtype(leaf.dtype, jnp.inexact):
            return leaf
        return jnp.where(bad_S.reshape(-1, *[1] * (leaf.ndim - 1)), np.nan, leaf)

    return jax.tree.map(nan, tree)
