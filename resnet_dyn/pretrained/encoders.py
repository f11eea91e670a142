"""The block of encoders, in which every token sees every other: attention, then an MLP.

    pre-LN   h_{l+1} = h_l + g_l f_l(norm_l(h_l))       ViT
    post-LN  h_{l+1} = norm_l(h_l + g_l f_l(h_l))       BERT: the norm is the merge

Of whole layers f(h) = layer(h) - h, in post-LN with both norms inside, so that a deleted layer
leaves h as it is; a deleted sublayer leaves norm_l(h_l). h is (B, T, D). Functions take a block's
parameters, h, and the context where the stack has one: its `mask` (B, T) is False at padding.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import jax.numpy as jnp

from resnet_dyn.models import stack
from resnet_dyn.pretrained import leaves, sublayers
from resnet_dyn.pretrained import settings as settings_lib


@dataclasses.dataclass(frozen=True)
class Block:
    """What all blocks of an encoder have in common."""

    heads: int
    activation: str
    eps: float
    post: bool  # whether norms stand after the sums

    def attention(self, p, h, context):
        """The branch of an attention."""
        x = self._before(p, h)
        query, key, value = (
            sublayers.heads(sublayers.linear(p[name], x), self.heads)
            for name in ('query', 'key', 'value')
        )
        visible = jnp.ones((1, 1, 1, 1), bool)
        if context is not None:
            visible = context['mask'][:, None, None]
        out = sublayers.attend(query, key, value, visible, query.shape[-1] ** -0.5)
        return sublayers.linear(p['out'], out)

    def mlp(self, p, h):
        """The branch of an MLP."""
        act = sublayers.ACTIVATIONS[self.activation]
        return sublayers.linear(p['down'], act(sublayers.linear(p['up'], self._before(p, h))))

    def after(self, p, total):
        """What follows the sum of skip and branch."""
        return sublayers.layer_norm(p['norm'], total, self.eps) if self.post else total

    def _before(self, p, h):
        return h if self.post else sublayers.layer_norm(p['norm'], h, self.eps)


@dataclasses.dataclass(frozen=True)
class Attention:
    """An attention as the branch of a block."""

    block: Block

    def __call__(self, p, h, context=None):
        return self.block.attention(p, h, context)


@dataclasses.dataclass(frozen=True)
class Mlp:
    """An MLP as the branch of a block."""

    block: Block

    def __call__(self, p, h, context=None):
        return self.block.mlp(p, h)


@dataclasses.dataclass(frozen=True)
class Layer:
    """A whole layer as the branch of a block: layer(h) - h."""

    block: Block

    def __call__(self, p, h, context=None):
        block, first, second = self.block, p['attention'], p['mlp']
        attended = block.attention(first, h, context)
        middle = block.after(first, h + attended)
        mlp = block.mlp(second, middle)
        return block.after(second, middle + mlp) - h if block.post else attended + mlp


@dataclasses.dataclass(frozen=True)
class Norm:
    """The merge of a post-LN block."""

    block: Block

    def __call__(self, p, total, context=None):
        return self.block.after(p, total)


def stages(block: Block, params, layers: int, blocks: str) -> tuple:
    """The stages of so many layers, `params` = {'attention': ..., 'mlp': ...} led by them."""
    if blocks == 'layers':
        return (stack.Stage(params, Layer(block), layers),)
    merge = Norm(block) if block.post else None
    kinds = (params['attention'], Attention(block)), (params['mlp'], Mlp(block))
    return (stack.Unit(tuple(stack.Stage(p, f, layers, None, merge) for p, f in kinds)),)


def names(layers: int, blocks: str) -> tuple[str, ...]:
    """Of the blocks, in order."""
    kinds = ('layer',) if blocks == 'layers' else ('attention', 'mlp')
    return tuple(f'{i}.{kind}' for i in range(layers) for kind in kinds)


def groups(layers: int, blocks: str) -> tuple[tuple[int, ...], ...] | None:
    """The blocks of each layer; None where they are layers."""
    return None if blocks == 'layers' else tuple((2 * i, 2 * i + 1) for i in range(layers))


def block_of(settings: settings_lib.Settings, post: bool) -> Block:
    """The block of a config.json, in the names that BERT and ViT share."""
    width = settings.size('hidden_size')
    return Block(
        settings.divisor('num_attention_heads', 'hidden_size', width),
        settings.choice('hidden_act', sublayers.ACTIVATIONS, 'gelu'),
        settings.number('layer_norm_eps', 1e-12),
        post,
    )


def layer_leaves(
    where: str,
    parts: Mapping[str, Mapping[str, str]],
    settings: settings_lib.Settings,
    without_bias: Sequence[str] = (),
) -> dict:
    """The leaves of all layers: {'attention': {'query': {'w': ..., 'b': ...}, ...}, 'mlp': ...}.

    `where` is a layer in the file, {} its number; `parts` has for 'attention' and 'mlp' the file's
    name of each part.
    """
    layers, width = settings.size('num_hidden_layers'), settings.size('hidden_size')
    wide = settings.size('intermediate_size')
    shapes = {'up': (wide, width), 'down': (width, wide), 'norm': (width,)}

    def part(ours, theirs):
        shape, name = shapes.get(ours, (width, width)), f'{where}.{theirs}'
        found = {'w': leaves.each(f'{name}.weight', layers, *shape)}
        if ours not in without_bias:
            found['b'] = leaves.each(f'{name}.bias', layers, shape[0])
        return found

    return {
        kind: {ours: part(ours, theirs) for ours, theirs in names.items()}
        for kind, names in parts.items()
    }


def weights(name: str, *shape: int) -> dict[str, leaves.Leaf]:
    """The leaves of one linear map (outputs, ...), or of one norm (width,)."""
    return {'w': leaves.one(f'{name}.weight', *shape), 'b': leaves.one(f'{name}.bias', shape[0])}
