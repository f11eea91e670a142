"""The networks by name: exact sizes, variables by name, gates, block kinds, initial scales."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import random_variables

from resnet_dyn import config
from resnet_dyn.models import gammas, presets

CIFAR_SIZES = {20: 269_722, 32: 464_154, 44: 658_586, 56: 853_018, 110: 1_727_962}
IMAGENET_SIZES = {18: 11_689_512, 34: 21_797_672, 50: 25_557_032, 101: 44_549_160}
KINDS = [(block, 'batch') for block in config.BLOCKS] + [('preact', 'rms'), ('paper', 'none')]


def images():
    return np.random.default_rng(1).normal(size=(4, 8, 8, 3)).astype(np.float32)


def trainable(model, shape):
    variables = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros(shape))
    return sum(a.size for a in jax.tree.leaves((variables['params'], variables['gammas'])))


@pytest.mark.slow_but('20', '110')
@pytest.mark.parametrize('depth', [*CIFAR_SIZES, 1202])
def test_cifar_resnets_have_the_published_number_of_trainable_values(depth):
    expected = CIFAR_SIZES.get(depth, 19_421_274)
    assert trainable(presets.cifar_resnet(depth, 'postact'), (2, 32, 32, 3)) == expected


@pytest.mark.slow_but('18', '50')
@pytest.mark.parametrize('depth', [*IMAGENET_SIZES, 152])
def test_imagenet_resnets_have_the_published_number_of_trainable_values(depth):
    expected = IMAGENET_SIZES.get(depth, 60_192_808)
    assert trainable(presets.imagenet_resnet(depth), (2, 64, 64, 3)) == expected


def test_the_depth_of_a_fully_connected_net_counts_the_stem_and_not_the_classifier():
    model = presets.fully_connected(depth=10, width=7, classes=5)
    assert model.num_blocks == 9
    assert trainable(model, (2, 3)) == 3 * 7 + 9 * 7 * 7 + 10 * 7 * 2 + 7 * 5 + 5


def test_resnet_110_has_54_blocks_and_resnet_50_has_16():
    assert presets.cifar_resnet(110).num_blocks == 54
    assert presets.imagenet_resnet(50).num_blocks == 16


def test_the_names_of_the_variables_are_stage_block_and_norm():
    model = presets.cifar_resnet(14, 'preact')
    variables = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((2, 8, 8, 3)))
    assert sorted(variables) == ['batch_stats', 'gammas', 'params']
    stages = {f'stage_{i}': length for i, length in enumerate((2, 1, 1, 1, 1))}
    assert sorted(variables['gammas']) == sorted([*stages, 'head', 'stem'][:-1])
    for name, length in stages.items():
        shapes = {k: v['gamma'].shape for k, v in variables['gammas'][name].items()}
        assert sorted(shapes) == ['norm_0', 'norm_1']
        assert all(shape[0] == length for shape in shapes.values())
        assert sorted(variables['params'][name]) == ['linear_0', 'linear_1', 'norm_0', 'norm_1']


def test_by_block_lists_the_gammas_of_the_branches_in_forward_order():
    model = presets.cifar_resnet(14, 'postact')
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((2, 8, 8, 3)))['gammas']
    tree = jax.tree.map(lambda leaf: np.ones(leaf.shape, leaf.dtype), shapes)
    tree['stage_0']['norm_1']['gamma'] = np.outer(np.arange(2.0), np.ones(16))
    tree['stage_3']['norm_1']['gamma'] = np.full((1, 64), 7.0)
    blocks = gammas.by_block(tree)
    assert [block['norm_1'].shape for block in blocks] == [(16,)] * 2 + [(32,)] * 2 + [(64,)] * 2
    mean_L, std_L = gammas.mean_abs(tree)
    np.testing.assert_array_equal(mean_L, [0, 1, 1, 1, 7, 1])
    np.testing.assert_array_equal(std_L, 0)


def test_the_last_gammas_of_the_branches_are_told_from_all_others():
    model = presets.imagenet_resnet(18)
    tree = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((2, 32, 32, 3)))['gammas']
    leaves = jax.tree_util.tree_leaves_with_path(gammas.is_last(tree))
    last = {path[0].key + path[1].key for path, is_last in leaves if is_last}
    assert last == {f'stage_{i}norm_1' for i in range(len(model.stages))}
    assert len(leaves) == 2 * len(model.stages) + 3 + 1  # of shortcuts, and of the stem


def test_without_norm_there_are_no_gammas_and_asking_says_so():
    model = presets.fully_connected(norm='none')
    variables = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((2, 5)))
    assert list(variables) == ['params']
    with pytest.raises(ValueError, match='norm none has no gammas'):
        gammas.by_block({})


@pytest.mark.slow_but('paper-batch', 'paper-none')
@pytest.mark.parametrize(('block', 'norm'), KINDS)
def test_open_gates_are_the_plain_forward_and_training_moves_the_averages(block, norm):
    model = presets.cifar_resnet(8, block, norm)
    x = images()
    variables = random_variables.of(model, x)

    @jax.jit
    def run(variables):
        plain = model.apply(variables, x)
        gated = model.apply(variables, x, jnp.ones(model.num_blocks))
        _, new = model.apply(variables, x, train=True, mutable=['batch_stats'])
        return plain, gated, new

    plain, gated, new = run(variables)
    np.testing.assert_allclose(gated, plain, rtol=1e-5, atol=1e-5)
    old = variables.get('batch_stats', {})
    assert jax.tree.structure(new.get('batch_stats', {})) == jax.tree.structure(old)
    pairs = zip(jax.tree.leaves(new), jax.tree.leaves(old), strict=True)
    assert all((np.asarray(a) != b).any() for a, b in pairs)


def test_a_closed_gate_is_not_gamma_zero_because_the_bias_stays():
    model = presets.fully_connected(depth=3, width=6, classes=2)
    x = np.random.default_rng(1).normal(size=(4, 5)).astype(np.float32)
    variables = random_variables.of(model, x)
    variables['params']['stage_0']['norm_0']['bias'] += 1
    run = jax.jit(model.apply)
    closed = run(variables, x, np.zeros(2))
    variables['gammas']['stage_0']['norm_0']['gamma'] *= 0
    assert not np.allclose(run(variables, x, np.ones(2)), closed)


@pytest.mark.slow_but('preact')
@pytest.mark.parametrize('block', ['preact', 'postact', 'paper'])
def test_zero_init_makes_every_branch_vanish_at_the_start(block):
    model = presets.fully_connected(3, 6, 5, block, zero_init=True)
    x = np.random.default_rng(1).normal(size=(4, 7)).astype(np.float32)

    def begun(path, start, drawn):
        return drawn if path[-1].key == 'kernel' else start

    @jax.jit
    def run(key, drawn):
        variables = jax.tree_util.tree_map_with_path(begun, model.init(key, x), drawn)
        return [model.apply(variables, x, gates) for gates in (None, jnp.zeros(2))]

    found, closed = run(jax.random.key(0), random_variables.of(model, x))
    np.testing.assert_allclose(found, closed, rtol=1e-6, atol=1e-6)


def test_bfloat16_computes_in_bfloat16_and_keeps_float32_variables():
    model = presets.cifar_resnet(8, dtype=jnp.bfloat16)
    x = images()
    variables = random_variables.of(model, x)
    assert {a.dtype for a in jax.tree.leaves(variables)} == {jnp.dtype('float32')}
    logits = np.asarray(jax.jit(model.apply)(variables, x))
    exact = np.asarray(jax.jit(presets.cifar_resnet(8).apply)(variables, x))
    assert logits.dtype == np.float32
    # bfloat16 has 8 bits: 0.4 % a rounding, over some twenty of them
    np.testing.assert_allclose(logits, exact, atol=0.1 * np.abs(exact).max())
    assert not np.allclose(logits, exact, rtol=1e-4)


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda: presets.cifar_resnet(21), 'which is 6n'),
        (lambda: presets.imagenet_resnet(42), '42 is no depth of an imagenet_resnet'),
        (lambda: presets.fully_connected(1), 'leaves no block'),
        (lambda: presets.cifar_resnet(20, 'postactt'), "'postactt' is none of"),
        (lambda: presets.cifar_resnet(20, norm='layer'), "'layer' is none of"),
    ],
)
def test_an_impossible_network_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_gates_of_the_wrong_shape_are_refused():
    model = presets.fully_connected(depth=3, width=6, classes=2)
    x = np.zeros((1, 5), np.float32)
    variables = random_variables.of(model, x)
    with pytest.raises(ValueError, match='L=2'):
        jax.eval_shape(model.apply, variables, x, np.ones(3))


def test_a_config_names_the_preset():
    model = config.part('model', {'family': 'cifar_resnet'})
    assert presets.from_config(model, 10) == presets.cifar_resnet(dtype=jnp.dtype('float32'))
