"""Folders that cannot be opened are refused before an array is read, each in one paragraph."""

import json
import pathlib
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from resnet_dyn import errors, pretrained
from resnet_dyn.pretrained import arrays as arrays_lib
from resnet_dyn.pretrained import layouts, settings

CONFIG = {
    'model_type': 'llama',
    'vocab_size': 11,
    'hidden_size': 8,
    'intermediate_size': 12,
    'num_hidden_layers': 2,
    'num_attention_heads': 2,
    'rope_theta': 100.0,
}
LAYER = {
    'input_layernorm': (8,),
    'post_attention_layernorm': (8,),
    **{f'self_attn.{name}_proj': (8, 8) for name in 'qkvo'},
    **{f'mlp.{name}_proj': (12, 8) for name in ('gate', 'up')},
    'mlp.down_proj': (8, 12),
}
SHAPES = {
    'model.embed_tokens.weight': (11, 8),
    'model.norm.weight': (8,),
    'lm_head.weight': (11, 8),
    **{f'model.layers.{i}.{n}.weight': shape for i in range(2) for n, shape in LAYER.items()},
}
INDEX = 'model.safetensors.index.json'


def weights(dtype=np.float32) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {name: random.normal(size=shape).astype(dtype) for name, shape in SHAPES.items()}


@pytest.fixture(scope='module')
def sound(tmp_path_factory):
    folder = tmp_path_factory.mktemp('sound')
    (folder / 'config.json').write_text(json.dumps(CONFIG))
    save_file(weights(), folder / 'model.safetensors')
    return folder


@pytest.fixture
def folder(sound, tmp_path):
    return pathlib.Path(shutil.copytree(sound, tmp_path / 'folder'))


def shard(folder: pathlib.Path) -> None:
    """The same weights in two files."""
    arrays = load_file(folder / 'model.safetensors')
    (folder / 'model.safetensors').unlink()
    files = {name: f'model-{1 + i % 2}.safetensors' for i, name in enumerate(sorted(arrays))}
    for file in set(files.values()):
        save_file({n: a for n, a in arrays.items() if files[n] == file}, folder / file)
    (folder / INDEX).write_text(json.dumps({'weight_map': files}))


def with_config(**values):
    def spoil(folder):
        kept = {name: v for name, v in {**CONFIG, **values}.items() if v is not ...}
        (folder / 'config.json').write_text(json.dumps(kept))

    return spoil


def with_weights(change):
    def spoil(folder):
        arrays = load_file(folder / 'model.safetensors')
        save_file(change(arrays), folder / 'model.safetensors')

    return spoil


def written(name, content):
    return lambda folder: (folder / name).write_bytes(content)


def pickles(folder):
    (folder / 'model.safetensors').rename(folder / 'pytorch_model.bin')


def cut(folder):
    content = (folder / 'model.safetensors').read_bytes()
    (folder / 'model.safetensors').write_bytes(content[:-5])


def shard_missing(folder):
    shard(folder)
    (folder / 'model-2.safetensors').unlink()


def shard_of_another(folder):
    shard(folder)
    arrays = load_file(folder / 'model-2.safetensors')
    save_file(dict(list(arrays.items())[1:]), folder / 'model-2.safetensors')


NORM = 'model.norm.weight'
FAULTS = {
    'no folder': (shutil.rmtree, 'is no folder'),
    'no config': (lambda f: (f / 'config.json').unlink(), 'no config.json'),
    'no JSON': (written('config.json', b'{'), 'cannot be read: JSONDecodeError'),
    'no object': (written('config.json', b'[]'), 'holds list'),
    'no weights': (lambda f: (f / 'model.safetensors').unlink(), 'has no weights'),
    'pickle alone': (pickles, 'pytorch_model.bin alone: a pickle runs code.*never loaded'),
    'cut': (cut, 'no whole safetensors file.*fetch it again'),
    'empty': (written('model.safetensors', b''), r'no whole safetensors file \(0 bytes\)'),
    'LFS': (written('model.safetensors', b'version https://git-lfs'), 'pointer of Git LFS'),
    'shard missing': (shard_missing, 'lacks 1 of the 2 shards.*model-2.safetensors'),
    'index of another': (shard_of_another, 'model-2.safetensors lacks the tensor'),
    'no map': (lambda f: (shard(f), (f / INDEX).write_text('{}')), 'has no weight_map'),
    'a map of numbers': (
        lambda f: (shard(f), (f / INDEX).write_text('{"weight_map": {"wte.weight": [3]}}')),
        'has no weight_map',
    ),
    'unknown type': (with_config(model_type='mamba'), "'mamba'.*gpt2, gpt_neox, llama.*adapter"),
    'type of another type': (with_config(model_type=['llama']), r"model_type=\['llama'\]"),
    'activation of another type': (with_config(hidden_act={}), 'hidden_act={}'),
    'no type': (with_config(model_type=...), 'model_type=None.*gpt2.*adapter'),
    'activation': (with_config(hidden_act='gelu_strange'), "hidden_act='gelu_strange'.*'silu'"),
    'rope type': (
        with_config(rope_scaling={'rope_type': 'yarn', 'factor': 2.0}),
        "rope_scaling='yarn'.*default, linear, llama3",
    ),
    'rope words': (
        with_config(rope_scaling={'type': 'linear', 'factor': 2.0, 'bend': 1.0}),
        'positive numbers for factor and nothing else',
    ),
    'new setting': (with_config(logit_softcap=30.0), 'logit_softcap=30.0.*ignore=.*logit_softcap'),
    'misspelt setting': (with_config(atention_bias=True), 'it knows attention_bias'),
    'wrong kind': (with_config(num_hidden_layers='two'), "'two'.*a whole number of at least 1"),
    'layers without end': (with_config(num_hidden_layers=10**30), 'expected at most 10000'),
    'groups': (with_config(num_key_value_heads=3), 'num_key_value_heads=3.*divisor'),
    'quantised': (with_config(quantization_config={'bits': 4}), "quantization_config.*'bits': 4"),
    'window': (
        with_config(
            model_type='qwen2', use_sliding_window=True, max_window_layers=1, num_key_value_heads=2
        ),
        "layer_types.*sliding_attention.*'full_attention' of all 2 layers",
    ),
    'window by layer': (
        with_config(
            model_type='qwen2',
            num_key_value_heads=2,
            layer_types=['full_attention', 'sliding_attention'],
        ),
        "layer_types.*'sliding_attention'.*'full_attention' of all 2 layers",
    ),
    'window from': (
        with_config(
            model_type='qwen2',
            use_sliding_window=True,
            max_window_layers='x',
            num_key_value_heads=2,
        ),
        "max_window_layers='x'.*whole number",
    ),
    'shape': (with_config(intermediate_size=13), r'shape \(8, 12\), where config.json.*\(8, 13\)'),
    'layer missing': (with_config(num_hidden_layers=3), r'lacks model.layers.2|lacks layers\.2'),
    'layer left': (with_config(num_hidden_layers=1), r'has layers\.1.*would be another network'),
    'tensor missing': (with_weights(lambda a: a.pop(NORM) is None or a), r'lacks norm\.weight'),
    'tensor left': (with_weights(lambda a: a | {'bias': a[NORM]}), 'has bias, which'),
    'tensor twice': (
        with_weights(lambda a: a | {'norm.weight': a[NORM]}),
        'two tensors for one',
    ),
    'int8': (with_weights(lambda a: a | {NORM: a[NORM].astype(np.int8)}), 'dtype I8.*quantised'),
    'float8': (
        with_weights(lambda a: a | {NORM: a[NORM].astype(jnp.float8_e4m3fn)}),
        'dtype F8_E4M3.*quantised',
    ),
    'dtypes': (
        with_weights(lambda a: a | {NORM: a[NORM].astype(np.float16)}),
        "several dtypes, F16, F32.*dtype='float32'",
    ),
    'tied, and they differ': (with_config(tie_word_embeddings=True), 'ties.*and they differ'),
    'tokenizer': (written('tokenizer.json', b'{}'), 'tokenizer.json is no tokenizer'),
}


@pytest.mark.parametrize('fault', FAULTS)
def test_a_fault_is_refused_in_one_paragraph_before_an_array_is_read(fault, folder, monkeypatch):
    spoil, words = FAULTS[fault]
    spoil(folder)
    monkeypatch.setattr(arrays_lib, '_read_leaf', lambda *given: pytest.fail('an array was read'))
    with pytest.raises(errors.PretrainedError, match=words) as caught:
        pretrained.open(folder)
    text = str(caught.value)
    assert '\n' not in text and 60 < len(text) < 700
    assert str(folder) in text or 'rope' in text or 'tied' in fault or 'end' in fault


@pytest.mark.parametrize(
    ('given', 'words'),
    [
        ({'blocks': 'heads'}, "blocks='heads'.*'sublayers' or 'layers'"),
        ({'dtype': 'int8'}, 'dtype=.int8.*bfloat16, float16, float32, float64'),
        ({'dtype': 'float33'}, 'float33'),
        ({'dtype': 'float64'}, 'JAX_ENABLE_X64'),
        ({'parallel': 'two'}, "parallel='two': this layout has no options"),
    ],
)
def test_a_wrong_argument_is_refused(given, words, sound):
    with pytest.raises(errors.PretrainedError, match=words):
        pretrained.open(sound, **given)


@pytest.mark.parametrize('kind', ['gpt2', 'gpt_neox', 'llama', 'qwen2', 'bert', 'vit', 'resnet18'])
def test_values_of_any_type_are_taken_or_refused_by_name(kind):
    others = ([], [1], {'a': 1}, 'x', -1, 1.5, True, 10**30, float('nan'), {'rope_type': ['a']})
    base, refused = {**CONFIG, 'model_type': kind, 'hidden_size': 16, 'num_key_value_heads': 2}, 0
    asked = settings.Settings(base, 'config.json')
    layouts.LAYOUTS[kind].layout(asked, 'sublayers')
    for name in ('num_hidden_layers', *asked.asked):
        for value in others:
            config = {**base, name: value}
            try:
                layouts.LAYOUTS[kind].layout(settings.Settings(config, 'config.json'), 'layers')
            except errors.PretrainedError as error:
                refused += name in str(error) or 'layer' in str(error)
    assert refused > 2 * len(others)


def test_the_list_of_known_layouts_is_in_the_error_of_an_unknown_one(folder):
    with_config(model_type='mamba')(folder)
    with pytest.raises(errors.PretrainedError) as caught:
        pretrained.open(folder)
    assert all(name in str(caught.value) for name in layouts.LAYOUTS)
    assert 'How to write an adapter' in pathlib.Path('docs/pretrained.md').read_text()


def test_a_setting_that_is_said_to_change_nothing_is_passed_over(folder):
    with_config(logit_softcap=30.0)(folder)
    assert pretrained.open(folder, ignore=('logit_softcap',)).net.num_blocks == 4


def leaves(opened):
    return jax.tree.leaves(opened.net)


def test_shards_hold_the_same_network(folder, sound):
    shard(folder)
    for one, two in zip(
        leaves(pretrained.open(sound)), leaves(pretrained.open(folder)), strict=True
    ):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize('dtype', ['float16', 'bfloat16', 'float32'])
def test_the_dtype_is_that_of_the_file_or_what_is_asked_for(dtype, folder, sound):
    dtype = jnp.dtype(dtype)
    cast = {name: array.astype(dtype) for name, array in weights().items()}
    save_file(cast, folder / 'model.safetensors')
    kept, asked = pretrained.open(folder), pretrained.open(sound, dtype=dtype)
    for one, two in zip(leaves(kept), leaves(asked), strict=True):
        assert one.dtype == two.dtype == dtype
        np.testing.assert_array_equal(one, two)


def test_a_cast_in_many_pieces_is_the_cast(sound, monkeypatch):
    whole = leaves(pretrained.open(sound, dtype='bfloat16'))
    monkeypatch.setattr(arrays_lib, 'PIECE', 20)
    for one, two in zip(whole, leaves(pretrained.open(sound, dtype='bfloat16')), strict=True):
        np.testing.assert_array_equal(one, two)


def test_layers_are_stacked_in_order_and_tied_weights_are_one_array(folder):
    arrays = weights()
    del arrays['lm_head.weight']
    save_file(arrays, folder / 'model.safetensors')
    with_config(tie_word_embeddings=True)(folder)
    net = pretrained.open(folder).net
    down = net.stages[0].stages[1].params['down']['w']
    wanted = [arrays[f'model.layers.{i}.mlp.down_proj.weight'] for i in range(2)]
    np.testing.assert_array_equal(down, np.stack(wanted))
    assert net.head_params['out'] is net.stem_params['token']


def test_without_a_tokenizer_the_network_opens_and_what_needs_one_says_so(sound):
    opened = pretrained.open(sound)
    assert opened.tokenizer is None
    with pytest.raises(errors.PretrainedError, match=r'no tokenizer\.json'):
        opened.encode(['a text'])


def test_texts_become_tokens_and_their_mask_cut_and_padded_as_asked(folder):
    words = {'[UNK]': 0, 'to': 1, 'be': 2, 'or': 3, '[END]': 4}
    ends = {'id': '[END]', 'ids': [4], 'tokens': ['[END]']}
    parts = [
        {'Sequence': {'id': 'A', 'type_id': 0}},
        {'SpecialToken': {'id': '[END]', 'type_id': 0}},
    ]
    cuts = {'direction': 'Right', 'max_length': 3, 'strategy': 'LongestFirst', 'stride': 0}
    pads = {'strategy': {'Fixed': 9}, 'direction': 'Right', 'pad_to_multiple_of': None}
    tokenizer = {
        'version': '1.0',
        'truncation': cuts,
        'padding': pads | {'pad_id': 0, 'pad_type_id': 0, 'pad_token': '[UNK]'},
        'added_tokens': [],
        'pre_tokenizer': {'type': 'Whitespace'},
        'post_processor': {
            'type': 'TemplateProcessing',
            'single': parts,
            'pair': parts,
            'special_tokens': {'[END]': ends},
        },
        'model': {'type': 'WordLevel', 'vocab': words, 'unk_token': '[UNK]'},
    }
    (folder / 'tokenizer.json').write_text(json.dumps(tokenizer))
    opened = pretrained.open(folder)
    tokens_BT, mask_BT = opened.encode(['to be or not to be', 'be'], length=4)
    np.testing.assert_array_equal(tokens_BT, [[1, 2, 3, 4], [2, 4, 0, 0]])
    np.testing.assert_array_equal(mask_BT, [[1, 1, 1, 1], [1, 1, 0, 0]])
    np.testing.assert_array_equal(opened.encode(['to be or not to be'])[0], [[1, 2, 3, 0, 1, 2, 4]])


@pytest.mark.parametrize(
    ('array', 'mask', 'words'),
    [
        ([[0, 11]], None, 'tokens go from 0 to 11: expected 0 to 10'),
        ([[0, -1]], None, 'tokens go from -1'),
        ([0, 1], None, r'shape \(2,\)'),
        ([[0.5, 1]], None, 'dtype float64'),
        ([[0, 1]], [[1]], r'mask has shape \(1, 1\)'),
        ([[0, 1]], [[1, 2]], 'values'),
        ([[0, 1], [1, 1]], [[0, 1], [0, 0]], 'mask of text 1 has padding alone'),
    ],
)
def test_inputs_that_the_network_cannot_take_are_refused(array, mask, words, sound):
    with pytest.raises(errors.PretrainedError, match=words):
        pretrained.open(sound).inputs(array, mask)
