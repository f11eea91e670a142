"""BERT: post-LN, learned positions; tokens in, the last hidden states (B, T, D) out.

Heads that stand on it (pooler, masked words, classifiers) are in many files, and are not opened.
"""

import dataclasses

import jax.numpy as jnp

from resnet_dyn.models import stack
from resnet_dyn.pretrained import encoders, leaves, sublayers, tokens
from resnet_dyn.pretrained import settings as settings_lib

WHERE = 'encoder.layer.{}'
PARTS = {
    'attention': {
        'query': 'attention.self.query',
        'key': 'attention.self.key',
        'value': 'attention.self.value',
        'out': 'attention.output.dense',
        'norm': 'attention.output.LayerNorm',
    },
    'mlp': {'up': 'intermediate.dense', 'down': 'output.dense', 'norm': 'output.LayerNorm'},
}
PASSED_BY = (  # other heads, and buffers
    r'(pooler|cls|classifier|qa_outputs)\..*',
    r'embeddings\.(position_ids|token_type_ids)',
)
OF_HEADS = (
    *('tie_word_embeddings', 'directionality', 'pooler_fc_size', 'pooler_num_attention_heads'),
    *('pooler_num_fc_layers', 'pooler_size_per_head', 'pooler_type'),
)
RENAMES = ((r'LayerNorm\.gamma', 'LayerNorm.weight'), (r'LayerNorm\.beta', 'LayerNorm.bias'))
VOCABULARY, LONGEST, TYPES = 30522, 512, 2


def layout(settings: settings_lib.Settings, blocks: str) -> leaves.Layout:
    """Of a config.json whose `model_type` is bert."""
    settings.choice('position_embedding_type', ('absolute',), 'absolute')
    for name in OF_HEADS:
        settings.get(name)
    block, layers = encoders.block_of(settings, post=True), settings.size('num_hidden_layers')

    def table(name: str, rows: int) -> leaves.Leaf:
        width = settings.size('hidden_size')
        return leaves.one(f'embeddings.{name}_embeddings.weight', rows, width)

    tree = {
        'stem': {
            'token': table('word', settings.size('vocab_size', VOCABULARY)),
            'place': table('position', settings.size('max_position_embeddings', LONGEST)),
            'type': table('token_type', settings.size('type_vocab_size', TYPES)),
            'norm': encoders.weights('embeddings.LayerNorm', settings.size('hidden_size')),
        },
        'layers': encoders.layer_leaves(WHERE, PARTS, settings),
    }
    names = encoders.names(layers, blocks)

    def build(arrays) -> stack.ResidualStack:
        return stack.ResidualStack(
            arrays['stem'],
            encoders.stages(block, arrays['layers'], layers, blocks),
            (),
            Embedding(block.eps),
            last_hidden_states,
            make_context=padding,
            names=names,
            groups=encoders.groups(layers, blocks),
        )

    return leaves.Layout(tree, build, names, ('bert.',), PASSED_BY, RENAMES)


def inputs(config: dict, array, mask) -> dict:
    """Tokens and mask; `token_types` (B, T) may be put beside them."""
    vocabulary, longest = (
        config.get(name) or default
        for name, default in (('vocab_size', VOCABULARY), ('max_position_embeddings', LONGEST))
    )
    return tokens.inputs(array, mask, vocabulary, longest)


def padding(inputs) -> dict:
    """The context: the mask (B, T)."""
    return {'mask': jnp.asarray(inputs['mask'], bool)}


@dataclasses.dataclass(frozen=True)
class Embedding:
    """The stem: the norm of token + position + type.

    Inputs are {'tokens': (B, T), 'mask': (B, T)}, and 'token_types' (B, T) where sentences are told
    apart; without, all tokens are of type 0.
    """

    eps: float

    def __call__(self, p, inputs, context):
        tokens_BT = inputs['tokens']
        types_BT = inputs.get('token_types', jnp.zeros_like(tokens_BT))
        h = jnp.asarray(p['token'])[tokens_BT] + jnp.asarray(p['type'])[types_BT]
        h = h + jnp.asarray(p['place'])[None, : h.shape[1]]
        return sublayers.layer_norm(p['norm'], h, self.eps)


def last_hidden_states(p, h, context):
    """The head: h (B, T, D) itself, at padding too."""
    return h
