"""The decoder against a forward pass in NumPy: both places of norms, both positions, gates, scales.

What holds of it by its form: no look ahead, the first loss, the names of its blocks and gammas.
"""

import functools

import jax
import numpy as np
import pytest
import random_variables
import scipy.special

from resnet_dyn import config, errors
from resnet_dyn.models import gammas, presets, stack, statistics
from resnet_dyn.training import losses

V, T, LAYERS, HEADS = 7, 5, 2, 2
TOKENS = np.random.default_rng(0).integers(0, V, (3, T)).astype(np.int32)
OPEN = np.ones(2 * LAYERS, np.float32)
KINDS = {
    'pre_ln': {},
    'post_ln': {'block': 'post_ln', 'branch_scale': 'sqrt_index', 'survival': 0.5},
    'rotary': {'positions': 'rotary', 'norm': 'layer_rms', 'branch_scale': 'norm_sqrt_index'},
    'none': {'norm': 'none', 'branch_scale': 'skipinit'},
}


def decoder(**options):
    return presets.language_model(LAYERS, width=8, heads=HEADS, classes=V, **options)


@functools.cache
def compiled(kind):
    """A network, variables of it, and (variables, tokens, gates) -> logits."""
    model = decoder(**KINDS[kind])
    return model, random_variables.of(model, TOKENS), jax.jit(model.apply)


def by_hand(model, variables, tokens, gates):
    """The logits in float64, one head and one block after the other."""
    params = jax.tree.map(lambda a: np.asarray(a, np.float64), variables['params'])
    scales = jax.tree.map(lambda a: np.asarray(a, np.float64), variables.get('gammas', {}))
    style, stem = model.style, params['stem']
    h = stem['tokens']['embedding'][tokens]
    if style.positions == 'learned':
        h = h + stem['positions']['embedding'][: tokens.shape[1]]

    def norm(x, gamma, bias):
        if style.norm == 'layer':
            x = x - x.mean(-1, keepdims=True)
        return gamma * x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) + bias

    def dense(layer, x):
        return x @ layer['kernel'] + layer['bias']

    def turn(x_BTD):
        d = x_BTD.shape[-1] // 2
        z = x_BTD[..., :d] + 1j * x_BTD[..., d:]
        z = z * np.exp(1j * np.outer(np.arange(x_BTD.shape[1]), 10_000.0 ** -(np.arange(d) / d)))
        return np.concatenate([z.real, z.imag], -1)

    def attention(layer, x):
        heads = []
        for part in range(HEADS):
            width = x.shape[-1]
            size = width // HEADS
            own = [slice(k * width + part * size, k * width + (part + 1) * size) for k in range(3)]
            q, k, v = (dense(layer['qkv'], x)[..., columns] for columns in own)
            if style.positions == 'rotary':
                q, k = turn(q), turn(k)
            weights = q @ k.swapaxes(-1, -2) / np.sqrt(size)
            weights[..., ~np.tri(x.shape[1], dtype=bool)] = -np.inf
            heads.append(scipy.special.softmax(weights, -1) @ v)
        return dense(layer['out'], np.concatenate(heads, -1))

    def mlp(layer, x):
        x = dense(layer['wide'], x)
        x = x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))) / 2
        return dense(layer['narrow'], x)

    for l in range(2 * LAYERS):
        kind = f'unit_{l % 2}'
        layer, own = (
            jax.tree.map(lambda a, l=l: a[l // 2], tree.get('stage_0', {}).get(kind, {}))
            for tree in (params, scales)
        )
        bias = layer.get('norm_0', {}).get('bias', 0)
        x = h
        if style.block == 'pre_ln' and style.norm != 'none':
            x = norm(h, own['norm_0']['gamma'], bias)
        if style.branch_scale == 'norm_sqrt_index':
            x = x / np.sqrt(l // 2 + 1)
        branch = (mlp if l % 2 else attention)(layer, x)
        if style.branch_scale == 'sqrt_index':
            branch = branch / np.sqrt(l + 1)
        if style.branch_scale == 'skipinit':
            branch = branch * own['branch_scale']['gamma'][0]
        survival = 1 - (l + 1) / (2 * LAYERS) * (1 - model.survival)
        h = h + gates[l] * survival * branch
        if style.block == 'post_ln':
            h = norm(h, own['norm_0']['gamma'], bias)
    if style.block == 'pre_ln' and style.norm != 'none':
        h = norm(h, scales['head']['norm']['gamma'], params['head'].get('norm', {}).get('bias', 0))
    return dense(params['head']['linear'], h)


@pytest.mark.parametrize('kind', KINDS)
def test_it_is_the_forward_pass_in_numpy_whole_and_under_gates(kind):
    model, variables, apply = compiled(kind)
    net = stack.from_model(model, variables)
    assert net.num_blocks == 4 and net.names == ('0.attention', '0.mlp', '1.attention', '1.mlp')
    assert net.groups == ((0, 1), (2, 3))
    for gates in (OPEN, np.array([1, 0, 0.5, 1], np.float32)):
        expected = by_hand(model, variables, TOKENS, gates)
        found = jax.jit(stack.apply)(net, TOKENS, gates)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(apply(variables, TOKENS, gates), found)


@pytest.mark.parametrize('kind', ['pre_ln', 'rotary'])
def test_a_later_token_changes_no_earlier_logit(kind):
    _, variables, apply = compiled(kind)
    logits = np.asarray(apply(variables, TOKENS, OPEN))
    for t in range(1, T):
        other = TOKENS.copy()
        other[:, t:] = (other[:, t:] + 1) % V
        changed = np.asarray(apply(variables, other, OPEN))
        np.testing.assert_allclose(changed[:, :t], logits[:, :t], rtol=1e-5, atol=1e-6)
        assert (np.abs(changed[:, t:] - logits[:, t:]).max(-1) > 1e-3).all()


def test_rotary_attention_knows_distances_alone_and_longer_sequences():
    model = decoder(positions='rotary', norm='layer_rms')
    variables = random_variables.of(model, TOKENS)
    shifted = np.concatenate([TOKENS[:, :1], TOKENS], axis=1)
    net = stack.from_model(model, variables)
    same = np.broadcast_to(TOKENS[:, :1], (3, 2 * T))  # one token, over and over

    @jax.jit
    def first_branch(net, tokens):
        kind = net.stages[0].stages[0]
        return kind.branch(stack.block_params(kind, 0), stack.stem(net, tokens))

    mixed = np.asarray(first_branch(net, same))
    np.testing.assert_allclose(mixed, np.broadcast_to(mixed[:, :1], mixed.shape), atol=1e-5)
    assert jax.eval_shape(model.apply, variables, shifted).shape == (3, T + 1, V)
    learned = decoder()
    with pytest.raises(ValueError, match='6 tokens, and the network has learned 5 places'):
        jax.eval_shape(learned.apply, random_variables.of(learned, TOKENS), shifted)


def test_layer_norm_scaling_is_the_plain_network_with_its_norms_smaller():
    scaled, (_, variables, plain) = decoder(branch_scale='norm_sqrt_index'), compiled('pre_ln')
    smaller = jax.tree.map(np.copy, variables)
    for unit in ('unit_0', 'unit_1'):
        for leaf in (
            smaller['gammas']['stage_0'][unit]['norm_0']['gamma'],
            smaller['params']['stage_0'][unit]['norm_0']['bias'],
        ):
            leaf[1] /= np.sqrt(2)
    expected = plain(smaller, TOKENS, OPEN)
    np.testing.assert_allclose(jax.jit(scaled.apply)(variables, TOKENS), expected, rtol=1e-5)


def test_the_first_loss_is_that_of_knowing_nothing():
    model = presets.language_model(3, width=32, classes=100)
    tokens = np.random.default_rng(1).integers(0, 100, (8, 17))

    @jax.jit
    def first_loss(key):
        variables = model.init(key, tokens[:, 1:])
        return losses.cross_entropy(model.apply(variables, tokens[:, :-1]), tokens[:, 1:])

    loss_B = np.asarray(first_loss(jax.random.key(0)))
    assert loss_B.shape == (8,)
    np.testing.assert_allclose(loss_B.mean(), np.log(100), atol=0.05)


def test_gammas_are_named_in_the_order_of_the_blocks():
    model = decoder(branch_scale='skipinit')
    variables = random_variables.of(model, TOKENS)
    tree = variables['gammas']['stage_0']
    expected = [tree[f'unit_{l % 2}']['norm_0']['gamma'][l // 2] for l in range(4)]
    blocks = gammas.by_block(variables['gammas'])
    np.testing.assert_array_equal([block['norm_0'] for block in blocks], expected)
    assert [list(block) for block in blocks] == [['norm_0', 'branch_scale']] * 4
    found = gammas.by_block(gammas.of_stack(stack.from_model(model, variables)))
    jax.tree.map(np.testing.assert_array_equal, found, blocks)
    last = gammas.is_last(variables['gammas'])
    assert last['stage_0'] == {
        f'unit_{j}': {'norm_0': {'gamma': False}, 'branch_scale': {'gamma': True}} for j in (0, 1)
    }
    assert last['head'] == {'norm': {'gamma': False}}


def test_nothing_of_it_is_averaged_over_training():
    model, batch = decoder(), TOKENS[None]
    variables = random_variables.of(model, TOKENS)
    assert sorted(variables) == ['gammas', 'params']
    found = statistics.estimated(model, variables, batch)
    jax.tree.map(np.testing.assert_array_equal, found, variables)


@pytest.mark.parametrize(
    ('values', 'message'),
    [
        ({'width': 10, 'heads': 4}, 'the nearest that is are 8 and 12'),
        ({'width': 12, 'heads': 4, 'positions': 'rotary'}, 'pairs of the 3 features'),
        ({'block': 'post_ln', 'norm': 'none'}, 'a norm after the sum'),
        ({'block': 'post_ln', 'zero_init': True}, 'nothing would pass'),
        ({'block': 'preact'}, 'take one of pre_ln, post_ln'),
        ({'norm': 'batch'}, 'take one of layer, layer_rms, none'),
        ({'branch_scale': 'fixup'}, 'branch_scale=skipinit'),
        ({'branch_scale': 'norm_sqrt_index', 'block': 'post_ln'}, 'branch_scale=sqrt_index'),
        ({'family': 'cifar_resnet', 'branch_scale': 'norm_sqrt_index'}, 'block=preact'),
        ({'family': 'cifar_resnet', 'norm': 'layer'}, 'take one of batch, rms, none'),
        ({'family': 'cifar_resnet', 'heads': 2}, 'it is for transformer alone'),
    ],
)
def test_networks_that_cannot_be_are_refused_with_what_can(values, message):
    with pytest.raises(errors.ConfigError, match=message):
        config.part('model', {'family': 'transformer'} | values)
