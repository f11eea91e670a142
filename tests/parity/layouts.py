"""The layouts whose goldens are made: a tiny config each, and where its blocks' branches end.

Of the reference libraries; nothing of ours is imported here.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import timm
import torchvision
import transformers

VOCABULARY, LENGTH, LAYERS = 61, 12, 3
SIZES = {
    'vocab_size': VOCABULARY,
    'hidden_size': 32,
    'num_hidden_layers': LAYERS,
    'num_attention_heads': 4,
    'intermediate_size': 48,
    'max_position_embeddings': 40,
    'bos_token_id': None,
    'eos_token_id': None,
    'pad_token_id': None,
}
GROUPED = {**SIZES, 'num_key_value_heads': 2}
LLAMA3 = {
    'rope_type': 'llama3',
    'factor': 8.0,
    'low_freq_factor': 1.0,
    'high_freq_factor': 4.0,
    'original_max_position_embeddings': 16,
}


class Published(NamedTuple):
    """What folders on the Hub have otherwise than what the library writes today."""

    config: dict[str, Any]  # keys set; None takes a key away
    names: tuple[tuple[str, str], ...] = ()  # patterns in names of tensors, replaced in turn
    extra: Callable[[], dict] = dict  # tensors that are no weights: {name: (shape, dtype)}


class Layout(NamedTuple):
    """A tiny model: its class and config, and for each block the modules whose output it adds."""

    kind: type
    config: dict[str, Any]
    layers: Callable[[Any], Any]
    branches: tuple[tuple[str, ...], ...]  # of a layer
    last: str  # the module whose input is h_L; '' where the output is
    shard_size: str = '1GB'
    published: Published | None = None

    @property
    def slopes(self) -> bool:
        """Whether derivatives at h_0 are stored too: not those of images, which are large."""
        return not self.images

    @property
    def images(self) -> bool:
        """Whether inputs are images, not tokens."""
        return 'image_size' in self.config or 'architecture' in self.config


def _extra(names: dict[str, tuple]) -> Callable[[], dict]:
    return lambda: {n.format(i): spec for i in range(LAYERS) for n, spec in names.items()}


def _rope(theta: float, **scaling) -> dict:
    return {'rope_parameters': {'rope_theta': theta, 'rope_type': 'default', **scaling}}


def _older(theta: float, scaling=None, **more) -> dict:
    """The config's words of the years before `rope_parameters`."""
    words = {'rope_theta': theta, 'rope_scaling': scaling, 'torch_dtype': 'float32'}
    return {'rope_parameters': None, 'dtype': None, **words, **more}


def _neox(parallel: bool, two: bool = True) -> Layout:
    rope = _rope(5000.0, partial_rotary_factor=0.5)
    older = {'rotary_pct': 0.5, 'rotary_emb_base': 5000.0, 'torch_dtype': 'float32'}
    buffers = {
        'gpt_neox.layers.{}.attention.bias': ((1, 1, 40, 40), 'bool'),
        'gpt_neox.layers.{}.attention.masked_bias': ((), 'float32'),
        'gpt_neox.layers.{}.attention.rotary_emb.inv_freq': ((2,), 'float32'),
    }
    ends = ('attention.dense', 'mlp.dense_4h_to_h')
    return Layout(
        transformers.GPTNeoXForCausalLM,
        {**SIZES, **rope, 'use_parallel_residual': parallel, 'tie_word_embeddings': False},
        lambda m: m.gpt_neox.layers,
        tuple((end,) for end in ends) if two else (ends,),
        'gpt_neox.final_layer_norm',
        published=Published(
            {'rope_parameters': None, 'dtype': None, **older}, extra=_extra(buffers)
        ),
    )


def _pre_norm(kind, config, **more) -> Layout:
    ends = (('self_attn.o_proj',), ('mlp.down_proj',))
    return Layout(kind, config, lambda m: m.model.layers, ends, 'model.norm', **more)


def _resnet_blocks(model) -> list:
    return [block for i in range(1, 5) for block in getattr(model, f'layer{i}')]


GPT2 = {
    **{'vocab_size': VOCABULARY, 'n_embd': 32, 'n_layer': LAYERS, 'n_head': 4, 'n_positions': 40},
    **{'bos_token_id': None, 'eos_token_id': None},
}

LAYOUTS = {
    'gpt2': Layout(
        transformers.GPT2LMHeadModel,
        GPT2,
        lambda m: m.transformer.h,
        (('attn.c_proj',), ('mlp.c_proj',)),
        'transformer.ln_f',
        published=Published(
            {'dtype': None, 'n_ctx': 40, 'tie_word_embeddings': None},
            (('^transformer.', ''),),
            _extra({'h.{}.attn.bias': ((1, 1, 40, 40), 'float32')}),
        ),
    ),
    'gpt_neox_parallel': _neox(True, two=False),
    'gpt_neox_two': _neox(True),
    'gpt_neox_sequential': _neox(False),
    'llama': _pre_norm(
        transformers.LlamaForCausalLM,
        {**GROUPED, **_rope(10000.0), 'tie_word_embeddings': False},
        published=Published(
            _older(10000.0, head_dim=None, attention_bias=None, mlp_bias=None),
            extra=_extra({'model.layers.{}.self_attn.rotary_emb.inv_freq': ((4,), 'float32')}),
        ),
    ),
    'llama3': _pre_norm(
        transformers.LlamaForCausalLM,
        {**GROUPED, **_rope(500.0, **LLAMA3), 'tie_word_embeddings': True, 'head_dim': 12},
        shard_size='20KB',
        published=Published(_older(500.0, LLAMA3)),
    ),
    'qwen2': _pre_norm(
        transformers.Qwen2ForCausalLM,
        {**GROUPED, **_rope(1e6), 'tie_word_embeddings': True},
        shard_size='30KB',
        published=Published(_older(1e6, layer_types=None, sliding_window=32768)),
    ),
    'qwen3': _pre_norm(
        transformers.Qwen3ForCausalLM,
        {**GROUPED, **_rope(1e6), 'tie_word_embeddings': False, 'head_dim': 12},
        published=Published(_older(1e6, layer_types=None)),
    ),
    'olmo2': Layout(
        transformers.Olmo2ForCausalLM,
        {**GROUPED, **_rope(5e5), 'rms_norm_eps': 1e-6, 'tie_word_embeddings': False},
        lambda m: m.model.layers,
        (('post_attention_layernorm',), ('post_feedforward_layernorm',)),
        'model.norm',
        published=Published(_older(5e5)),
    ),
    'bert': Layout(
        transformers.BertModel,
        {**SIZES, 'pad_token_id': 0},
        lambda m: m.encoder.layer,
        (('attention.output.dense',), ('output.dense',)),
        '',
        published=Published(
            {'dtype': None, 'position_embedding_type': 'absolute'},
            (
                *(('^', 'bert.'), ('LayerNorm.weight', 'LayerNorm.gamma')),
                ('LayerNorm.bias', 'LayerNorm.beta'),
            ),
            lambda: {
                'bert.embeddings.position_ids': ((1, 40), 'int64'),
                'cls.predictions.bias': ((VOCABULARY,), 'float32'),
                'cls.seq_relationship.bias': ((2,), 'float32'),
            },
        ),
    ),
    'vit': Layout(
        transformers.ViTForImageClassification,
        {
            **{k: SIZES[k] for k in ('hidden_size', 'num_hidden_layers', 'num_attention_heads')},
            **{'intermediate_size': 48, 'image_size': 12, 'patch_size': 4, 'num_labels': 5},
        },
        lambda m: m.vit.layers,
        (('attention.o_proj',), ('mlp.fc2',)),
        'vit.layernorm',
    ),
    'resnet18_timm': Layout(
        timm.models.ResNet,
        {'architecture': 'resnet18', 'num_classes': 7},
        _resnet_blocks,
        (('bn2',),),
        'global_pool',
    ),
    'resnet50_torchvision': Layout(
        torchvision.models.ResNet,
        {'architecture': 'resnet50', 'num_classes': 7},
        _resnet_blocks,
        (('bn3',),),
        'avgpool',
    ),
}
