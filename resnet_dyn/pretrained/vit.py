"""ViT: pre-LN, a class token before the patches, learnt positions; images in, class logits out.

A file of the base model alone (`architectures` ViTModel) gives its last hidden states (B, T, D).
"""

import dataclasses

import jax.numpy as jnp

from resnet_dyn.models import stack
from resnet_dyn.pretrained import encoders, images, leaves, sublayers
from resnet_dyn.pretrained import settings as settings_lib

WHERE = 'encoder.layer.{}'
PARTS = {
    'attention': {
        'query': 'attention.attention.query',
        'key': 'attention.attention.key',
        'value': 'attention.attention.value',
        'out': 'attention.output.dense',
        'norm': 'layernorm_before',
    },
    'mlp': {'up': 'intermediate.dense', 'down': 'output.dense', 'norm': 'layernorm_after'},
}
CLASSIFIER, BASE = ['ViTForImageClassification'], ['ViTModel']
OF_HEADS = ('encoder_stride', 'pooler_act', 'pooler_output_size')
IMAGE, PATCH = ('image_size', 224), ('patch_size', 16)
PASSED_BY = (r'pooler\..*', r'embeddings\.mask_token')


def layout(settings: settings_lib.Settings, blocks: str) -> leaves.Layout:
    """Of a config.json whose `model_type` is vit."""
    block, layers = encoders.block_of(settings, post=False), settings.size('num_hidden_layers')
    width, channels = settings.size('hidden_size'), settings.size('num_channels', 3)
    has_classifier = settings.choice('architectures', (CLASSIFIER, BASE), CLASSIFIER) == CLASSIFIER
    without_bias = () if settings.flag('qkv_bias', True) else ('query', 'key', 'value')
    for name in OF_HEADS:
        settings.get(name)
    size, patch = (_sides(settings, *side) for side in (IMAGE, PATCH))
    if any(side % one for side, one in zip(size, patch, strict=True)):
        raise settings.error('patch_size', patch, f'what divides image_size={size}')
    places = 1 + (size[0] // patch[0]) * (size[1] // patch[1])
    where = 'embeddings'
    tree = {
        'stem': {
            'class': leaves.one(f'{where}.cls_token', 1, 1, width, take=(_first,)),
            'place': leaves.one(f'{where}.position_embeddings', 1, places, width, take=(_first,)),
            'patch': encoders.weights(
                f'{where}.patch_embeddings.projection', width, channels, *patch
            ),
        },
        'layers': encoders.layer_leaves(WHERE, PARTS, settings, without_bias),
        'head': {'norm': encoders.weights('layernorm', width)},
    }
    if has_classifier:
        tree['head']['classifier'] = encoders.weights('classifier', classes(settings), width)
    names = encoders.names(layers, blocks)

    def build(arrays) -> stack.ResidualStack:
        return stack.ResidualStack(
            arrays['stem'],
            encoders.stages(block, arrays['layers'], layers, blocks),
            arrays['head'],
            patches_of,
            Head(block.eps),
            names=names,
            groups=encoders.groups(layers, blocks),
        )

    return leaves.Layout(tree, build, names, ('vit.',), PASSED_BY)


def inputs(config: dict, array, mask=None):
    """Images (B, C, H, W) of the size that the config names, as they are given."""
    size = _pair(config.get(IMAGE[0], IMAGE[1]))
    return images.checked(array, mask, config.get('num_channels', 3), size)


def classes(settings: settings_lib.Settings) -> int:
    """The number of classes of a config: `num_labels`, or the names in `id2label`, else 2."""
    return settings.get('num_labels') or len(settings.mapping('id2label')) or 2


def patches_of(p, x):
    """The stem: (B, T, D), the class token, then the patches row by row, each times a matrix."""
    weight_DCPQ, bias_D = jnp.asarray(p['patch']['w']), jnp.asarray(p['patch']['b'])
    (B, C, H, W), (P, Q) = x.shape, weight_DCPQ.shape[2:]
    x = jnp.asarray(x, weight_DCPQ.dtype).reshape(B, C, H // P, P, W // Q, Q)
    h = jnp.einsum('bchpwq,dcpq->bhwd', x, weight_DCPQ).reshape(B, -1, len(bias_D))
    first = jnp.broadcast_to(p['class'][None], (B, 1, len(bias_D)))
    return jnp.concatenate([first, h + bias_D[None, None]], 1) + p['place'][None]


@dataclasses.dataclass(frozen=True)
class Head:
    """Class logits (B, K) of the first token; without a classifier the normed h (B, T, D)."""

    eps: float

    def __call__(self, p, h):
        if 'classifier' not in p:
            return sublayers.layer_norm(p['norm'], h, self.eps)
        h = sublayers.layer_norm(p['norm'], h[:, 0], self.eps)
        return sublayers.linear(p['classifier'], h)


def _sides(settings: settings_lib.Settings, name: str, default: int) -> tuple[int, int]:
    value = settings.get(name, default)
    if (pair := _pair(value)) is None:
        raise settings.error(name, value, 'a number of pixels, or a pair of them')
    return pair


def _pair(value) -> tuple[int, int] | None:
    """(rows, columns) of a side, or of a pair of them; None for what is neither."""
    sides = (value, value) if isinstance(value, int) else value
    pair = isinstance(sides, list | tuple) and len(sides) == 2
    return tuple(sides) if pair and all(isinstance(s, int) and s > 0 for s in sides) else None


def _first(array):
    return array[0]
