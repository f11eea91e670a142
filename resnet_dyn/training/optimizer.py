"""SGD with (Nesterov) momentum, L2 decay and a learning rate over the length of the run.

    g_t = grad loss + decay w;   m_t = momentum m_{t-1} + g_t
    w_{t+1} = w_t - rate(t) (g_t + momentum m_t)        Nesterov; plain momentum: - rate(t) m_t

As in He et al. the decay is added to the gradient, so that the momentum and the rate act on it
too. It acts on the kernels (all weights of dense and convolutional layers); biases, those of the
norms too, are never decayed, and gammas only where the config asks.
"""

import jax
import jax.numpy as jnp
import optax

from resnet_dyn import config


def sgd(train: config.Train, total_steps: int) -> optax.GradientTransformation:
    """The update rule of a resolved config, for the tree {'params': ..., 'gammas': ...}."""
    return optax.chain(
        optax.add_decayed_weights(
            train.weight_decay, mask=lambda trainable: is_decayed(trainable, train.decay_gammas)
        ),
        optax.sgd(learning_rate(train, total_steps), train.momentum, train.nesterov),
    )


def learning_rate(train: config.Train, total_steps: int) -> optax.Schedule:
    """rate(t) = peak * min(1, (t + 1) / warmup) * shape(t / total_steps), t = 0, 1, ...

    shape: cosine, (1 + cos(pi u)) / 2; steps, 1 then 0.1 from u = 1/2 and 0.01 from u = 3/4;
    constant, 1.
    """

    def rate(t):
        fraction = jnp.clip(t / max(total_steps, 1), 0.0, 1.0)
        if train.schedule == 'cosine':
            shape = (1 + jnp.cos(jnp.pi * fraction)) / 2
        elif train.schedule == 'steps':
            shape = jnp.where(fraction < 0.5, 1.0, jnp.where(fraction < 0.75, 0.1, 0.01))
        else:
            shape = 1.0
        ramp = jnp.minimum(1.0, (t + 1) / train.warmup) if train.warmup else 1.0
        return train.learning_rate * ramp * shape

    return rate


def is_decayed(trainable, decay_gammas: bool):
    """The tree of booleans that says which leaves the decay acts on."""

    def decayed(path, _):
        if path[0].key == 'gammas':
            return decay_gammas
        return path[-1].key == 'kernel'

    return jax.tree_util.tree_map_with_path(decayed, trainable)
