"""The residual block, h -> merge(skip(h) + gate * branch(h)), in the kinds of the literature.

    preact   branch = W relu(norm(h)), ...           merge = identity   He et al. 2016b
    postact  branch = norm(W h), relu between        merge = relu       He et al. 2015; Veit et al.
    paper    branch = norm(relu(W h)), ...           merge = identity   Littwin & Wolf eq 7, eq 20
    plain    as postact, without a skip

A branch has one layer in a fully connected net, two or three (bottleneck) in a ResNet. The gate
multiplies the whole branch, its biases too; gamma = 0 does not delete a block, gate = 0 does.
What makes a kind is one row of `KINDS`; stem, blocks, head and stacks read it there. What else
multiplies a branch is a kind of its own, of `branch_scales`.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp

from resnet_dyn.models import branch_scales, conv, norms
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

    @property
    def before_weights(self) -> int:
        """How many words but the norm stand before the first weights of a branch."""
        return _without_norm(self.branch).index('weights')


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
    branch_scale: str = 'none'
    branch_scale_init: float = 0.0

    @property
    def kind(self) -> Kind:
        """The row of the table."""
        return KINDS[self.block]

    @property
    def scale(self) -> branch_scales.Kind:
        """The row of the table of what multiplies a branch."""
        return branch_scales.KINDS[self.branch_scale]


def in_order(words: str, h, train: bool, weights=None, norm=None, biases: Iterable = ()):
    """h through `weights`, `norm` and `relu` in the order of the words.

    Of `biases`, functions of h, each word but the norm takes the next one first, while there are.
    """
    biases = iter(biases)
    for word in words.split():
        if word != 'norm':
            h = next(biases, _as_it_is)(h)
        if word == 'weights':
            h = weights(h)
        elif word == 'norm':
            h = norm(h, train)
        else:
            h = nn.relu(h)
    return h


def linear(layer: Layer, style: Style, name: str | None = None, gain: float = 1.0) -> nn.Module:
    """The module of one layer of weights, without bias; initial weights N(0, gain^2 2 / fan_in)."""
    if layer.kernel:
        return conv.Convolution(
            layer.features,
            layer.kernel,
            layer.stride,
            style.gradients,
            style.dtype,
            gain,
            name=name,
        )
    return nn.Dense(
        layer.features,
        use_bias=False,
        dtype=style.dtype,
        kernel_init=conv.initial_weights(gain),
        name=name,
    )


def norm(style: Style, name: str | None = None) -> norms.Norm:
    """The norm of a network's style."""
    return norms.Norm(style.norm, style.gamma, style.gradients, name=name)


def biases(style: Style, words: str, start: int = 0) -> Iterator[Callable]:
    """For `in_order`, in a compact module: the biases that its style has, from word `start` on."""
    number = len(_without_norm(words)) if style.scale.fixup else 0
    names = [f'bias_{i}' for i in range(number - start)]
    return iter([_as_it_is] * start + [branch_scales.Bias(name=name) for name in names])


class Block(nn.Module):
    """One block; `shortcut` is `identity`, `pad` (subsample, pad channels), or `projection`.

    `num_blocks` is that of the network, where initial values ask for it.
    """

    layers: tuple[Layer, ...]
    style: Style
    shortcut: str = 'identity'
    num_blocks: int = 1

    def setup(self):
        style = self.style
        last = len(self.layers) - 1
        # Where norms follow the weights, zero_init closes the branch by its last gamma; a preact
        # branch ends in weights, and its last gamma, the closest to the end, is the one.
        gammas = [0.0 if style.zero_init and i == last else style.gamma for i in range(last + 1)]
        gains = branch_scales.initial_gains(style.scale, self.num_blocks, len(self.layers))
        self.linear = [
            linear(layer, style, gain=gain) for layer, gain in zip(self.layers, gains, strict=True)
        ]
        self.norm = [norm(style._replace(gamma=gamma)) for gamma in gammas]
        if self.shortcut == 'projection' and style.kind.skippable:
            self.shortcut_linear = linear(Layer(self.layers[-1].features, 1, self.stride), style)
            if style.kind.norm_after_projection:
                self.shortcut_norm = norm(style)
        if style.scale.trained:
            initial = style.scale.initial
            self.branch_scale = branch_scales.Scale(
                style.branch_scale_init if initial is None else initial
            )
        biases = 2 * len(self.layers) if style.scale.fixup else 0
        self.bias = [branch_scales.Bias() for _ in range(biases)]

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
        """The branch, before its gate and what else is fixed."""
        kind, biases = self.style.kind, iter(self.bias)
        for i, (weights, norm) in enumerate(zip(self.linear, self.norm, strict=True)):
            if i:
                h = in_order(kind.between, h, train, biases=biases)
            h = in_order(kind.branch, h, train, weights, norm, biases)
        if self.style.scale.trained:
            h = self.branch_scale(h)
        return next(biases, _as_it_is)(h)  # one is left where a ReLU follows the sum

    def skip(self, h, train: bool):
        """The skip: h itself, or h brought to the branch's shape."""
        if self.shortcut == 'identity':
            return h
        if self.style.scale.fixup:
            h = self.bias[self.style.kind.before_weights](h)
        if self.shortcut == 'pad':
            extra = self.layers[-1].features - h.shape[-1]
            widths = [(0, 0)] * (h.ndim - 1) + [(extra // 2, extra - extra // 2)]
            return jnp.pad(h[:, :: self.stride, :: self.stride], widths)
        h = self.shortcut_linear(h)
        return self.shortcut_norm(h, train) if self.style.kind.norm_after_projection else h


def _without_norm(words: str) -> list[str]:
    return [word for word in words.split() if word != 'norm']


def _as_it_is(h):
    return h
