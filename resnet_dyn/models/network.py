"""A residual network: a stem, stages of equal blocks that are stacked and scanned, and a head.

    h_0 = stem(x);  h_{l+1} = merge(skip_l(h_l) + g_l c_l branch_l(h_l));  logits = head(h_L)

with gates g_l and fixed factors c_l, 1 unless the branch's scale is fixed (`branch_scales`) or the
network is one of stochastic depth (Huang et al. 2016), where a branch lives through a training step
with the probability p_l, and is multiplied by it whenever nothing is trained:

    p_l = 1 - (l / L) (1 - survival),   l = 1..L

Variables are `params`, `gammas` (the scales of norms, and of branches where they are trained) and
`batch_stats`, each a dict of `stem`, `stage_0`, `stage_1`, ... and `head`; what belongs to blocks
has a leading block axis.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from resnet_dyn.models import blocks, branch_scales

UNROLLED = 4  # blocks; a short stage is 6 % faster without a loop on the CPU, compile time alike


class StageSpec(NamedTuple):
    """`length` equal blocks in a row."""

    length: int
    layers: tuple[blocks.Layer, ...]
    shortcut: str = 'identity'


class Stem(nn.Module):
    """The first layer: weights, then norm and ReLU in the order of the block kind.

    A preact net's stem is linear: its first block begins with a norm of its own.
    """

    layer: blocks.Layer
    style: blocks.Style
    pool: bool = False

    @nn.compact
    def __call__(self, x, train: bool):
        x = x.astype(self.style.dtype)
        if not self.layer.kernel:
            x = x.reshape(x.shape[0], -1)
        weights = blocks.linear(self.layer, self.style, name='linear')
        norm = blocks.norm(self.style, name='norm')
        words = self.style.kind.stem
        biases = blocks.biases(self.style, words, start=1)  # none before the first weights
        h = blocks.in_order(words, x, train, weights, norm, biases)
        if self.pool:
            h = nn.max_pool(h, (3, 3), (2, 2), ((1, 1), (1, 1)))
        return h


class Head(nn.Module):
    """What the kind ends with, mean over the image, and the classifier with its bias."""

    classes: int
    style: blocks.Style

    @nn.compact
    def __call__(self, h, train: bool):
        norm = blocks.norm(self.style, name='norm')
        words, fixup = self.style.kind.head, self.style.scale.fixup
        biases = blocks.biases(self.style, f'{words} weights')
        h = blocks.in_order(words, h, train, norm=norm, biases=biases)
        if h.ndim == 4:
            h = h.mean((1, 2))
        initial = nn.initializers.zeros if fixup else nn.linear.default_kernel_init
        weights = nn.Dense(self.classes, dtype=self.style.dtype, kernel_init=initial, name='linear')
        logits = blocks.in_order('weights', h, train, weights, biases=biases)
        return logits.astype(jnp.promote_types(logits.dtype, jnp.float32))


class Parts(NamedTuple):
    """The modules of a network, unbound: what a stack is built of."""

    stem: Stem
    blocks: tuple[blocks.Block, ...]  # one a stage
    head: Head


class ResidualNetwork(nn.Module):
    """`init(key, x)` gives the variables; `apply(variables, x, gates=None, train=False)` logits.

    `survival` is that of the last block in the training; where it is below 1 the gates of a
    training step are its draws, and every other pass multiplies branches by `survival_rates`.
    """

    stem_layer: blocks.Layer
    stages: tuple[StageSpec, ...]
    classes: int
    style: blocks.Style
    pool: bool = False
    survival: float = 1.0

    def setup(self):
        self.stem = Stem(self.stem_layer, self.style, self.pool)
        self.stage = [
            stacked(spec, self.style, self.num_blocks, self.is_initializing())
            for spec in self.stages
        ]
        self.head = Head(self.classes, self.style)

    def __call__(self, x, gates=None, train: bool = False):
        """x (B, D) or (B, H, W, C) normalised floats; gates (L,) or None, all open -> (B, K).

        Raises ValueError where `gates` is not of shape (L,).
        """
        gates = None if gates is None else jnp.asarray(gates)
        if gates is not None and gates.shape != (self.num_blocks,):
            raise ValueError(
                f'gates have shape {gates.shape}, and this net has L={self.num_blocks}'
            )
        factors = self.branch_factors(train)
        if factors is not None:
            gates = jnp.asarray(factors) if gates is None else gates * factors
        h = self.stem(x, train)
        start = 0
        for spec, stage in zip(self.stages, self.stage, strict=True):
            here = None if gates is None else gates[start : start + spec.length]
            if here is not None and spec.length == 1:
                here = here[0]
            h, _ = stage(h, here, train)
            start += spec.length
        return self.head(h, train)

    @property
    def num_blocks(self) -> int:
        """L, the number of blocks."""
        return sum(spec.length for spec in self.stages)

    @property
    def block_names(self) -> tuple[str, ...]:
        """stage_0.0, stage_0.1, ...: the blocks as their variables have them."""
        stages = enumerate(self.stages)
        return tuple(f'stage_{i}.{l}' for i, spec in stages for l in range(spec.length))

    @property
    def survival_rates(self) -> np.ndarray:
        """p_l (L,), float64: the probability that branch l = 1..L lives through a training step."""
        return branch_scales.survival_rates(self.survival, self.num_blocks)

    @nn.nowrap
    def branch_factors(self, train: bool = False) -> np.ndarray | None:
        """The fixed factors c_l (L,) of the branches, float32; None where all are 1."""
        return branch_scales.factors(self.style.scale, self.survival, self.num_blocks, train)

    @nn.nowrap
    def parts(self, gradients: str | None = None) -> Parts:
        """The modules of which this network is made, with these gradients or its own."""
        style = self.style if gradients is None else self.style._replace(gradients=gradients)
        return Parts(
            Stem(self.stem_layer, style, self.pool),
            tuple(blocks.Block(spec.layers, style, spec.shortcut) for spec in self.stages),
            Head(self.classes, style),
        )


def stacked(spec: StageSpec, style: blocks.Style, num_blocks: int, initializing: bool) -> nn.Module:
    """The blocks of a stage over their stacked variables: a scan, or one block as it is.

    A block that changes the shape of h is a stage of length 1, which no scan could carry.
    """
    collections = ('params', 'gammas', 'batch_stats')
    if spec.length == 1:
        lifted = nn.map_variables(
            blocks.Block,
            collections,
            trans_in_fn=lambda tree: jax.tree.map(lambda a: a[0], tree),
            trans_out_fn=lambda tree: jax.tree.map(lambda a: a[None], tree),
            init=initializing,
            mutable=True,
        )
    else:
        lifted = nn.scan(
            blocks.Block,
            variable_axes=dict.fromkeys(collections, 0),
            split_rngs={'params': True},
            in_axes=(0, nn.broadcast),
            unroll=spec.length if spec.length <= UNROLLED else 1,
            length=spec.length,
        )
    return lifted(spec.layers, style, spec.shortcut, num_blocks)
