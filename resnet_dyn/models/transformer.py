"""A decoder: tokens and their places, layers of two blocks each, attention and MLP, a readout.

    pre_ln    h <- h + g c f(s norm(h))        c, s    fixed, by `branch_scales`, or c trained
    post_ln   h <- norm(h + g c f(h))          g       the gate

    attention   W softmax(q k^T / sqrt(D / heads)) v, of the tokens up to each one; q, k, v = h W
    mlp         W gelu(W h), 4 D units

norm is LayerNorm (`layer`) or RMSNorm (`layer_rms`) of each token by itself, in float32 or above;
nothing in it is averaged over training. With pre_ln there is one more before the readout. Depth
counts layers, so that L = 2 depth. Weights begin at variance 1 / fan_in, h_0 at 1 for each feature,
the readout at a standard deviation of 0.02: the first loss is about log V.

The network is a stack (`stack`), in training too. Variables are `params` and `gammas`, each a dict
of `stem`, `stage_0` and `head`; stage_0 holds `unit_0` (attention) and `unit_1` (MLP), led by a
layer axis.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from resnet_dyn.models import branch_scales, norms
from resnet_dyn.models import stack as stack_lib

READOUT = 0.02  # standard deviation of the initial readout, as in GPT-2
WIDER = 4  # units of an MLP over features
BASE = 10_000.0  # of rotary frequencies

_FACTOR = 'factor'  # beside the collections of variables: what is fixed


class Style(NamedTuple):
    """What all parts of one network have in common."""

    width: int
    heads: int
    block: str = 'pre_ln'
    norm: str = 'layer'
    positions: str = 'learned'
    gamma: float = 1.0
    zero_init: bool = False
    dtype: jnp.dtype = jnp.float32
    branch_scale: str = 'none'
    branch_scale_init: float = 0.0

    @property
    def scale(self) -> branch_scales.Kind:
        """The row of the table of what multiplies a branch, or its norm."""
        return branch_scales.KINDS[self.branch_scale]

    @property
    def normed(self) -> bool:
        """Whether there are norms."""
        return self.norm != 'none'


@dataclasses.dataclass(frozen=True)
class Transformer:
    """`init(key, tokens)` gives the variables; `apply(variables, tokens, gates)` the logits.

    `survival` is that of the last block in training, as of a `network.ResidualNetwork`.
    """

    depth: int
    classes: int  # V
    style: Style
    survival: float = 1.0

    def init(self, key, tokens) -> dict[str, Any]:
        """Variables for sequences as long as the tokens (B, T), of which only the shape is read."""
        keys, style = iter(jax.random.split(key, 7)), self.style
        D, n, V = style.width, self.depth, self.classes
        learned = style.positions == 'learned'
        std = math.sqrt(1 / 2) if learned else 1.0
        stem = {'tokens': {'embedding': std * jax.random.normal(next(keys), (V, D))}}
        if learned:
            places = std * jax.random.normal(next(keys), (tokens.shape[1], D))
            stem['positions'] = {'embedding': places}
        attention = {'qkv': _linear(next(keys), n, D, 3 * D), 'out': _linear(next(keys), n, D, D)}
        mlp = {
            'wide': _linear(next(keys), n, D, WIDER * D),
            'narrow': _linear(next(keys), n, WIDER * D, D),
        }
        readout = {'kernel': READOUT * jax.random.normal(next(keys), (D, V)), 'bias': jnp.zeros(V)}
        params = {
            'stem': stem,
            'stage_0': {'unit_0': attention, 'unit_1': mlp},
            'head': {'linear': readout},
        }
        gammas: dict[str, Any] = {'stage_0': {'unit_0': {}, 'unit_1': {}}}
        for unit in ('unit_0', 'unit_1'):
            here = gammas['stage_0'][unit]
            if style.normed:
                gamma = 0.0 if style.zero_init else style.gamma
                here['norm_0'] = {'gamma': jnp.full((n, D), gamma, jnp.float32)}
                params['stage_0'][unit] |= _norm_bias(style, (n, D), 'norm_0')
            if style.scale.trained:
                here['branch_scale'] = {
                    'gamma': jnp.full((n, 1), style.branch_scale_init, jnp.float32)
                }
        if style.normed and style.block == 'pre_ln':
            gammas['head'] = {'norm': {'gamma': jnp.full(D, style.gamma, jnp.float32)}}
            params['head'] |= _norm_bias(style, (D,), 'norm')
        there = style.normed or style.scale.trained
        return {'params': params, 'gammas': gammas} if there else {'params': params}

    def apply(self, variables, tokens, gates=None, train: bool = False, mutable=()):
        """Logits (B, T, V) of tokens (B, T) under gates (L,), None for all open.

        With any `mutable` collection, (logits, {}): there is nothing that changes in a pass.
        """
        gates = jnp.ones(self.num_blocks) if gates is None else gates
        logits = stack_lib.apply(self.stack(variables, train), tokens, gates)
        return (logits, {}) if mutable else logits

    def stack(self, variables, train: bool = False) -> stack_lib.ResidualStack:
        """The network as a stack; in training branches are not multiplied by their survival."""
        style, factors_L = self.style, self.branch_factors(train)
        branches = (Attention(style), Mlp(style))
        kinds = tuple(
            stack_lib.Stage(
                params=self._unit(variables, number, factors_L),
                branch=branch,
                length=self.depth,
                merge=PostNorm(style) if style.block == 'post_ln' else None,
            )
            for number, branch in enumerate(branches)
        )
        return stack_lib.ResidualStack(
            stem_params=_of(variables, 'stem'),
            stages=(stack_lib.Unit(kinds),),
            head_params=_of(variables, 'head'),
            stem=Embedding(style),
            head=Readout(style),
            names=self.block_names,
            groups=tuple((2 * l, 2 * l + 1) for l in range(self.depth)),
        )

    @property
    def num_blocks(self) -> int:
        """L, twice the number of layers."""
        return 2 * self.depth

    @property
    def block_names(self) -> tuple[str, ...]:
        """0.attention, 0.mlp, 1.attention, ..."""
        return tuple(f'{l}.{kind}' for l in range(self.depth) for kind in ('attention', 'mlp'))

    @property
    def survival_rates(self) -> np.ndarray:
        """p_l (L,), float64: the probability that block l = 1..L lives through a training step."""
        return branch_scales.survival_rates(self.survival, self.num_blocks)

    def branch_factors(self, train: bool = False) -> np.ndarray | None:
        """The fixed factors c_l (L,) of the branches, float32; None where all are 1."""
        return branch_scales.factors(self.style.scale, self.survival, self.num_blocks, train)

    def _unit(self, variables, number: int, factors_L) -> dict[str, Any]:
        """The parameters of one kind of block, with what is fixed of each."""
        params = {
            name: tree['stage_0'][f'unit_{number}']
            for name, tree in variables.items()
            if f'unit_{number}' in tree.get('stage_0', {})
        }
        fixed = {}
        if factors_L is not None:
            fixed['branch'] = stack_lib.array(factors_L[number::2])
        if self.style.scale.of_norm is not None:
            layers = np.arange(1.0, self.depth + 1)
            fixed['norm'] = stack_lib.array(self.style.scale.of_norm(layers).astype(np.float32))
        return params | ({_FACTOR: fixed} if fixed else {})


@dataclasses.dataclass(frozen=True)
class Embedding:
    """tokens (B, T) -> h_0 (B, T, D)."""

    style: Style

    def __call__(self, variables, tokens):
        params = variables['params']
        table_VD = params['tokens']['embedding']
        # a product, not a gather: sums of its gradient have one order on every device
        h = jax.nn.one_hot(tokens, len(table_VD), dtype=table_VD.dtype) @ table_VD
        if self.style.positions == 'learned':
            places_TD, T = params['positions']['embedding'], tokens.shape[1]
            if len(places_TD) < T:
                raise ValueError(
                    f'{T} tokens, and the network has learned {len(places_TD)} places: give '
                    'shorter sequences, or train one of positions=rotary'
                )
            h = h + places_TD[None, :T]
        return h.astype(self.style.dtype)


@dataclasses.dataclass(frozen=True)
class Attention:
    """f of the blocks that look at other tokens."""

    style: Style

    def __call__(self, variables, h):
        style, params = self.style, variables['params']
        x = _before(style, variables, h)
        shape = (*x.shape[:2], style.heads, style.width // style.heads)
        qkv = _dense(params['qkv'], x, style.dtype)
        query, key, value = (part.reshape(shape) for part in jnp.split(qkv, 3, axis=-1))
        if style.positions == 'rotary':
            query, key = turned(query), turned(key)
        mixed = jax.nn.dot_product_attention(query, key, value, is_causal=True)
        branch = _dense(params['out'], mixed.reshape(x.shape), style.dtype)
        return _after(style, variables, branch)


@dataclasses.dataclass(frozen=True)
class Mlp:
    """f of the blocks that look at each token by itself."""

    style: Style

    def __call__(self, variables, h):
        style, params = self.style, variables['params']
        wide = jax.nn.gelu(_dense(params['wide'], _before(style, variables, h), style.dtype))
        return _after(style, variables, _dense(params['narrow'], wide, style.dtype))


@dataclasses.dataclass(frozen=True)
class PostNorm:
    """The norm of a post_ln block, which merges."""

    style: Style

    def __call__(self, variables, total):
        return normed(self.style, variables, 'norm_0', total)


@dataclasses.dataclass(frozen=True)
class Readout:
    """h_L (B, T, D) -> logits (B, T, V), in float32 or above."""

    style: Style

    def __call__(self, variables, h):
        style = self.style
        if style.normed and style.block == 'pre_ln':
            h = normed(style, variables, 'norm', h)
        return stack_lib.precise(_dense(variables['params']['linear'], h, style.dtype))


def normed(style: Style, variables: Mapping[str, Any], name: str, h):
    """The norm of that name of each token (..., D), in float32 or above; same shape and dtype."""
    x = stack_lib.precise(h)
    if style.norm == 'layer':
        x = x - x.mean(-1, keepdims=True)
    x = x * lax.rsqrt((x**2).mean(-1, keepdims=True) + norms.EPSILON)
    x = x * _lift(variables['gammas'][name]['gamma'], x)
    if style.norm == 'layer':
        x = x + _lift(variables['params'][name]['bias'], x)
    return x.astype(h.dtype)


def turned(x_BTHD):
    """Queries or keys with their features i and i + D/2 turned by place / BASE^(2i/D)."""
    T, D = x_BTHD.shape[1], x_BTHD.shape[3]
    frequencies = BASE ** -(np.arange(0, D, 2) / D)
    angles = np.outer(np.arange(T), frequencies)[None, :, None].astype(np.float32)
    left, right = jnp.split(stack_lib.precise(x_BTHD), 2, axis=-1)
    cos, sin = np.cos(angles), np.sin(angles)
    both = jnp.concatenate([left * cos - right * sin, right * cos + left * sin], axis=-1)
    return both.astype(x_BTHD.dtype)


def _before(style: Style, variables, h):
    """What a branch is of: h, or its norm, multiplied by what is fixed."""
    if style.block == 'post_ln' or not style.normed:
        return h
    x = normed(style, variables, 'norm_0', h)
    factor = variables.get(_FACTOR, {}).get('norm')
    return x if factor is None else stack_lib.times(factor, x)


def _after(style: Style, variables, branch):
    """The branch by its scale, trained or fixed."""
    if style.scale.trained:
        branch = stack_lib.times(variables['gammas']['branch_scale']['gamma'][0], branch)
    factor = variables.get(_FACTOR, {}).get('branch')
    return branch if factor is None else stack_lib.times(factor, branch)


def _dense(params, x, dtype):
    return x.astype(dtype) @ params['kernel'].astype(dtype) + _lift(params['bias'], x).astype(dtype)


def _linear(key, layers: int, inputs: int, outputs: int) -> dict[str, Any]:
    kernel = jax.random.normal(key, (layers, inputs, outputs)) / math.sqrt(inputs)
    return {'kernel': kernel, 'bias': jnp.zeros((layers, outputs))}


def _norm_bias(style: Style, shape, name: str) -> dict[str, Any]:
    return {name: {'bias': jnp.zeros(shape)}} if style.norm == 'layer' else {}


def _lift(per_feature, x):
    return per_feature.reshape((1,) * (x.ndim - 1) + (-1,))


def _of(variables, name: str) -> dict[str, Any]:
    return {collection: tree[name] for collection, tree in variables.items() if name in tree}
