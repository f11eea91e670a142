"""What is recorded of one network while it trains: gammas, the weight norm, second moments.

gammas         mean and standard deviation over channels of |gamma|, by block and scale
weight norm    sqrt(sum of w^2) over all kernels of the network
moments        mean squares of g_l branch_l(h_l) and of skip_l(h_l) on a fixed probe batch of
               training inputs, statistics of that batch: their ratio is the block's power gain
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from resnet_dyn.data import batches, splits
from resnet_dyn.models import gammas, stack
from resnet_dyn.training import step

PROBE_SIZE = 256
PROBE_SEED = 0


def probe(train):
    """The inputs of the probe batch: PROBE_SIZE examples with every class at its share, or all.

    `train` is a Split, or a stream (`feed.Stream`).
    """
    return splits.subset(train, PROBE_SIZE, PROBE_SEED).inputs


def record(model: nn.Module, variables, data: step.Data) -> dict:
    """The record of one network on the probe inputs `data.split`, a dict of arrays:

    weight_norm (), branch_moment (L,), skip_moment (L,); with gammas also gamma_mean, gamma_std
    (L,) of each branch's last scale; norm_gamma_mean, norm_gamma_std {norm_0: (L,), ...} of each
    of its scales, branch_scale too; stem_gamma_mean, stem_gamma_std () where the stem has a norm.
    """
    inputs = batches.normalise(data.split, data.mean, data.std)
    moments = stack.second_moments(stack.from_model(model, variables, 'batch'), inputs)
    found = {
        'weight_norm': weight_norm(variables['params']),
        'branch_moment': moments.branch,
        'skip_moment': moments.skip,
    }
    if 'gammas' in variables:
        found |= _gammas(variables['gammas'])
    return found


def weight_norm(params):
    """sqrt(sum of w^2) over the kernels of one network; biases are left out."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(params)
    return jnp.sqrt(sum((leaf**2).sum() for path, leaf in leaves if path[-1].key == 'kernel'))


def _gammas(tree) -> dict:
    mean_L, std_L = gammas.mean_abs(tree)
    found = {'gamma_mean': mean_L, 'gamma_std': std_L}
    blocks = [{name: jnp.abs(g) for name, g in b.items()} for b in gammas.by_block(tree)]
    for statistic in ('mean', 'std'):
        found[f'norm_gamma_{statistic}'] = {
            name: jnp.stack([getattr(block[name], statistic)() for block in blocks])
            for name in blocks[0]
        }
    if 'norm' in tree.get('stem', {}):
        stem = jnp.abs(tree['stem']['norm']['gamma'])
        found |= {'stem_gamma_mean': stem.mean(), 'stem_gamma_std': stem.std()}
    return found
