"""BERT, ViT and ResNets by what has to hold of them, beside the goldens."""

import json
import zlib

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from resnet_dyn import errors, pretrained
from resnet_dyn.models import stack
from resnet_dyn.pretrained import layouts, resnet, settings

SIZES = {
    'num_hidden_layers': 2,
    'hidden_size': 8,
    'num_attention_heads': 2,
    'intermediate_size': 12,
}
CONFIGS = {
    'bert': {'model_type': 'bert', 'vocab_size': 13, 'max_position_embeddings': 9, **SIZES},
    'vit': {'model_type': 'vit', 'image_size': [4, 6], 'patch_size': 2, **SIZES},
    'resnet18': {'architecture': 'resnet18', 'num_classes': 3},
}
TOKENS_BT = np.random.default_rng(1).integers(0, 13, (3, 7))
IMAGES = np.random.default_rng(2).normal(size=(2, 3, 4, 6)).astype(np.float32)


def drawn(config) -> dict[str, np.ndarray]:
    """Random weights under the names and in the shapes that the layout of a config asks for."""
    layout = layouts.find(config).layout(settings.Settings(config, 'c'), 'sublayers')
    wanted = {name: leaf.shape for leaf in jax.tree.leaves(layout.leaves) for name in leaf.names}

    def draw(name, shape):
        random = np.random.default_rng(zlib.crc32(name.encode()))
        values = random.standard_normal(shape, np.float32) / 2
        return abs(values) if name.endswith('running_var') else values

    return {name: draw(name, shape) for name, shape in wanted.items()}


def saved(folder, config, arrays):
    folder.mkdir(exist_ok=True)
    (folder / 'config.json').write_text(json.dumps(config))
    save_file(arrays, folder / 'model.safetensors')
    return folder


@pytest.fixture(scope='module')
def opened(tmp_path_factory):
    """opened(kind, blocks, **changes of the config): a network with random weights."""

    def of(kind, blocks='sublayers', **changes):
        config = CONFIGS[kind] | changes
        folder = saved(tmp_path_factory.mktemp(kind) / 'net', config, drawn(config))
        return pretrained.open(folder, blocks)

    return of


run = jax.jit(stack.apply)


def output(network, inputs, gates=None):
    gates = np.asarray(np.ones(network.net.num_blocks) if gates is None else gates, np.float32)
    return np.asarray(run(network.net, inputs, gates))


@pytest.mark.parametrize(('kind', 'array'), [('bert', TOKENS_BT), ('vit', IMAGES)])
def test_a_layer_is_its_two_sublayers(kind, array, opened):
    apart, whole = opened(kind), opened(kind, 'layers')
    assert apart.names == ('0.attention', '0.mlp', '1.attention', '1.mlp') == apart.net.names
    assert whole.names == ('0.layer', '1.layer') and whole.net.groups is None
    assert apart.net.groups == ((0, 1), (2, 3))
    one, two = (output(net, net.inputs(array)) for net in (whole, apart))
    np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5)


def test_a_deleted_sublayer_of_bert_leaves_its_norm_and_a_deleted_layer_nothing(opened):
    apart, whole = opened('bert'), opened('bert', 'layers')
    inputs = apart.inputs(TOKENS_BT)
    _, stem = jax.jit(stack.enter)(apart.net, inputs)
    np.testing.assert_allclose(output(whole, inputs, [0, 0]), stem, rtol=1e-5, atol=1e-6)
    h = np.asarray(stem)
    for i in range(2):
        for kind in apart.net.stages[0].stages:
            h = (h - h.mean(-1, keepdims=True)) / h.std(-1, keepdims=True)
            h = h * np.asarray(kind.params['norm']['w'][i]) + np.asarray(
                kind.params['norm']['b'][i]
            )
    np.testing.assert_allclose(output(apart, inputs, np.zeros(4)), h, rtol=1e-3, atol=1e-4)


def test_tokens_of_bert_are_of_type_0_unless_others_are_given(opened):
    network, zeros = opened('bert'), np.zeros(TOKENS_BT.shape, np.int32)
    inputs = network.inputs(TOKENS_BT)
    plain = output(network, inputs)
    np.testing.assert_array_equal(output(network, inputs | {'token_types': zeros}), plain)
    assert np.abs(output(network, inputs | {'token_types': zeros + 1}) - plain).max() > 0.01


def test_a_vit_without_a_classifier_gives_its_last_hidden_states(opened):
    base, whole = opened('vit', architectures=['ViTModel']), opened('vit')
    hidden = output(base, base.inputs(IMAGES))
    assert hidden.shape == (2, 1 + 2 * 3, 8)
    p = whole.net.head_params['classifier']
    logits = hidden[:, 0] @ np.asarray(p['w']).T + np.asarray(p['b'])
    np.testing.assert_allclose(output(whole, whole.inputs(IMAGES)), logits, rtol=1e-4, atol=1e-5)


def test_patches_of_a_vit_are_those_of_a_convolution(opened):
    network = opened('vit')
    p = network.net.stem_params
    found = np.asarray(jax.jit(network.net.stem)(p, IMAGES))[:, 1:] - np.asarray(p['place'])[1:]
    corners, over = [(y, x) for y in (0, 2) for x in (0, 2, 4)], (1, 2, 3)
    windows = [IMAGES[:, :, y : y + 2, x : x + 2] for y, x in corners]
    wanted = np.stack([np.tensordot(part, p['patch']['w'], (over, over)) for part in windows], 1)
    np.testing.assert_allclose(found, wanted + np.asarray(p['patch']['b']), rtol=1e-4, atol=1e-5)


@pytest.fixture(scope='module')
def torchvision18():
    """A ResNet-18 in the names of torchvision: (config, weights)."""
    return CONFIGS['resnet18'], drawn(CONFIGS['resnet18'])


@pytest.fixture(scope='module')
def folder18(torchvision18, tmp_path_factory):
    return saved(tmp_path_factory.mktemp('torchvision') / 'net', *torchvision18)


@pytest.fixture(scope='module')
def opened18(folder18):
    return pretrained.open(folder18)


TRANSFORMERS18 = {
    'model_type': 'resnet',
    'layer_type': 'basic',
    'depths': [2, 2, 2, 2],
    'hidden_sizes': [64, 128, 256, 512],
    'id2label': {'0': 'a', '1': 'b', '2': 'c'},
}


def test_a_resnet_by_its_names_in_transformers_is_that_of_torchvision(
    torchvision18, opened18, tmp_path
):
    _, arrays = torchvision18
    pairs = [
        ('fc.', 'classifier.1.'),
        ('conv1.', 'embedder.embedder.convolution.'),
        ('bn1.', 'embedder.embedder.normalization.'),
    ]
    for l in range(4):
        for b in range(2):
            ours, theirs = f'layer{l + 1}.{b}.', f'encoder.stages.{l}.layers.{b}.'
            for place in range(2):
                pairs.append((f'{ours}conv{place + 1}.', f'{theirs}layer.{place}.convolution.'))
                pairs.append((f'{ours}bn{place + 1}.', f'{theirs}layer.{place}.normalization.'))
            pairs.append((f'{ours}downsample.0.', f'{theirs}shortcut.convolution.'))
            pairs.append((f'{ours}downsample.1.', f'{theirs}shortcut.normalization.'))

    def renamed(name):
        ours, theirs = next(pair for pair in pairs if name.startswith(pair[0]))
        prefix = '' if ours == 'fc.' else 'resnet.'
        return f'{prefix}{theirs}{name.removeprefix(ours)}'

    other = {renamed(name): array for name, array in arrays.items()}
    one, two = opened18, pretrained.open(saved(tmp_path / 'transformers', TRANSFORMERS18, other))
    assert one.names == two.names == tuple(f'layer{l}.{b}' for l in (1, 2, 3, 4) for b in (0, 1))
    assert jax.tree.all(jax.tree.map(np.array_equal, one.net, two.net))
    image = np.random.default_rng(3).normal(size=(1, 3, 8, 10)).astype(np.float32)
    np.testing.assert_array_equal(one.inputs(image), two.inputs(image))
    np.testing.assert_array_equal(one.inputs(image)[0, 1, 2], image[0, :, 1, 2])


def test_gammas_of_a_resnet_are_gammas(torchvision18, opened18):
    _, arrays = torchvision18
    found = opened18.net.stages[1].params['gammas']['norm_1']['gamma']  # the first block of layer2
    np.testing.assert_array_equal(found, arrays['layer2.0.bn2.weight'][None])


@pytest.mark.parametrize(
    ('kind', 'changes', 'words'),
    [
        (
            'bert',
            {'position_embedding_type': 'relative_key'},
            "position_embedding_type='relative_k",
        ),
        ('bert', {'hidden_act': 'mish'}, "hidden_act='mish'.*one of 'gelu'"),
        ('bert', {'is_decoder': True}, 'is_decoder=True'),
        ('bert', {'num_attention_heads': 3}, 'a divisor of hidden_size=8'),
        ('vit', {'architectures': ['ViTForMaskedImageModeling']}, 'architectures='),
        ('vit', {'patch_size': 4}, r'patch_size=\(4, 4\).*divides image_size=\(4, 6\)'),
        ('vit', {'image_size': 'large'}, "image_size='large'.*a number of pixels"),
        ('resnet18', {'architecture': 'resnet50d'}, "'resnet50d'.*resnet18, resnet34"),
        ('resnet18', {'architecture': 'resnet34'}, r'lacks layer1\.2'),
        ('resnet18', {'num_classes': 10}, r'fc\.bias has shape \(3,\)'),
        ('resnet18', {'model_args': {'stem_type': 'deep'}}, "model_args={'stem_type': 'deep'}"),
        ('resnet18', {'global_pool': 'max'}, "global_pool='max'"),
    ],
)
def test_what_would_be_another_network_is_refused_by_its_name(
    kind, changes, words, folder18, tmp_path
):
    config = CONFIGS[kind] | changes
    if kind == 'resnet18':
        (tmp_path / 'model.safetensors').symlink_to(folder18 / 'model.safetensors')
        (tmp_path / 'config.json').write_text(json.dumps(config))
    else:
        saved(tmp_path, config, drawn(CONFIGS[kind]))
    with pytest.raises(errors.PretrainedError, match=words):
        pretrained.open(tmp_path)


def test_a_deep_stem_is_refused_by_its_tensors(torchvision18, tmp_path):
    config, arrays = torchvision18
    deep = {name: a for name, a in arrays.items() if name != 'conv1.weight'}
    deep |= {'conv1.0.weight': np.zeros((32, 3, 3, 3), np.float32)}
    with pytest.raises(errors.PretrainedError, match=r'lacks conv1\.weight.*has conv1\.0\.weight'):
        pretrained.open(saved(tmp_path / 'net', config, deep))


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        ({'downsample_in_bottleneck': True}, 'downsample_in_bottleneck=True'),
        ({'hidden_sizes': [32, 64, 128, 256]}, r'hidden_sizes=\[32'),
        ({'depths': [1, 2, 2, 2]}, r'depths=\[1, 2, 2, 2\]'),
    ],
)
def test_resnets_of_transformers_that_are_none_of_the_five_are_refused(change, words):
    values = settings.Settings(TRANSFORMERS18 | change, 'config.json')
    with pytest.raises(errors.PretrainedError, match=words):
        resnet.layout(values, 'layers')


def test_images_of_another_layout_size_or_kind_are_refused(opened):
    network = opened('vit')
    for images, words in (
        (IMAGES.transpose(0, 2, 3, 1), r'\(2, 4, 6, 3\): expected \(B, 3, 4, 6\)'),
        (IMAGES[:, :, :, :4], r'\(2, 3, 4, 4\): expected'),
        (IMAGES.astype(np.uint8), 'dtype uint8: expected floats'),
    ):
        with pytest.raises(errors.PretrainedError, match=words):
            network.inputs(images)
    config = CONFIGS['resnet18']
    with pytest.raises(errors.PretrainedError, match=r'\(2, 4, 6, 3\): expected \(B, 3, H, W\)'):
        layouts.find(config).inputs(config, IMAGES.transpose(0, 2, 3, 1), None)
    with pytest.raises(errors.PretrainedError, match='mask'):
        network.inputs(IMAGES, np.ones(2))
    with pytest.raises(errors.PretrainedError, match='the network has 9 positions'):
        opened('bert').inputs(np.zeros((1, 10), int))
