"""GPT-NeoX (Pythia): attention and MLP of the same input, part of each head turned by position."""

import functools

from resnet_dyn import errors
from resnet_dyn.pretrained import decoder, leaves, rotary, settings, sublayers, tokens

VOCABULARY = 50432


def layout(config: settings.Settings, blocks: str, parallel: str = 'one') -> leaves.Layout:
    """Of a config with model_type gpt_neox.

    `parallel` says what a layer h + a(h) + m(h) is among sublayers: 'one' block, or 'two', by a
    state that carries the layer's input (see `decoder`). Layers that are not parallel
    (use_parallel_residual false) are two either way.
    """
    if parallel not in ('one', 'two'):
        raise errors.PretrainedError(f"parallel={parallel!r}: expected 'one' or 'two'")
    count, width = config.size('num_hidden_layers', 44), config.size('hidden_size', 6144)
    heads = config.divisor('num_attention_heads', 'hidden_size', width, 64)
    inner = config.size('intermediate_size', 24576)
    vocabulary = config.size('vocab_size', VOCABULARY)
    config.get('max_position_embeddings')  # rotary positions have no end
    theta, share = ('rotary_emb_base', 'rope_theta'), ('rotary_pct', 'partial_rotary_factor')
    kind = decoder.Kind(
        heads=heads,
        groups=heads,
        norm='layer',
        eps=config.number('layer_norm_eps', 1e-5),
        activation=config.choice('hidden_act', sublayers.ACTIVATIONS, 'gelu'),
        parallel=config.flag('use_parallel_residual', True),
        turns=rotary.read(config, width // heads, theta, share, 0.25),
    )
    bias, tied = config.flag('attention_bias', True), config.flag('tie_word_embeddings', False)
    token = leaves.one('embed_in.weight', vocabulary, width)

    def norm(name):
        return {
            part: leaves.each(f'layers.{{}}.{name}.{word}', count, width)
            for part, word in (('w', 'weight'), ('b', 'bias'))
        }

    def third(i):
        name, take = 'layers.{}.attention.query_key_value', (_of_heads, heads, i)
        leaf = {'w': leaves.each(f'{name}.weight', count, 3 * width, width, take=take)}
        return leaf | (
            {'b': leaves.each(f'{name}.bias', count, 3 * width, take=take)} if bias else {}
        )

    tree = {
        'stem': {'token': token},
        'attention': {
            'norm': norm('input_layernorm'),
            **{name: third(i) for i, name in enumerate(('query', 'key', 'value'))},
            'out': decoder.weights('layers.{}.attention.dense', count, width, width, bias),
        },
        'mlp': {
            'norm': norm('post_attention_layernorm'),
            'up': decoder.weights('layers.{}.mlp.dense_h_to_4h', count, inner, width, True),
            'down': decoder.weights('layers.{}.mlp.dense_4h_to_h', count, width, inner, True),
        },
        'head': {
            'norm': {
                'w': leaves.one('final_layer_norm.weight', width),
                'b': leaves.one('final_layer_norm.bias', width),
            },
            'out': token if tied else leaves.one('embed_out.weight', vocabulary, width),
        },
    }
    two = parallel == 'two'
    return leaves.Layout(
        leaves=tree,
        build=functools.partial(decoder.build, kind, blocks, count, two),
        names=decoder.names(kind, blocks, count, two),
        prefixes=('gpt_neox.',),
        renames=((r'^lm_head\.weight$', 'embed_out.weight'),),
        passed_by=(r'layers\.\d+\.attention\.(bias|masked_bias|rotary_emb\.inv_freq)',),
        equal=(('embed_in.weight', 'embed_out.weight'),) if tied else (),
    )


def inputs(config: dict, array, mask) -> dict:
    """Tokens and mask."""
    return tokens.inputs(array, mask, config.get('vocab_size') or VOCABULARY)


def _of_heads(heads, i, a):
    """Of (heads x (query, key, value) x d, ...) one of the three."""
    parts = a.reshape(heads, 3, -1, *a.shape[1:])
    return parts[:, i].reshape(-1, *a.shape[1:])
