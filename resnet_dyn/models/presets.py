"""The networks by name: the paper's fully connected net, ResNets, a transformer.

Each function gives a Flax module; `from_config` gives the one that a run's config names. The
shapes are those of He et al. 2015: 269,722 trainable values for ResNet-20, 25,557,032 for -50.
"""

import jax.numpy as jnp

from resnet_dyn import config
from resnet_dyn.models import blocks, branch_scales, network, transformer

Layer = blocks.Layer
StageSpec = network.StageSpec

_IMAGENET_LENGTHS = ((2, 2, 2, 2), (3, 4, 6, 3), (3, 4, 6, 3), (3, 4, 23, 3), (3, 8, 36, 3))
IMAGENET_STAGES = dict(zip(config.IMAGENET_DEPTHS, _IMAGENET_LENGTHS, strict=True))


def fully_connected(
    depth=10, width=100, classes=50, block='paper', norm='batch', survival=1.0, **options
):
    """The net of eq 7 (norm `none`) and eq 20: a stem of one layer and depth - 1 blocks of one.

    `depth` is the paper's p, the classifier not counted, so L = depth - 1. Inputs are flattened.
    `options` are those of `blocks.Style`: gamma, zero_init, dtype, gradients, branch_scale and
    branch_scale_init; `survival` is that of stochastic depth.
    """
    if depth < 2:
        raise ValueError(f'depth={depth} leaves no block: it must be at least 2')
    return network.ResidualNetwork(
        stem_layer=Layer(width),
        stages=(StageSpec(depth - 1, (Layer(width),)),),
        classes=classes,
        style=_style('fully_connected', block, norm, options),
        survival=_checked(survival),
    )


def cifar_resnet(
    depth=20,
    block='preact',
    norm='batch',
    width_multiplier=1,
    classes=10,
    survival=1.0,
    **options,
):
    """The 6n+2 ResNet for small images: three stages of n blocks of two 3x3 convolutions.

    16/32/64 channels times `width_multiplier`, the stem too; shortcuts without parameters
    (subsampled, channels padded with zeros); L = (depth - 2) / 2, 54 for ResNet-110.
    """
    config.check_depth('cifar_resnet', depth)
    stages = []
    for i, channels in enumerate((16, 32, 64)):
        features = channels * width_multiplier
        length = (depth - 2) // 6
        if i:
            down = (Layer(features, 3, 2), Layer(features, 3))
            stages.append(StageSpec(1, down, 'pad'))
            length -= 1
        if length:
            stages.append(StageSpec(length, (Layer(features, 3), Layer(features, 3))))
    return network.ResidualNetwork(
        stem_layer=Layer(16 * width_multiplier, 3),
        stages=tuple(stages),
        classes=classes,
        style=_style('cifar_resnet', block, norm, options),
        survival=_checked(survival),
    )


def imagenet_resnet(depth=50, block='postact', norm='batch', classes=1000, survival=1.0, **options):
    """ResNet-18/34 with basic blocks, -50/101/152 with bottlenecks; projection shortcuts.

    The stride of a bottleneck sits on its 3x3 convolution, as in today's implementations.
    """
    config.check_depth('imagenet_resnet', depth)
    bottleneck = depth >= 50
    stages = []
    for i, length in enumerate(IMAGENET_STAGES[depth]):
        features, stride = 64 * 2**i, 1 if i == 0 else 2
        changes = i > 0 or bottleneck
        if changes:
            stages.append(
                StageSpec(1, _imagenet_layers(features, stride, bottleneck), 'projection')
            )
        stages.append(StageSpec(length - changes, _imagenet_layers(features, 1, bottleneck)))
    return network.ResidualNetwork(
        stem_layer=Layer(64, 7, 2),
        stages=tuple(stages),
        classes=classes,
        style=_style('imagenet_resnet', block, norm, options),
        pool=True,
        survival=_checked(survival),
    )


def language_model(
    depth=6,
    width=64,
    heads=4,
    block='pre_ln',
    norm='layer',
    positions='learned',
    classes=256,
    survival=1.0,
    **options,
) -> transformer.Transformer:
    """The decoder of `transformer`: depth layers, of attention and MLP, so that L = 2 depth.

    `options` are those of `transformer.Style`: gamma, zero_init, dtype, branch_scale and
    branch_scale_init.
    """
    config.part(
        'model',
        {
            'family': 'transformer',
            'depth': depth,
            'width': width,
            'heads': heads,
            'block': block,
            'norm': norm,
            'positions': positions,
            **{name: options[name] for name in ('zero_init', 'branch_scale') if name in options},
        },
    )
    style = transformer.Style(width, heads, block, norm, positions, **options)
    return transformer.Transformer(depth, classes, style, _checked(survival))


def from_config(model: config.Model, classes: int, survival: float = 1.0):
    """The module that a resolved `config.Model` names, for a data set of so many classes.

    `survival` is that of the last block in the training of the network.
    """
    common = {
        'block': model.block,
        'norm': model.norm,
        'classes': classes,
        'gamma': model.gamma,
        'zero_init': model.zero_init,
        'dtype': jnp.dtype(model.dtype),
        'branch_scale': model.branch_scale,
        'branch_scale_init': model.branch_scale_init,
        'survival': survival,
    }
    if model.family == 'transformer':
        return language_model(
            model.depth, model.width, model.heads, positions=model.positions, **common
        )
    common['gradients'] = model.convolution
    if model.family == 'fully_connected':
        return fully_connected(depth=model.depth, width=model.width, **common)
    if model.family == 'cifar_resnet':
        return cifar_resnet(depth=model.depth, width_multiplier=model.width_multiplier, **common)
    return imagenet_resnet(depth=model.depth, **common)


def _imagenet_layers(features: int, stride: int, bottleneck: bool) -> tuple[Layer, ...]:
    if bottleneck:
        return (Layer(features, 1), Layer(features, 3, stride), Layer(4 * features, 1))
    return (Layer(features, 3, stride), Layer(features, 3))


def _style(family: str, block: str, norm: str, options) -> blocks.Style:
    if block not in blocks.KINDS:
        raise ValueError(f'block={block!r} is none of {", ".join(blocks.KINDS)}')
    if norm not in config.NORMS:
        raise ValueError(f'norm={norm!r} is none of {", ".join(config.NORMS)}')
    style = blocks.Style(block, norm, **options)
    if style.branch_scale not in branch_scales.KINDS:
        kinds = ', '.join(branch_scales.KINDS)
        raise ValueError(f'branch_scale={style.branch_scale!r} is none of {kinds}')
    config.check_branch_scale(family, block, norm, style.branch_scale)
    return style


def _checked(survival: float) -> float:
    if not 0 < survival <= 1:
        raise ValueError(f'survival={survival} is no probability in (0, 1]')
    return survival
