"""The statistics of norms, made anew for networks as they are at one moment.

    E_i[statistics of batch i],   i over fixed batches of training inputs, each through the full net

Running averages hold values of earlier steps, and in the first hundred steps their start values
too: 0.9^t of a moment of 1 is left after t steps, which reads like a fall of depth that is not
there. What is estimated here depends on the parameters alone ("precise" batch normalisation; Wu &
Johnson 2021, arXiv 2105.07576), over batches of the size that the network was trained with.
"""

import jax
import jax.numpy as jnp
from jax import lax

from resnet_dyn.models import network, norms

STATISTICS = 'batch_stats'


@jax.jit(static_argnums=0)
def estimated(model: network.ResidualNetwork, variables, batches_IB):
    """The variables of one network with the mean of the statistics of I batches (I, B, ...).

    Variables without norms come back as they are. The variance is the mean of those of the
    batches, as in a running average. Of a network of stochastic depth they are those of the network
    as it is when nothing is trained, each branch at its survival rate.
    """
    if STATISTICS not in variables:
        return variables
    nothing = jax.tree.map(jnp.zeros_like, variables[STATISTICS])
    gates = None if model.survival == 1 else jnp.asarray(model.survival_rates, jnp.float32)

    def add(total, batch):
        _, new = model.apply(
            {**variables, STATISTICS: nothing}, batch, gates, train=True, mutable=[STATISTICS]
        )
        return jax.tree.map(jnp.add, total, new[STATISTICS]), None

    total, _ = lax.scan(add, nothing, batches_IB)
    share = (1 - norms.MOMENTUM) * len(batches_IB)  # what one batch adds to an average, I times
    return {**variables, STATISTICS: jax.tree.map(lambda sum: sum / share, total)}
