"""Decoders by what has to hold of them, beside the goldens: padding, blocks, positions."""

import jax
import jax.numpy as jnp
import numpy as np
import published
import pytest

from resnet_dyn import errors, pretrained
from resnet_dyn.models import stack
from resnet_dyn.pretrained import rotary, settings, sublayers

SIZES = {'vocab_size': 13, 'num_hidden_layers': 2, 'hidden_size': 8, 'num_attention_heads': 2}
CONFIGS = {
    'gpt2': {'vocab_size': 13, 'n_layer': 2, 'n_embd': 8, 'n_head': 2, 'n_positions': 9},
    'gpt_neox': {**SIZES, 'intermediate_size': 12, 'rotary_pct': 0.5},
    'llama': {**SIZES, 'intermediate_size': 12, 'num_key_value_heads': 1},
    'olmo2': {**SIZES, 'intermediate_size': 12},
}
TOKENS_BT = np.random.default_rng(1).integers(0, 13, (3, 7))
MASK_BT = np.ones((3, 7), int)
MASK_BT[1, 5:] = 0  # padding on the right
MASK_BT[2, :2] = 0  # and on the left
SHORT_BT = TOKENS_BT[:, :5]


@pytest.fixture(scope='module')
def opened(tmp_path_factory):
    """opened(kind, **options): a network with random weights in the layout of its kind."""

    def of(kind, blocks='sublayers', **options):
        config = {'model_type': kind, **CONFIGS[kind]}
        folder = published.write(tmp_path_factory.mktemp(kind), config)
        return pretrained.open(folder, blocks=blocks, **options)

    return of


run = jax.jit(stack.apply)


def logits(network, gates=None, tokens=TOKENS_BT, mask=MASK_BT):
    gates = np.asarray(np.ones(network.net.num_blocks) if gates is None else gates, np.float32)
    return np.asarray(run(network.net, network.inputs(tokens, mask), gates))


@pytest.mark.parametrize('kind', CONFIGS)
def test_what_stands_at_padding_changes_nothing_elsewhere(kind, opened):
    network, seen = opened(kind), MASK_BT.astype(bool)
    others = np.where(seen, TOKENS_BT, (TOKENS_BT + 5) % 13)
    one, two = logits(network), logits(network, tokens=others)
    assert np.isfinite(one).all() and np.isfinite(two).all()
    np.testing.assert_array_equal(one[seen], two[seen])
    assert np.abs(one - two)[~seen].max() > 0.1
    short = logits(network, tokens=SHORT_BT, mask=None)
    np.testing.assert_allclose(short[1], one[1, :5], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('kind', CONFIGS)
def test_a_position_sees_none_that_comes_after(kind, opened):
    network, later = opened(kind), SHORT_BT.copy()
    later[:, 3:] = (later[:, 3:] + 3) % 13
    one, two = (logits(network, tokens=tokens, mask=None) for tokens in (SHORT_BT, later))
    np.testing.assert_array_equal(one[:, :3], two[:, :3])
    assert np.abs(one - two)[:, 3:].min(2).max() > 0


@pytest.mark.parametrize('kind', ['gpt2', 'llama', 'olmo2'])
def test_a_layer_is_its_two_sublayers(kind, opened):
    apart, whole = opened(kind), opened(kind, 'layers')
    assert apart.names == ('0.attention', '0.mlp', '1.attention', '1.mlp') == apart.net.names
    assert whole.names == ('0.layer', '1.layer') and whole.net.groups is None
    assert apart.net.groups == ((0, 1), (2, 3))
    for gates_L in ([1, 1], [0, 1], [1, 0]):
        two = logits(apart, np.repeat(gates_L, 2))
        np.testing.assert_allclose(logits(whole, gates_L), two, rtol=1e-4, atol=1e-5)


def test_parallel_blocks_are_one_or_two(opened):
    one, two = opened('gpt_neox'), opened('gpt_neox', parallel='two')
    assert one.names == ('0.layer', '1.layer')
    assert two.names == ('0.attention', '0.mlp', '1.attention', '1.mlp')
    whole = opened('gpt_neox', 'layers', parallel='two')
    np.testing.assert_array_equal(logits(whole), logits(one))
    for gates_L in ([1, 1], [0, 1], [0.3, 0.5]):
        found = logits(two, np.repeat(gates_L, 2))
        np.testing.assert_allclose(found, logits(one, gates_L), rtol=1e-4, atol=1e-5)


@jax.jit
def by_hand(net, inputs, gates):
    """Two parallel blocks a layer, from their branches; gates (layers, 2)."""
    context, kinds = net.make_context(inputs), net.stages[0].stages
    h = jnp.split(net.stem(net.stem_params, inputs, context), 2, -1)[0]
    for i in range(2):
        parts = [k.branch.branch(stack.block_params(k, i), h, context) for k in kinds]
        h = h + gates[i, 0] * parts[0] + gates[i, 1] * parts[1]
    return net.head(net.head_params, jnp.concatenate([h, h], -1), context)


def test_each_of_two_parallel_blocks_sees_what_came_into_the_layer(opened):
    network, gates = opened('gpt_neox', parallel='two'), np.array([[0.5, 0], [0, 1]])
    wanted = by_hand(network.net, network.inputs(TOKENS_BT, MASK_BT), gates)
    np.testing.assert_allclose(logits(network, gates.ravel()), wanted, rtol=1e-4, atol=1e-5)


def test_the_next_checkpoint_compiles_nothing(opened):
    compiled = []
    for _ in range(2):
        logits(opened('llama'), tokens=SHORT_BT, mask=None)
        compiled.append(run._cache_size())
    assert compiled[0] == compiled[1] > 0


def test_texts_longer_than_the_learned_positions_are_refused(opened):
    with pytest.raises(errors.PretrainedError, match='the network has 9 positions'):
        opened('gpt2').inputs(np.zeros((1, 10), int))


def config_of(**values) -> settings.Settings:
    return settings.Settings(values, 'config.json')


LLAMA3 = {
    'rope_type': 'llama3',
    'factor': 8.0,
    'low_freq_factor': 1.0,
    'high_freq_factor': 4.0,
    'original_max_position_embeddings': 32,
}


def test_frequencies_of_llama_3_are_kept_divided_or_between_by_their_wavelength():
    read = rotary.read(config_of(rope_theta=100.0, rope_scaling=LLAMA3), 16)
    found, plain = read.frequencies(), rotary.Rotary(16, 100.0).frequencies()
    for new, old in zip(found, plain, strict=True):
        turns = 32 * old / (2 * np.pi)  # within the length that it was trained for
        part = np.clip((turns - 1) / (4 - 1), 0, 1)
        np.testing.assert_allclose(new, part * old + (1 - part) * old / 8, rtol=1e-6)
    assert found[0] == plain[0] and found[-1] == plain[-1] / 8


@pytest.mark.parametrize(
    'values',
    [
        {'rope_theta': 50.0, 'rope_scaling': {'type': 'linear', 'factor': 4.0}},
        {'rope_parameters': {'rope_theta': 50.0, 'rope_type': 'linear', 'factor': 4.0}},
    ],
)
def test_configs_of_before_and_of_today_say_the_same_positions(values):
    read = rotary.read(config_of(**values), 8)
    np.testing.assert_allclose(read.frequencies(), 50.0 ** (-np.arange(4) / 4) / 4, rtol=1e-6)


def test_names_of_the_same_number_that_disagree_are_refused():
    names = ('rotary_emb_base', 'rope_theta')
    with pytest.raises(errors.PretrainedError, match=r'rope_theta=20.*the same as rotary_emb_base'):
        rotary.read(config_of(rotary_emb_base=10.0, rope_theta=20.0), 8, names)


def test_a_part_of_a_head_is_turned_where_the_layout_has_that_and_refused_elsewhere():
    part = {'rope_parameters': {'rope_type': 'default', 'partial_rotary_factor': 0.5}}
    assert rotary.read(config_of(**part), 8, share_names=('rotary_pct',)).width == 4
    with pytest.raises(errors.PretrainedError, match='heads turned as a whole'):
        rotary.read(config_of(**part), 8)


def test_turning_keeps_lengths_and_makes_scores_depend_on_distance_alone():
    x = np.float32(np.random.default_rng(2).normal(size=(2, 1, 1, 8)))
    turned = rotary.Rotary(6, 30.0)

    @jax.jit
    def turn(x, t):
        return rotary.turn(x[None], turned.angles(jnp.full((1, 1), t)))[0, 0, 0]

    def at(x, t):
        return np.asarray(turn(x, t))

    np.testing.assert_allclose(np.linalg.norm(at(x[0], 5)), np.linalg.norm(x[0]), rtol=1e-5)
    near, far = (at(x[0], t) @ at(x[1], t + 3) for t in (0, 11))
    np.testing.assert_allclose(near, far, rtol=1e-4)
    np.testing.assert_array_equal(at(x[0], 5)[6:], x[0, 0, 0, 6:])


def test_a_query_that_sees_nothing_gets_no_nan():
    q, k, v = (np.full((1, 2, 2, 4), c, np.float32) for c in (1, 2, 3))
    out = jax.jit(sublayers.attend)(q, k, v, np.zeros((1, 1, 2, 2), bool), 0.5)
    np.testing.assert_array_equal(out, np.full((1, 2, 8), 3.0))


def test_norms_are_taken_in_float32():
    x = np.asarray(np.random.default_rng(3).normal(size=(1, 1, 512)) + 30, jnp.bfloat16)
    p = {'w': np.ones(512, jnp.bfloat16), 'b': np.zeros(512, jnp.bfloat16)}
    wide = np.asarray(x, np.float64)
    wanted = (wide - wide.mean()) / np.sqrt(wide.var() + 1e-5)
    one, two = (jax.jit(norm, static_argnums=2)(p, x, 1e-5) for norm in sublayers.NORMS.values())
    np.testing.assert_allclose(np.float64(one), wanted, atol=0.02)
    assert one.dtype == two.dtype == jnp.bfloat16
