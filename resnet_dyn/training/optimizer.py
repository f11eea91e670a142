"""SGD with momentum, or AdamW, decay of weights and a learning rate over the length of the run.

    g_t = grad loss + decay w;   m_t = momentum m_{t-1} + g_t
    w_{t+1} = w_t - c rate(t) (g_t + momentum m_t)      Nesterov; plain momentum: - c rate(t) m_t

    m_t = beta_1 m_{t-1} + (1 - beta_1) grad;   v_t = beta_2 v_{t-1} + (1 - beta_2) grad^2
    w_{t+1} = w_t - c rate(t) (M_t / (sqrt(V_t) + 1e-8) + decay w_t)    AdamW

with M = m / (1 - beta_1^t), V = v / (1 - beta_2^t), t = 1, 2, .., beta_1 the `momentum`.

c is `gamma_rate` for gammas and 1 for all else: it multiplies the whole step, what the momentum
carries too. As in He et al. the decay of SGD is added to the gradient, so that the momentum and the
rate act on it too; that of AdamW is not. It acts on the kernels (all weights of dense and
convolutional layers, not what tokens and places are embedded by); biases, those of the norms too,
are never decayed, and of the gammas those that the config names. What does not move
at all (`state.trainable`) is no part of the tree.
"""

import operator

import jax
import jax.numpy as jnp
import optax

from resnet_dyn import config
from resnet_dyn.models import gammas

DROPS = {'steps': (1 / 2, 3 / 4), 'thirds': (1 / 3, 2 / 3, 8 / 9)}  # by `train.schedule`

_DECAYED = {  # a gamma, by whether it is the last of its branch
    'none': lambda last: False,
    'all': lambda last: True,
    'branch': lambda last: last,
    'other': operator.not_,
}


def from_config(train: config.Train, total_steps: int) -> optax.GradientTransformation:
    """The update rule of a resolved config, for the tree {'params': ..., 'gammas': ...}."""

    def mask(trainable):
        return is_decayed(trainable, train.decay_gammas)

    rate = learning_rate(train, total_steps)
    rules = [] if train.clip is None else [optax.clip_by_global_norm(train.clip)]
    if train.optimizer == 'adamw':
        moments = (train.momentum, train.beta_2)
        rules.append(optax.adamw(rate, *moments, weight_decay=train.weight_decay, mask=mask))
    else:
        rules.append(optax.add_decayed_weights(train.weight_decay, mask=mask))
        rules.append(optax.sgd(rate, train.momentum, train.nesterov))
    if train.gamma_rate != 1:
        rules.append(optax.masked(optax.scale(train.gamma_rate), _is_gamma))
    return optax.chain(*rules)


def learning_rate(train: config.Train, total_steps: int) -> optax.Schedule:
    """rate(t) = peak * min(1, (t + 1) / warmup) * shape(t / total_steps), t = 0, 1, ...

    shape: cosine, (1 + cos(pi u)) / 2; constant, 1; else a tenth of what it was from each of the u
    of `DROPS` on. A constant rate knows no length: runs of any are then one program.
    """

    def shape(t):
        if train.schedule == 'constant':
            return 1.0
        fraction = jnp.clip(t / max(total_steps, 1), 0.0, 1.0)
        if train.schedule == 'cosine':
            return (1 + jnp.cos(jnp.pi * fraction)) / 2
        dropped = sum(fraction >= at for at in DROPS[train.schedule])
        return jnp.take(jnp.array([1.0, 0.1, 0.01, 0.001]), dropped)

    def rate(t):
        ramp = jnp.minimum(1.0, (t + 1) / train.warmup) if train.warmup else 1.0
        return train.learning_rate * ramp * shape(t)

    return rate


def is_decayed(trainable, decay_gammas: str):
    """The tree of booleans that says which leaves the decay acts on, by `train.decay_gammas`."""
    params = jax.tree_util.tree_map_with_path(
        lambda path, _: path[-1].key == 'kernel', trainable['params']
    )
    if 'gammas' not in trainable:
        return {'params': params}
    last = gammas.is_last(trainable['gammas'])
    return {'params': params, 'gammas': jax.tree.map(_DECAYED[decay_gammas], last)}


def _is_gamma(trainable) -> dict[str, bool]:
    return {name: name == 'gammas' for name in trainable}
