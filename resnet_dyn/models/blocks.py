"""The residual block, h -> merge(skip(h) + gate * branch(h)), in the kinds of the literature.

    preact   branch = W relu(norm(h)), ...           merge = identity   He et al. 2016b
    postact  branch = norm(W h), relu between        merge = relu       He et al. 2015; Veit et al.
    paper    branch = norm(relu(W h)), ...           merge = identity   Littwin & Wolf eq 7, eq 20
    plain    as postact, without a skip

A branch has one layer in a fully connected net, two or three (bottleneck) in a ResNet. The gate
multiplies the whole branch, its biases too; gamma = 0 does not delete a block, gate = 0 does.
What makes a kind is one row of `KINDS`; stem, blocks, head and stacks read it there.
"""

from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp

from resnet_dyn.models import conv, norms
from resnet_dyn.models import stack as stack_lib


class Kind(NamedTuple):
    """How a kind of network puts weights, norm and relu together; words in the order of h."""

    stem: str  # the first layer
    branch: str  # each layer of a branch
    between: str = ''  # two layers of a branch
    head: str = ''  # before the classifier
    merge: Callable | None = None  # of skip + branch; None is the identity
    skippable: bool = True  # whether there is a skip
    norm_after_projection: bool = False


KINDS = {
    'preact': Kind(stem='weights', branch='norm relu weights', head='norm relu'),
    'postact': Kind(
        stem='weights norm relu',
        branch='weights norm',
        between='relu',
        merge=nn.relu,
        norm_after_projection=True,
    ),
    'paper': Kind(stem='weights relu norm', branch='weights relu norm'),
    'plain': Kind(
        stem='weights norm relu',
        branch='weights norm',
        between='relu',
        merge=nn.relu,
        skippable=False,
    ),
}


class Layer(NamedTuple):
    """One layer of weights: a k x k convolution, or a dense layer where `kernel` is 0."""

    features: int
    kernel: int = 0
    stride: int = 1


class Style(NamedTuple):
    """What all blocks, the stem and the head of one network have in common."""

    block: str
    norm: str = 'batch'
    gamma: float = 1.0
    zero_init: bool = False
    dtype: jnp.dtype = jnp.float32
    gradients: str = 'auto'

    @property
    def kind(self) -> Kind:
        """The row of the table."""
        return KINDS[self.block]


def in_order(words: str, h, train: bool, weights=None, norm=None):
    """h through `weights`, `norm` and `relu` in the order of the words."""
    for word in words.split():
        if word == 'weights':
            h = weights(h)
        elif word == 'norm':
            h = norm(h, train)
        else:
            h = nn.relu(h)
    return h


def linear(layer: Layer, style: Style, name: str | None = None) -> nn.Module:
    """The module of one layer of weights, without bias; initial weights N(0, 2 / fan_in)."""
    if layer.kernel:
        return conv.Convolution(
            layer.features, layer.kernel, layer.stride, style.gradients, style.dtype, name=name
        )
    return nn.Dense(
        layer.features,
        use_bias=False,
        dtype=style.dtype,
        kernel_init=nn.initializers.he_normal(),
        name=name,
    )


def norm(style: Style, name: str | None = None) -> norms.Norm:
    """The norm of a network's style."""
    return norms.Norm(style.norm, style.gamma, style.gradients, name=name)


class Block(nn.Module):
    """One block; `shortcut` is `identity`, `pad` (subsample, pad channels), or `projection`."""

    layers: tuple[Layer, ...]
    style: Style
    shortcut: str = 'identity'

    def setup(self):
        style = self.style
        last = len(self.layers) - 1
        # Where norms follow the weights, zero_init closes the branch by its last gamma; a preact
        # branch ends in weights, and its last gamma, the closest to the end, is the one.
        gammas = [0.0 if style.zero_init and i == last else style.gamma for i in range(last + 1)]
        self.linear = [linear(layer, style) for layer in self.layers]
        self.norm = [norm(style._replace(gamma=gamma)) for gamma in gammas]
        if self.shortcut == 'projection' and style.kind.skippable:
            self.shortcut_linear = linear(Layer(self.layers[-1].features, 1, self.stride), style)
            if style.kind.norm_after_projection:
                self.shortcut_norm = norm(style)

    @property
    def stride(self) -> int:
        """The stride of the whole block, which its shortcut has to take too."""
        return max(layer.stride for layer in self.layers)

    def __call__(self, h, gate, train: bool):
        """h (B, ..., C), gate a scalar or None (open) -> (the next h, None), as scan wants it."""
        kind = self.style.kind
        stage = stack_lib.Stage(
            params=None,  # bound to this module
            branch=lambda _, h: self.branch(h, train),
            length=1,
            skip=lambda _, h: self.skip(h, train),
            merge=kind.merge,
            skippable=kind.skippable,
        )
        return stack_lib.block(stage, None, h, gate), None

    def branch(self, h, train: bool):
        """The branch, before its gate."""
        kind = self.style.kind
        for i, (weights, norm) in enumerate(zip(self.linear, self.norm, strict=True)):
            if i:
                h = in_order(kind.between, h, train)
            h = in_order(kind.branch, h, train, weights, norm)
        return h

    def skip(self, h, train: bool):
        """The skip: h itself, or h brought to the branch's shape."""
        if self.shortcut == 'identity':
            return h
        if self.shortcut == 'pad':
            extra = self.layers[-1].features - h.shape[-1]
            widths = [(0, 0)] * (h.ndim - 1) + [(extra // 2, extra - extra // 2)]
            return jnp.pad(h[:, :: self.stride, :: self.stride], widths)
        h = self.shortcut_linear(h)
        return self.shortcut_norm(h, train) if self.style.kind.norm_after_projection else h
