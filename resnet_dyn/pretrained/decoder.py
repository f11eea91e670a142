"""One decoder for all layouts: the block with its switches, and the stack that is made of it.

    attention:  h <- h + g a(norm(h))          norms before the sublayers (most)
    mlp:        h <- h + g m(norm(h))
    or          h <- h + g norm(a(h)), ...     norms after them (OLMo 2)
    parallel:   h <- h + g (a(norm(h)) + m(norm'(h)))    (Pythia)

Blocks are sublayers, or whole layers with the branch layer(h) - h. A parallel layer is one block;
as two, both have to see what came into the layer, so that the state carries that too: (h, x) side
by side, where attention is given h and puts it into x, and the MLP is given x. Deleting, weighing
and the gradients of blocks are exact that way; what compares states (block influence) sees both
halves, and an MLP before its attention (reordering) sees an older x.

Logits are given at every position, h_T as the reference library has it: position t is token t
whatever is padding.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from resnet_dyn.models import stack
from resnet_dyn.pretrained import leaves, rotary, sublayers


@dataclasses.dataclass(frozen=True)
class Kind:
    """The switches of a decoder."""

    heads: int  # H
    groups: int  # G: key and value heads, each shared by H / G heads
    norm: str  # 'layer' or 'rms'
    eps: float
    activation: str
    gated: bool = False  # act(W_g x) W_u x instead of act(W_u x)
    norm_after: bool = False  # of the sublayer
    parallel: bool = False  # attention and MLP of the same input
    scaled: bool = True  # scores by 1 / sqrt(d)
    turns: rotary.Rotary | None = None  # rotary positions
    query_key_norm: str | None = None  # 'head': over d; 'all': over all heads together


@dataclasses.dataclass(frozen=True)
class Context:
    """inputs {'tokens', 'mask'} -> what blocks know of them: the mask, and angles of positions."""

    turns: rotary.Rotary | None

    def __call__(self, inputs):
        mask_BT = jnp.asarray(inputs['mask'], bool)
        context = {'mask': mask_BT}
        if self.turns is not None:
            positions_BT = jnp.broadcast_to(jnp.arange(mask_BT.shape[1])[None], mask_BT.shape)
            context['angles'] = self.turns.angles(positions_BT)
        return context


@dataclasses.dataclass(frozen=True)
class Embedding:
    """tokens -> h_0 (B, T, D), with learned positions where there are any."""

    twice: bool = False  # the state of two blocks a parallel layer, (h, x)

    def __call__(self, p, inputs, context):
        h = jnp.asarray(p['token'])[inputs['tokens']]
        if 'place' in p:
            h = h + jnp.asarray(p['place'])[None, : h.shape[1]]
        return jnp.concatenate([h, h], -1) if self.twice else h


@dataclasses.dataclass(frozen=True)
class Attention:
    """The branch of attention, (B, T, D) -> (B, T, D)."""

    kind: Kind

    def __call__(self, p, h, context):
        kind, x = self.kind, _before(self.kind, p, h)
        query, key, value = (sublayers.linear(p[name], x) for name in ('query', 'key', 'value'))
        if kind.query_key_norm == 'all':
            query, key = self._normed(p, query, key)
        query = sublayers.heads(query, kind.heads)
        key, value = (sublayers.heads(a, kind.groups) for a in (key, value))
        if kind.query_key_norm == 'head':
            query, key = self._normed(p, query, key)
        if kind.turns is not None:
            query, key = (rotary.turn(a, context['angles']) for a in (query, key))
        scale = query.shape[-1] ** -0.5 if kind.scaled else 1.0
        scale = scale * p['scale'] if 'scale' in p else scale
        causal = jnp.tril(jnp.ones((h.shape[1],) * 2, bool))[None, None]
        visible = causal & context['mask'][:, None, None]
        out = sublayers.attend(query, key, value, visible, scale)
        return _after(kind, p, sublayers.linear(p['out'], out))

    def _normed(self, p, query, key):
        norm, eps = sublayers.NORMS[self.kind.norm], self.kind.eps
        return norm(p['query_norm'], query, eps), norm(p['key_norm'], key, eps)


@dataclasses.dataclass(frozen=True)
class Mlp:
    """The branch of the MLP, (B, T, D) -> (B, T, D)."""

    kind: Kind

    def __call__(self, p, h, context):
        x = _before(self.kind, p, h)
        act = sublayers.ACTIVATIONS[self.kind.activation]
        up = sublayers.linear(p['up'], x)
        up = act(sublayers.linear(p['gate'], x)) * up if self.kind.gated else act(up)
        return _after(self.kind, p, sublayers.linear(p['down'], up))


@dataclasses.dataclass(frozen=True)
class Layer:
    """The branch of a whole layer, layer(h) - h."""

    kind: Kind

    def __call__(self, p, h, context):
        attended = Attention(self.kind)(p['attention'], h, context)
        middle = h if self.kind.parallel else h + attended
        return attended + Mlp(self.kind)(p['mlp'], middle, context)


@dataclasses.dataclass(frozen=True)
class Beside:
    """A branch of one of two parallel blocks: of h or of x in the state (h, x), added to h."""

    branch: Callable
    half: int  # 0: h, 1: x

    def __call__(self, p, state, context):
        added = self.branch(p, jnp.split(state, 2, -1)[self.half], context)
        return jnp.concatenate([added, jnp.zeros_like(added)], -1)


def enter_layer(p, state, context):
    """The skip of attention in a state (h, x): h is what came into the layer, and becomes x."""
    h = jnp.split(state, 2, -1)[0]
    return jnp.concatenate([h, h], -1)


@dataclasses.dataclass(frozen=True)
class Logits:
    """h_L -> logits (B, T, V)."""

    kind: Kind
    twice: bool = False

    def __call__(self, p, h, context):
        h = jnp.split(h, 2, -1)[0] if self.twice else h
        norm = sublayers.NORMS[self.kind.norm]
        return sublayers.linear({'w': p['out']}, norm(p['norm'], h, self.kind.eps))


def build(kind: Kind, blocks: str, count: int, two: bool, tree: Any) -> stack.ResidualStack:
    """The stack of a tree {'stem', 'attention', 'mlp', 'head'} of arrays, over `count` layers."""
    attention, mlp = tree['attention'], tree['mlp']
    labels = names(kind, blocks, count, two)
    whole = len(labels) == count
    twice = kind.parallel and not whole
    if whole:
        params = {'attention': attention, 'mlp': mlp}
        stage = stack.Stage(params, Layer(kind), count)
    elif twice:
        stage = stack.Unit(
            (
                stack.Stage(attention, Beside(Attention(kind), 0), count, enter_layer),
                stack.Stage(mlp, Beside(Mlp(kind), 1), count),
            )
        )
    else:
        first = stack.Stage(attention, Attention(kind), count)
        stage = stack.Unit((first, stack.Stage(mlp, Mlp(kind), count)))
    return stack.ResidualStack(
        stem_params=tree['stem'],
        stages=(stage,),
        head_params=tree['head'],
        stem=Embedding(twice),
        head=Logits(kind, twice),
        make_context=Context(kind.turns),
        names=labels,
        groups=None if whole else tuple((2 * i, 2 * i + 1) for i in range(count)),
    )


def names(kind: Kind, blocks: str, count: int, two: bool = False) -> tuple[str, ...]:
    """Of the blocks: '0.attention', '0.mlp', ..., or '0.layer', ... where they are whole layers."""
    if blocks == 'layers' or (kind.parallel and not two):
        return tuple(f'{i}.layer' for i in range(count))
    return tuple(f'{i}.{part}' for i in range(count) for part in ('attention', 'mlp'))


def weights(name: str, count: int, outputs: int, inputs: int, bias: bool) -> dict:
    """Leaves of a linear map of each layer."""
    leaf = {'w': leaves.each(f'{name}.weight', count, outputs, inputs)}
    return leaf | ({'b': leaves.each(f'{name}.bias', count, outputs)} if bias else {})


def _before(kind: Kind, p, h):
    return h if kind.norm_after else sublayers.NORMS[kind.norm](p['norm'], h, kind.eps)


def _after(kind: Kind, p, x):
    return sublayers.NORMS[kind.norm](p['norm'], x, kind.eps) if kind.norm_after else x
