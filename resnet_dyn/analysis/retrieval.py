"""What an encoder of texts can be asked: which of the sequences this is, by its embedding.

    output_BN = e(h)_BE . e_NE / temperature,   e = mean of the hidden states over tokens, |e| = 1

e_NE are the embeddings of the N sequences by the whole network; the label of a sequence is its own
place. The loss is then the cross-entropy of telling it from the others, the error how often another
one is nearer. A network that is whole finds every sequence that is there once.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from resnet_dyn.models import stack as stack_lib

TEMPERATURE = 0.05  # of sentence embeddings, as they are trained


@dataclasses.dataclass(frozen=True)
class Similarities:
    """The head of a network for this question; its parameters are those of `head`, and e_NE."""

    head: Callable

    def __call__(self, params, h, context):
        own, embeddings_NE = params
        found_BE = embeddings(self.head(own, h, context), context['mask'])
        return found_BE @ embeddings_NE.T / TEMPERATURE


def embeddings(states_BTE, mask_BT):
    """Means over the tokens that count, of length 1, in float32 or above. (B, E)"""
    states_BTE = stack_lib.precise(states_BTE)
    mean_BE = (states_BTE * mask_BT[..., None]).sum(1) / jnp.maximum(mask_BT.sum(1), 1)[:, None]
    return mean_BE / jnp.maximum(jnp.linalg.norm(mean_BE, axis=-1, keepdims=True), 1e-12)


def among(net: stack_lib.ResidualStack, inputs, at_once: int) -> stack_lib.ResidualStack:
    """The network, asked which of these sequences {'tokens', 'mask'} it is given."""
    number = stack_lib.examples(inputs)
    parts = [
        _embedded(net, stack_lib.take(inputs, slice(start, start + at_once)))
        for start in range(0, number, at_once)
    ]
    return dataclasses.replace(
        net,
        head=Similarities(net.head),
        head_params=(net.head_params, jnp.concatenate(parts)),
    )


@jax.jit
def _embedded(net, inputs):
    states_BTE = stack_lib.apply(net, inputs, jnp.ones(stack_lib.num_blocks(net)))
    return embeddings(states_BTE, jnp.asarray(inputs['mask']))
