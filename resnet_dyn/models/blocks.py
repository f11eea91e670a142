"""The residual block, h -> merge(skip(h) + gate * branch(h)), in the kinds of the literature.

    preact   branch = W relu(norm(h)), ...           merge = identity   He et al. 2016b
    postact  branch = norm(W h), relu between        merge = relu       He et al. 2015; Veit et al.
    paper    branch = norm(relu(W h)), ...           merge = identity   Littwin & Wolf eq 7, eq 20
    plain    as postact, without a skip

A branch has one layer in a fully connected net, two or three (bottleneck) in a ResNet. The gate
multiplies the whole branch, its biases too; gamma = 0 does not delete a block, gate = 0 does.
"""

from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp

from resnet_dyn.models import conv, norms


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
        if self.shortcut == 'projection' and style.block != 'plain':
            self.shortcut_linear = linear(Layer(self.layers[-1].features, 1, self.stride), style)
            if style.block == 'postact':
                self.shortcut_norm = norm(style)

    @property
    def stride(self) -> int:
        """The stride of the whole block, which its shortcut has to take too."""
        return max(layer.stride for layer in self.layers)

    def __call__(self, h, gate, train: bool):
        """h (B, ..., C), gate a scalar or None (open) -> (the next h, None), as scan wants it."""
        total = self.branch(h, train)
        if gate is not None:
            total = gate.astype(total.dtype) * total
        if self.style.block != 'plain':
            total = self.skip(h, train) + total
        return self.merge(total), None

    def branch(self, h, train: bool):
        """The branch, before its gate."""
        kind = self.style.block
        for i, (weights, norm) in enumerate(zip(self.linear, self.norm, strict=True)):
            if kind == 'preact':
                h = weights(nn.relu(norm(h, train)))
            elif kind == 'paper':
                h = norm(nn.relu(weights(h)), train)
            else:
                h = norm(weights(nn.relu(h) if i else h), train)
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
        return self.shortcut_norm(h, train) if self.style.block == 'postact' else h

    def merge(self, h):
        """What follows the addition: ReLU for `postact` and `plain`, else nothing."""
        return nn.relu(h) if self.style.block in ('postact', 'plain') else h
