"""GPT-2: layer norms before the sublayers, learned positions, one matrix for query, key, value."""

import functools

import jax.numpy as jnp
import numpy as np

from resnet_dyn.pretrained import decoder, leaves, settings, sublayers, tokens

LONGEST, VOCABULARY = 1024, 50257


def layout(config: settings.Settings, blocks: str) -> leaves.Layout:
    """Of a config with model_type gpt2 (also DistilGPT2)."""
    count, width = config.size('n_layer', 12), config.size('n_embd', 768)
    heads = config.divisor('n_head', 'n_embd', width, 12)
    inner = config.size('n_inner', 4 * width)
    vocabulary = config.size('vocab_size', VOCABULARY)
    longest = config.size('n_positions', LONGEST)
    config.flag('reorder_and_upcast_attn', False)  # scores in float32: here they always are
    kind = decoder.Kind(
        heads=heads,
        groups=heads,
        norm='layer',
        eps=config.number('layer_norm_epsilon', 1e-5),
        activation=config.choice('activation_function', sublayers.ACTIVATIONS, 'gelu_new'),
        scaled=config.flag('scale_attn_weights', True),
    )
    by_layer = config.flag('scale_attn_by_inverse_layer_idx', False)
    tied = config.flag('tie_word_embeddings', True)
    token = leaves.one('wte.weight', vocabulary, width)

    def each(name, *shape, take=None):
        return leaves.each('h.{}.' + name, count, *shape, take=take)

    def norm(name):
        return {'w': each(f'{name}.weight', width), 'b': each(f'{name}.bias', width)}

    def part(i):
        return {
            'w': each('attn.c_attn.weight', width, 3 * width, take=(_third_of_columns, i)),
            'b': each('attn.c_attn.bias', 3 * width, take=(_third, i)),
        }

    def turned(name, outputs, inputs):  # their matrices are (inputs, outputs)
        return {
            'w': each(f'{name}.weight', inputs, outputs, take=(np.transpose,)),
            'b': each(f'{name}.bias', outputs),
        }

    tree = {
        'stem': {'token': token, 'place': leaves.one('wpe.weight', longest, width)},
        'attention': {
            'norm': norm('ln_1'),
            **{name: part(i) for i, name in enumerate(('query', 'key', 'value'))},
            'out': turned('attn.c_proj', width, width),
        },
        'mlp': {
            'norm': norm('ln_2'),
            'up': turned('mlp.c_fc', inner, width),
            'down': turned('mlp.c_proj', width, inner),
        },
        'head': {
            'norm': {'w': leaves.one('ln_f.weight', width), 'b': leaves.one('ln_f.bias', width)},
            'out': token if tied else leaves.one('lm_head.weight', vocabulary, width),
        },
    }
    return leaves.Layout(
        leaves=tree,
        build=functools.partial(_build, kind, blocks, count, by_layer),
        names=decoder.names(kind, blocks, count),
        prefixes=('transformer.',),
        passed_by=(r'h\.\d+\.attn\.(bias|masked_bias)',),
        equal=(('wte.weight', 'lm_head.weight'),) if tied else (),
    )


def inputs(config: dict, array, mask) -> dict:
    """Tokens and mask; texts are at most as long as there are learned positions."""
    vocabulary, longest = (
        config.get(name) or default
        for name, default in (('vocab_size', VOCABULARY), ('n_positions', LONGEST))
    )
    return tokens.inputs(array, mask, vocabulary, longest)


def _build(kind, blocks, count, by_layer, tree):
    if by_layer:  # scores of layer i by 1 / (i + 1) too
        scale = 1 / jnp.arange(1, count + 1, dtype=jnp.float32)
        tree = tree | {'attention': tree['attention'] | {'scale': scale}}
    return decoder.build(kind, blocks, count, False, tree)


def _third(i, a):
    return np.split(a, 3)[i]


def _third_of_columns(i, a):
    return np.split(a, 3, 1)[i].T
