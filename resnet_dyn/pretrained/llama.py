"""Llama and its kin: RMS norms, rotary positions, grouped heads, a gated MLP.

Qwen 2 has biases on query, key and value; Qwen 3 and OLMo 2 have norms on query and key, of each
head and over all heads; OLMo 2 has its other norms after the sublayers.
"""

import functools
from typing import NamedTuple

from resnet_dyn.pretrained import decoder, leaves, rotary, settings, sublayers, tokens


class Family(NamedTuple):
    """What a layout of this kin has of its own, and its defaults where the config is silent."""

    vocabulary: int
    inner: int
    eps: float
    groups: int | None = None  # default of num_key_value_heads; None: as many as heads
    head: int | None = None  # default of head_dim; None: hidden_size / heads; 0: no such setting
    biased_query: bool = False  # query, key and value have biases, the output none
    query_key_norm: str | None = None
    norm_after: bool = False
    windows: bool = False  # the config may ask for sliding windows


FAMILIES = {
    'llama': Family(32000, 11008, 1e-6),
    'qwen2': Family(151936, 22016, 1e-6, 32, biased_query=True, windows=True),
    'qwen3': Family(151936, 22016, 1e-6, 32, 128, query_key_norm='head', windows=True),
    'olmo2': Family(50304, 11008, 1e-5, head=0, query_key_norm='all', norm_after=True),
}

FULL = 'full_attention'


def layout(config: settings.Settings, blocks: str) -> leaves.Layout:
    """Of a config with model_type llama, qwen2, qwen3 or olmo2."""
    name = config.choice('model_type', FAMILIES)
    family = FAMILIES[name]
    count, width = config.size('num_hidden_layers', 32), config.size('hidden_size', 4096)
    heads = config.size('num_attention_heads', 32)
    groups = config.size('num_key_value_heads', _groups(config, family, heads))
    if heads % groups:
        raise config.error('num_key_value_heads', groups, f'a divisor of the {heads} heads')
    if width % heads and not config.get('head_dim'):
        raise config.error('num_attention_heads', heads, f'a divisor of hidden_size={width}')
    head = (
        width // heads
        if family.head == 0
        else config.size('head_dim', family.head or width // heads)
    )
    inner = config.size('intermediate_size', family.inner)
    vocabulary = config.size('vocab_size', family.vocabulary)
    if family.windows:
        _refuse_windows(config, count)
    kind = decoder.Kind(
        heads=heads,
        groups=groups,
        norm='rms',
        eps=config.number('rms_norm_eps', family.eps),
        activation=config.choice('hidden_act', sublayers.ACTIVATIONS, 'silu'),
        gated=True,
        norm_after=family.norm_after,
        turns=rotary.read(config, head),
        query_key_norm=family.query_key_norm,
    )
    config.get('max_position_embeddings')  # rotary positions have no end
    bias = family.biased_query or config.flag('attention_bias', False)
    mlp_bias = name == 'llama' and config.flag('mlp_bias', False)
    tied = config.flag('tie_word_embeddings', False)
    token = leaves.one('embed_tokens.weight', vocabulary, width)

    def linear(part, outputs, inputs, bias):
        return decoder.weights('layers.{}.' + part, count, outputs, inputs, bias)

    def norm(part, size=width):
        return {'w': leaves.each('layers.{}.' + part + '.weight', count, size)}

    attention = {
        'query': linear('self_attn.q_proj', heads * head, width, bias),
        'key': linear('self_attn.k_proj', groups * head, width, bias),
        'value': linear('self_attn.v_proj', groups * head, width, bias),
        'out': linear('self_attn.o_proj', width, heads * head, bias and not family.biased_query),
    }
    if family.query_key_norm:
        of = {'head': (1, 1), 'all': (heads, groups)}[family.query_key_norm]
        attention['query_norm'] = norm('self_attn.q_norm', of[0] * head)
        attention['key_norm'] = norm('self_attn.k_norm', of[1] * head)
    first, second = (
        ('post_attention_layernorm', 'post_feedforward_layernorm')
        if family.norm_after
        else ('input_layernorm', 'post_attention_layernorm')
    )
    tree = {
        'stem': {'token': token},
        'attention': attention | {'norm': norm(first)},
        'mlp': {
            'norm': norm(second),
            'gate': linear('mlp.gate_proj', inner, width, mlp_bias),
            'up': linear('mlp.up_proj', inner, width, mlp_bias),
            'down': linear('mlp.down_proj', width, inner, mlp_bias),
        },
        'head': {
            'norm': {'w': leaves.one('norm.weight', width)},
            'out': token if tied else leaves.one('lm_head.weight', vocabulary, width),
        },
    }
    return leaves.Layout(
        leaves=tree,
        build=functools.partial(decoder.build, kind, blocks, count, False),
        names=decoder.names(kind, blocks, count),
        prefixes=('model.',),
        passed_by=(r'layers\.\d+\.self_attn\.rotary_emb\.inv_freq', r'rotary_emb\.inv_freq'),
        equal=(('embed_tokens.weight', 'lm_head.weight'),) if tied else (),
    )


def inputs(config: dict, array, mask) -> dict:
    """Tokens and mask."""
    vocabulary = config.get('vocab_size') or FAMILIES[config['model_type']].vocabulary
    return tokens.inputs(array, mask, vocabulary)


def _groups(config: settings.Settings, family: Family, heads: int) -> int:
    """The default of num_key_value_heads: absent is the layout's, null as many as heads."""
    absent = 'num_key_value_heads' not in config.values
    return family.groups if absent and family.groups else heads


def _refuse_windows(config: settings.Settings, count: int) -> None:
    """Where attention would not see all that came before."""
    asked, size = config.flag('use_sliding_window', False), config.get('sliding_window', 4096)
    first, kinds = config.get('max_window_layers', 28), config.get('layer_types')
    if not isinstance(first, int):
        raise config.error('max_window_layers', first, 'a whole number')
    if kinds is None and (not asked or not size or first >= count):
        return
    if not isinstance(kinds, list) or len(kinds) != count or set(map(str, kinds)) != {FULL}:
        given = kinds or f'sliding_attention of {size} from layer {first}'
        raise config.error('layer_types', given, f'{FULL!r} of all {count} layers')
