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
from resnet_dyn.training import dynamics, losses, optimizer, state, step

NEVER = np.iinfo(np.int32).max
EVALUATION_BATCH = 500


class Totals(NamedTuple):
    """What the steps since the last training line add up to, a value a network."""

    loss: jax.Array  # (S,) sum over the steps
    accuracy: jax.Array  # (S,) sum over the steps
    last_finite: jax.Array  # (S,) the latest loss that was finite
    first_bad: jax.Array  # (S,) int32, the first step whose loss was NaN or Inf, else NEVER


class Networks(NamedTuple):
    """What the loop carries, every leaf led by S."""

    state: state.State
    orders_SN: jax.Array  # int32, of the present epoch
    totals: Totals


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
        self._parts = (model, transform, state.keys(cfg), dataset.train.inputs.shape[1:])

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
        one_step = step.train_step(model, transform, objective, self._batch_size, cfg.data.augment)
        self._advance = compiled(many_steps(one_step, how, self._batch_size))
        self._evaluate = compiled(seed_axis.each(step.evaluation(model, plain), how))
        self._record = compiled(seed_axis.each(functools.partial(dynamics.record, model), how))

    def begin(self) -> Networks:
        """The networks at step 0."""
        return self._load(state.initial(*self._parts), 0)

    def restore(self, at: int, trees: Mapping[str, Any]) -> Networks:
        """The networks of the checkpoint of step `at` (`state.to_trees`)."""
        return self._load(state.from_trees(trees, state.form(*self._parts)), at)

    def advance(self, networks: Networks, start: int, stop: int) -> Networks:
        """The networks after the steps start .. stop - 1; where that is none, it only compiles."""
        shared = (self._train, np.int32(start), np.int32(stop))
        return self._advance((networks, self._keys_S), shared)

    def evaluate(self, networks: Networks) -> step.Metrics:
        """Loss and accuracy (S,) on the test set, with running statistics, nothing smoothed."""
        sums = jax.device_get(self._evaluate(networks.state.variables, self._test))
        return step.Metrics(*(np.float64(total_S) / self._test_size for total_S in sums))

    def record(self, networks: Networks) -> dict[str, Any]:
        """`dynamics.record` of each network, S first."""
        return jax.device_get(self._record(networks.state.variables, self._probe))

    def clear(self, networks: Networks) -> Networks:
        """The networks with the sums of their totals at zero."""
        zeros_S = seed_axis.place(zero_totals(len(self._keys_S)).loss, self._mesh, seed_axis.SPLIT)
        return networks._replace(totals=networks.totals._replace(loss=zeros_S, accuracy=zeros_S))

    def _load(self, now: state.State, at: int) -> Networks:
        epoch = at // (self._size // self._batch_size)
        orders_SN = jax.jit(epoch_orders, static_argnums=2)(self._keys_S, epoch, self._size)
        networks = Networks(now, orders_SN, zero_totals(len(self._keys_S)))
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
            totals = _add(networks.totals, metrics, t)
            return Networks(state.State(variables, momenta), orders_SN, totals)

        return lax.fori_loop(start, stop, body, networks)

    return program


def epoch_orders(keys_S, epoch, size: int):
    """The orders (S, size) in which the networks see the training set in an epoch."""

    def order(key):
        return batches.epoch_order(jax.random.fold_in(key, state.ORDER), epoch, size)

    return jax.vmap(order)(keys_S)


def zero_totals(networks: int) -> Totals:
    """The totals of no step."""
    zeros_S = np.zeros(networks, np.float32)
    return Totals(zeros_S, zeros_S, zeros_S * np.nan, np.full(networks, NEVER, np.int32))


def _add(totals: Totals, metrics: step.Metrics, t) -> Totals:
    finite_S = jnp.isfinite(metrics.loss)
    return Totals(
        totals.loss + metrics.loss,
        totals.accuracy + metrics.accuracy,
        jnp.where(finite_S, metrics.loss, totals.last_finite),
        jnp.where(finite_S, totals.first_bad, jnp.minimum(totals.first_bad, t)),
    )
