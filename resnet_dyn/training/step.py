"""One step of training, and one evaluation, of one network.

    logits, statistics = model(variables, augment(normalise(inputs)), gates)
    trainable_{t+1} = sgd(trainable_t, grad mean loss(logits, labels))

The gates are those of stochastic depth: a block is there for the whole batch or not at all, open
with the probability p_l of `model.survival_rates`; without it there are none.

Nothing here knows of seeds: `seed_axis` and `program` take these functions over S networks.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from resnet_dyn.data import batches, splits
from resnet_dyn.training import losses, state

Batch = Callable[..., splits.Split]  # (what the feed carries of a network, examples, t) -> Split


class Data(NamedTuple):
    """Labelled examples on the devices, with what normalises them."""

    split: Any  # the examples, as a feed has them; Padded where they are to be evaluated
    mean: jax.Array
    std: jax.Array


class Padded(NamedTuple):
    """A split cut into batches of one size, I of them, the last one padded with weight 0."""

    inputs: np.ndarray  # (I, B, ...)
    labels: np.ndarray  # (I, B)
    weights: np.ndarray  # (I, B)


class Metrics(NamedTuple):
    """Of one network: means over a batch, or sums over a test set."""

    loss: jax.Array
    accuracy: jax.Array


def train_step(
    model: nn.Module,
    transform: optax.GradientTransformation,
    loss: losses.Loss,
    batch: Batch,
    augment: bool,
    gammas: str,
) -> Callable:
    """A step as ((variables, optimizer, key, drawn), data, t) -> (variables, optimizer, Metrics).

    t is the step of the run, and `batch(drawn, data.split, t)` its batch. All means are over the
    whole of that batch, the statistics of norms too, on however many devices it lies. `gammas` is
    `train.gammas`: what moves (`state.trainable`).
    """

    def step(network, data: Data, t):
        variables, optimizer, key, drawn = network
        inputs, labels_B = batch(drawn, data.split, t)
        inputs = batches.normalise(inputs, data.mean, data.std)
        if augment:
            inputs = batches.augment(_at(key, state.AUGMENT, t), inputs)
        gates_L = None
        if model.survival < 1:
            gates_L = survivors(_at(key, state.SURVIVAL, t), model.survival_rates)

        def mean_loss(trainable):
            logits_BK, new = model.apply(
                state.merged(variables, trainable),
                inputs,
                gates_L,
                train=True,
                mutable=['batch_stats'],
            )
            accuracy = losses.correct(logits_BK, labels_B).mean()
            return loss(logits_BK, labels_B).mean(), (accuracy, new)

        trainable = state.trainable(variables, gammas)
        (value, (accuracy, new)), gradient = jax.value_and_grad(mean_loss, has_aux=True)(trainable)
        updates, optimizer = transform.update(gradient, optimizer, trainable)
        trainable = optax.apply_updates(trainable, updates)
        variables = state.merged({**variables, **new}, trainable)
        return variables, optimizer, Metrics(value, accuracy)

    return step


def survivors(key: jax.Array, rates_L) -> jax.Array:
    """The gates (L,) of a batch: 1 with the probability of the block, else 0."""
    return jax.random.bernoulli(key, jnp.asarray(rates_L)).astype(jnp.float32)


def evaluation(model: nn.Module, loss: losses.Loss) -> Callable:
    """An evaluation as (variables, data) -> (Metrics, loss_IB), `data` Padded, running statistics.

    The metrics are sums over the examples: loss, and the number that the network gets right.
    `loss_IB` is the loss of each example, that of the padding too.
    """

    def evaluate(variables, data: Data) -> tuple[Metrics, jax.Array]:
        def of_batch(batch: Padded):
            inputs = batches.normalise(batch.inputs, data.mean, data.std)
            logits_BK = model.apply(variables, inputs, train=False)
            loss_B = loss(logits_BK, batch.labels)
            correct_B = losses.correct(logits_BK, batch.labels)
            sums = Metrics((batch.weights * loss_B).sum(), (batch.weights * correct_B).sum())
            return sums, loss_B

        sums_I, loss_IB = lax.map(of_batch, data.split)
        return Metrics(sums_I.loss.sum(), sums_I.accuracy.sum()), loss_IB

    return evaluate


def padded_batches(split: splits.Split, batch_size: int, multiple: int = 1) -> Padded:
    """A split in batches of `batch_size`, or in one batch where it is smaller than that.

    The size of a batch is rounded up to a `multiple`.
    """
    size = split.labels.shape[0]
    batch_size = multiple * -(-min(batch_size, size) // multiple)
    number = -(-size // batch_size)

    def pad(array):
        missing = np.zeros((number * batch_size - size, *array.shape[1:]), array.dtype)
        return np.concatenate([array, missing]).reshape(number, batch_size, *array.shape[1:])

    return Padded(pad(split.inputs), pad(split.labels), pad(np.ones(size, np.float32)))


def _at(key: jax.Array, use: int, t) -> jax.Array:
    """The key of one use at one step (`state`)."""
    return jax.random.fold_in(jax.random.fold_in(key, use), t)
