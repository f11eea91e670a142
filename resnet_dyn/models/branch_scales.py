"""What multiplies a whole branch, h -> merge(skip(h) + gate * scale_l * branch_l(h)), l = 1..L.

    none         1
    skipinit     alpha_l, trained, in the collection `gammas`    De & Smith 2020; ReZero
    sqrt_depth   1 / sqrt(L)
    depth        1 / L
    sqrt_index   1 / sqrt(l)                                     l counts through all stages
    norm_sqrt_index   1 / sqrt(l), of the norm that the branch begins with, l the layer: LayerNorm
                 scaling, Sun et al. 2025, 2502.05795; of the transformer alone
    fixup        alpha_l, trained, from 1                        Zhang et al. 2019, 1901.09321

A branch of m layers of weights begins in fixup with its first m - 1 scaled by L^(-1 / (2m - 2)) and
its last at 0, the classifier begins at 0, and a trained scalar bias, from 0, stands before each
layer of weights and each ReLU but for the first weights of the network, as in the authors' code: 2m
in a branch, of which a skip that changes the shape shares the one before the first weights. Here
weights are drawn by fan-in, not by fan-out, and scalars are trained at the rate of all others, not
at a tenth. Their blocks are our `postact`; in `preact` the biases stand by the same rule.

What makes a kind is one row of `KINDS`; networks, blocks and stacks read it there.
"""

from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from resnet_dyn.models import stack as stack_lib


class Kind(NamedTuple):
    """How a kind of scale makes the branches of a network."""

    constant: Callable | None = None  # of l (L,) and L, the fixed values (L,); None: all are 1
    trained: bool = False  # whether a branch has a scalar of its own
    of_norm: Callable | None = None  # of l (n,), the fixed values (n,) of norms of layers
    initial: float | None = None  # value of the scalar; None: the one that is asked for
    fixup: bool = False  # whether initial weights and biases are those of Zhang et al.


KINDS = {
    'none': Kind(),
    'skipinit': Kind(trained=True),
    'sqrt_depth': Kind(constant=lambda l, L: np.full(l.shape, L**-0.5)),
    'depth': Kind(constant=lambda l, L: np.full(l.shape, 1 / L)),
    'sqrt_index': Kind(constant=lambda l, L: l**-0.5),
    'norm_sqrt_index': Kind(of_norm=lambda l: l**-0.5),
    'fixup': Kind(trained=True, initial=1.0, fixup=True),
}


def constants(kind: Kind, L: int) -> np.ndarray:
    """The fixed values (L,) of the branches l = 1..L of a network, float64."""
    return np.ones(L) if kind.constant is None else kind.constant(np.arange(1.0, L + 1), L)


def survival_rates(survival: float, L: int) -> np.ndarray:
    """p_l (L,), float64, falling linearly to `survival` for the last of L blocks."""
    return 1 - np.arange(1, L + 1) / L * (1 - survival)


def factors(kind: Kind, survival: float, L: int, train: bool = False) -> np.ndarray | None:
    """The fixed factors c_l (L,) of branches, float32, by their survival too but in training.

    None where all are 1.
    """
    factors_L = constants(kind, L)
    if not train:
        factors_L = factors_L * survival_rates(survival, L)
    return None if (factors_L == 1).all() else factors_L.astype(np.float32)


def initial_gains(kind: Kind, L: int, layers: int) -> tuple[float, ...]:
    """What the initial weights of the `layers` of each of L branches are multiplied by."""
    if not kind.fixup:
        return (1.0,) * layers
    return (L ** (-1 / (2 * layers - 2)),) * (layers - 1) + (0.0,)


class Scale(nn.Module):
    """gamma * branch, with one trained number, which is a scale like those of norms."""

    initial: float

    @nn.compact
    def __call__(self, branch):
        """branch (B, ..., C) -> the same shape and dtype; gamma (1,) is float32."""
        gamma = self.variable('gammas', 'gamma', jnp.full, (1,), self.initial, jnp.float32)
        return stack_lib.times(gamma.value[0], branch)


class Bias(nn.Module):
    """h + bias, with one trained number for all channels, from 0."""

    @nn.compact
    def __call__(self, h):
        return h + self.param('bias', nn.initializers.zeros, (), jnp.float32).astype(h.dtype)
