"""ResNet-18, -34, -50, -101 and -152 as torchvision, timm and transformers name their weights.

They become our own `presets.imagenet_resnet`, so that scales of norms are gammas: ReLU after the
sum, projection shortcuts, the stride of a bottleneck on its 3x3 convolution. config.json says what
a folder is of:

    timm           {"architecture": "resnet50", ...}, as it is published
    transformers   {"model_type": "resnet", ...}, as it is published
    torchvision    has none: write {"architecture": "resnet50"}, and "num_classes" if it is not 1000

Names and shapes of all weights are those of the preset, so that other stems, widths and groups
(resnet50d, wide_resnet50_2, resnext50) are refused by name.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from resnet_dyn.models import presets, stack
from resnet_dyn.pretrained import images, leaves, vit
from resnet_dyn.pretrained import settings as settings_lib

PARTS = {  # of a norm: the collection of ours, and its name there
    'weight': ('gammas', 'gamma'),
    'bias': ('params', 'bias'),
    'running_mean': ('batch_stats', 'mean'),
    'running_var': ('batch_stats', 'variance'),
}
CLASSIFIER = ['ResNetForImageClassification']
BUFFERS = (r'.*\.num_batches_tracked',)
OF_LABELS = ('label_names', 'label_descriptions')
CREATED = ('num_classes', 'in_chans', 'global_pool')  # timm's model_args that say nothing new


class Names(NamedTuple):
    """Patterns of (convolution, norm); layers and places in a block count from `first`."""

    stem: tuple[str, str]
    inner: tuple[str, str]
    shortcut: tuple[str, str]
    classifier: str
    first: tuple[int, int]


TORCHVISION = Names(  # and timm
    ('conv1', 'bn1'),
    ('layer{layer}.{block}.conv{place}', 'layer{layer}.{block}.bn{place}'),
    ('layer{layer}.{block}.downsample.0', 'layer{layer}.{block}.downsample.1'),
    'fc',
    (1, 1),
)
_BLOCK = 'encoder.stages.{layer}.layers.{block}'
TRANSFORMERS = Names(
    ('embedder.embedder.convolution', 'embedder.embedder.normalization'),
    (f'{_BLOCK}.layer.{{place}}.convolution', f'{_BLOCK}.layer.{{place}}.normalization'),
    (f'{_BLOCK}.shortcut.convolution', f'{_BLOCK}.shortcut.normalization'),
    'classifier.1',
    (0, 0),
)
DEPTHS = {  # by kind of block: lengths of the layers -> depth
    kind: {tuple(presets.IMAGENET_STAGES[depth]): depth for depth in depths}
    for kind, depths in (('basic', (18, 34)), ('bottleneck', (50, 101, 152)))
}


@dataclasses.dataclass(frozen=True)
class Published:
    """A ResNet of this depth whose config.json names it: `architecture` 'resnet50'."""

    depth: int

    def layout(self, settings: settings_lib.Settings, blocks: str) -> leaves.Layout:
        """That of timm's config.json, or of one that says no more than the architecture."""
        settings.choice('global_pool', ('avg',), 'avg')
        created = settings.mapping('model_args')
        if set(created) - set(CREATED):
            raise settings.error('model_args', created, f'those of {", ".join(CREATED)} alone')
        for name in ('architecture', 'num_features', 'pretrained_cfg', *OF_LABELS):
            settings.get(name)
        classes = settings.size('num_classes', 1000)
        return _layout(TORCHVISION, self.depth, classes, created.get('in_chans', 3))

    def inputs(self, config: dict, array, mask=None):
        """Images (B, C, H, W), normalised, as (B, H, W, C)."""
        channels = (config.get('model_args') or {}).get('in_chans', 3)
        return images.channels_last(array, mask, channels)


PUBLISHED = {depth: Published(depth) for depth in presets.IMAGENET_STAGES}


def layout(settings: settings_lib.Settings, blocks: str) -> leaves.Layout:
    """That of transformers: a config.json whose `model_type` is resnet."""
    settings.choice('architectures', (CLASSIFIER,), CLASSIFIER)
    settings.choice('hidden_act', ('relu',), 'relu')
    for name in ('downsample_in_first_stage', 'downsample_in_bottleneck'):
        settings.choice(name, (False,), False)
    for name in ('stage_names', 'out_features', 'out_indices'):  # of backbones
        settings.get(name)
    kind = settings.choice('layer_type', tuple(DEPTHS), 'bottleneck')
    lengths = settings.choice('depths', [list(lengths) for lengths in DEPTHS[kind]], [3, 4, 6, 3])
    widths = [64 * 2**i * (4 if kind == 'bottleneck' else 1) for i in range(4)]
    settings.choice('hidden_sizes', (widths,), [256, 512, 1024, 2048])
    settings.choice('embedding_size', (64,), 64)
    channels = settings.size('num_channels', 3)
    return _layout(TRANSFORMERS, DEPTHS[kind][tuple(lengths)], vit.classes(settings), channels)


def inputs(config: dict, array, mask=None):
    """Images (B, C, H, W), normalised, as (B, H, W, C)."""
    return images.channels_last(array, mask, config.get('num_channels', 3))


def _layout(patterns: Names, depth: int, classes: int, channels: int) -> leaves.Layout:
    model = presets.imagenet_resnet(depth, classes=classes)
    names = tuple(
        f'layer{i + 1}.{block}'
        for i, length in enumerate(presets.IMAGENET_STAGES[depth])
        for block in range(length)
    )

    def build(variables) -> stack.ResidualStack:
        dtype = variables['params']['stem']['linear']['kernel'].dtype
        typed = presets.imagenet_resnet(depth, classes=classes, dtype=dtype)
        return dataclasses.replace(stack.from_model(typed, variables), names=names)

    tree = _tree(model, patterns, classes, channels)
    return leaves.Layout(tree, build, names, ('resnet.',), BUFFERS)


def _tree(model, patterns: Names, classes: int, channels: int) -> dict:
    """The model's variables as leaves: collection, part of the network, module, array."""
    tree = {collection: {} for collection in ('params', 'gammas', 'batch_stats')}

    def add(where: str, found: '_Convolution', leaf: Callable) -> None:
        linear, norm = found.patterns
        kernel = leaf(f'{linear}.weight', *found.shape, take=(_rows_first,))
        tree['params'].setdefault(where, {})[found.linear] = {'kernel': kernel}
        for part, (collection, ours) in PARTS.items():
            module = tree[collection].setdefault(where, {}).setdefault(found.norm, {})
            module[ours] = leaf(f'{norm}.{part}', found.shape[0])

    stem = model.stem_layer
    shape = (stem.features, channels, stem.kernel, stem.kernel)
    add('stem', _Convolution('linear', 'norm', patterns.stem, shape), leaves.one)
    channels, layer, start = stem.features, patterns.first[0] - 1, 0
    for i, spec in enumerate(model.stages):
        if i == 0 or spec.shortcut == 'projection':
            layer, start = layer + 1, 0
        blocks = range(start, start + spec.length)
        for found in _convolutions(spec, patterns, channels):
            add(f'stage_{i}', found, functools.partial(_over, layer, blocks))
        channels, start = spec.layers[-1].features, blocks.stop
    tree['params']['head'] = {
        'linear': {
            'kernel': leaves.one(
                f'{patterns.classifier}.weight', classes, channels, take=(np.transpose,)
            ),
            'bias': leaves.one(f'{patterns.classifier}.bias', classes),
        }
    }
    return tree


class _Convolution(NamedTuple):
    """A convolution and its norm, by their names among our variables and in the file."""

    linear: str
    norm: str
    patterns: tuple[str, str]
    shape: tuple[int, ...]  # (out, in, k, k)


def _convolutions(spec: presets.StageSpec, names: Names, channels: int) -> Iterator[_Convolution]:
    """All of a block of a stage whose input has these channels."""
    if spec.shortcut == 'projection':
        shape = (spec.layers[-1].features, channels, 1, 1)
        yield _Convolution('shortcut_linear', 'shortcut_norm', names.shortcut, shape)
    for i, layer in enumerate(spec.layers):
        place = names.first[1] + i
        inner = tuple(name.replace('{place}', str(place)) for name in names.inner)
        shape = (layer.features, channels, layer.kernel, layer.kernel)
        yield _Convolution(f'linear_{i}', f'norm_{i}', inner, shape)
        channels = layer.features


def _over(layer: int, blocks: range, pattern: str, *shape: int, take=None) -> leaves.Leaf:
    """The tensors of the blocks of a stage, stacked."""
    names = tuple(pattern.format(layer=layer, block=block) for block in blocks)
    return leaves.Leaf(names, shape, take, stacked=True)


def _rows_first(kernel):
    return kernel.transpose(2, 3, 1, 0)  # OIHW -> HWIO
