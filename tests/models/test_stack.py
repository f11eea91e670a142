"""The stack is the network: same numbers, gates that delete, foreign nets by a few functions."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import random_variables

from resnet_dyn import config
from resnet_dyn.models import blocks, presets, stack
from resnet_dyn.models import network as network_lib

KINDS = [
    *itertools.product(['cifar_resnet'], config.BLOCKS, ['batch']),
    *itertools.product(['fully_connected'], config.BLOCKS, config.NORMS),
    ('bottleneck', 'postact', 'batch'),
    ('bottleneck', 'preact', 'batch'),
]


@functools.cache
def network(family, block, norm):
    if family == 'cifar_resnet':
        model, shape = presets.cifar_resnet(14, block, norm), (3, 4, 4, 3)
    elif family == 'bottleneck':
        model, shape = bottlenecks(block, norm), (3, 8, 8, 3)
    else:
        model, shape = presets.fully_connected(4, 8, 5, block, norm), (3, 6)
    x = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    variables = random_variables.of(model, x)
    return model, variables, x


def bottlenecks(block, norm):
    """An ImageNet ResNet-50 in small: bottlenecks, a projection shortcut, a pool."""
    Layer, Spec = blocks.Layer, network_lib.StageSpec
    down = (Layer(3, 1), Layer(3, 3, 2), Layer(12, 1))
    equal = (Layer(3, 1), Layer(3, 3), Layer(12, 1))
    stages = (Spec(1, down, 'projection'), Spec(2, equal))
    style = blocks.Style(block, norm)
    return network_lib.ResidualNetwork(Layer(4, 3, 2), stages, 5, style, pool=True)


def without(whole, deleted):
    """Gates that delete one block."""
    return (np.arange(whole.num_blocks) != deleted).astype(np.float32)


def surgery(whole, deleted):
    """The stack rebuilt without one block: its parameters and its place in the scan are gone."""
    stages, start = [], 0
    for stage in whole.stages:
        here = deleted - start
        start += stage.length
        if not 0 <= here < stage.length:
            stages.append(stage)
            continue
        for a, b in ((0, here), (here + 1, stage.length)):
            if a < b:
                params = jax.tree.map(lambda leaf, a=a, b=b: leaf[a:b], stage.params)
                stages.append(stack.Stage(params, stage.branch, b - a, stage.skip, stage.merge))
        keep = stack.Stage(
            jax.tree.map(lambda leaf, here=here: leaf[here : here + 1], stage.params),
            stage.skip or (lambda params, h: h),
            1,
            merge=stage.merge,
            skippable=False,
        )
        stages.insert(len(stages) - (here + 1 < stage.length), keep)
    return stack.ResidualStack(
        whole.stem_params, tuple(stages), whole.head_params, whole.stem, whole.head
    )


@pytest.mark.slow_but(
    'cifar_resnet-postact-batch',
    'fully_connected-preact-rms',
    'fully_connected-paper-none',
    'fully_connected-plain-batch',
    'bottleneck-preact-batch',
)
@pytest.mark.parametrize('kind', KINDS, ids='-'.join)
def test_open_gates_equal_the_forward_pass_of_the_model(kind):
    model, variables, x = network(*kind)

    @jax.jit
    def run(variables, x):
        whole = stack.from_model(model, variables)
        return stack.apply(whole, x, jnp.ones(whole.num_blocks)), model.apply(variables, x)

    logits, expected = run(variables, x)
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-5)


def test_the_kinds_of_the_config_are_the_rows_of_the_table():
    assert tuple(blocks.KINDS) == config.BLOCKS


def test_a_new_kind_is_one_row(monkeypatch):
    late = blocks.Kind(stem='weights relu', branch='weights relu norm', head='relu', merge=jnp.tanh)
    monkeypatch.setitem(blocks.KINDS, 'late', late)
    model, variables, x = network('fully_connected', 'late', 'rms')

    @jax.jit
    def run(variables, x):
        whole = stack.from_model(model, variables)
        return stack.apply(whole, x, jnp.ones(3)), model.apply(variables, x)

    def rms(h, tree, l):
        square = variables['batch_stats']['stage_0'][tree]['mean_square'][l]
        return h * variables['gammas']['stage_0'][tree]['gamma'][l] / np.sqrt(square + 1e-5)

    params = variables['params']
    h = np.maximum(x @ params['stem']['linear']['kernel'], 0)
    for l in range(3):
        branch = np.maximum(h @ params['stage_0']['linear_0']['kernel'][l], 0)
        h = np.tanh(h + rms(branch, 'norm_0', l))
    expected = np.maximum(h, 0) @ params['head']['linear']['kernel']
    expected = expected + params['head']['linear']['bias']
    for found in run(variables, x):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow_but(
    'fully_connected-preact-rms', 'fully_connected-postact-none', 'fully_connected-paper-batch'
)
@pytest.mark.parametrize('kind', [k for k in KINDS if k[1] != 'plain'], ids='-'.join)
def test_a_gated_network_is_the_surgically_cut_one_bit_for_bit(kind):
    model, variables, x = network(*kind)
    whole = stack.from_model(model, variables)
    with jax.disable_jit():
        for deleted in range(whole.num_blocks):
            cut = surgery(whole, deleted)
            expected = stack.apply(cut, x, np.ones(cut.num_blocks, np.float32))
            found = stack.apply(whole, x, without(whole, deleted))
            np.testing.assert_array_equal(found, expected)


def test_a_gated_network_is_the_cut_one_when_compiled():
    model, variables, x = network('cifar_resnet', 'postact', 'batch')
    whole = stack.from_model(model, variables)
    gated = jax.jit(model.apply)
    for deleted in (1, 2):
        cut = surgery(whole, deleted)
        expected = jax.jit(stack.apply)(cut, x, np.ones(cut.num_blocks, np.float32))
        found = gated(variables, x, without(whole, deleted))
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_batch_statistics_are_those_of_exactly_these_inputs():
    model, variables, x = network('cifar_resnet', 'preact', 'batch')
    whole = stack.from_model(model, variables, statistics='batch')

    @jax.jit
    def run(whole, variables):
        logits, _ = model.apply(variables, x, train=True, mutable=['batch_stats'])
        return stack.apply(whole, x, jnp.ones(6)), logits

    # two programs' order of sums, divided by the deviations of 4 examples
    np.testing.assert_allclose(*run(whole, variables), rtol=1e-4, atol=5e-5)
    with pytest.raises(ValueError, match='batch of 1'):
        stack.apply(whole, x[:1], np.ones(6))


def test_stacks_of_one_model_share_one_compiled_program():
    _, variables, x = network('fully_connected', 'paper', 'batch')
    traces = []

    @jax.jit
    def run(whole, x, gates):
        traces.append(1)
        return stack.apply(whole, x, gates)

    for factor in (1.0, 2.0):
        scaled = jax.tree.map(lambda a, f=factor: f * a, variables)
        run(stack.from_model(presets.fully_connected(4, 8, 5), scaled), x, np.ones(3))
    assert len(traces) == 1


def test_vmap_over_gates_and_over_seeds_equal_loops():
    model, variables, x = network('fully_connected', 'preact', 'batch')
    gates_ML = np.random.default_rng(5).uniform(size=(4, 3)).astype(np.float32)
    whole = stack.from_model(model, variables)
    batched = jax.jit(jax.vmap(stack.apply, (None, None, 0)))(whole, x, gates_ML)
    run = jax.jit(stack.apply)
    looped = [run(whole, x, gates) for gates in gates_ML]
    np.testing.assert_allclose(batched, looped, rtol=1e-5, atol=1e-6)
    double = stack.from_model(model, jax.tree.map(lambda a: 2 * a, variables))
    seeds = jax.tree.map(lambda a, b: np.stack([a, b]), whole, double)
    stacks = np.asarray(jax.jit(jax.vmap(stack.apply, (0, None, None)))(seeds, x, gates_ML[0]))
    np.testing.assert_allclose(stacks[0], looped[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(stacks[1], run(double, x, gates_ML[0]), rtol=1e-5, atol=1e-6)


def test_a_hand_written_network_is_a_stack_by_its_functions():
    weights = [np.random.default_rng(i).normal(size=(4, 4)) for i in range(3)]
    branches = [lambda h, w=w: jnp.tanh(h @ w) for w in weights]
    foreign = stack.from_functions(
        lambda x: 2 * x, branches, lambda h: h.sum(-1), skips=[None, lambda h: -h, None]
    )
    x = np.random.default_rng(3).normal(size=(5, 4)).astype(np.float32)
    h = 2 * np.asarray(x)
    h = h + np.tanh(h @ weights[0])
    h = -h
    h = h + 0.5 * np.tanh(h @ weights[2])
    found = jax.jit(stack.apply)(foreign, x, np.array([1.0, 0.0, 0.5]))
    np.testing.assert_allclose(found, h.sum(-1), rtol=1e-5)
    with pytest.raises(ValueError, match='1 skips for 3 branches'):
        stack.from_functions(lambda x: x, branches, lambda h: h, skips=[None])


def test_second_moments_are_the_mean_squares_of_branch_and_skip():
    foreign = stack.from_functions(
        lambda x: x, [lambda h: 3 * h, lambda h: h + 1], lambda h: h, [None, lambda h: h / 2]
    )
    x = np.array([[1.0, -2.0]])
    moments = stack.second_moments(foreign, x)
    np.testing.assert_allclose(moments.skip, [2.5, 10.0])
    np.testing.assert_allclose(moments.branch, [22.5, (25 + 49) / 2])
    gated = stack.second_moments(foreign, x, np.array([0.0, 2.0]))
    np.testing.assert_allclose(gated.branch, [0.0, 4 * (4 + 1) / 2])


def test_second_moments_of_a_stacked_network_equal_those_block_by_block():
    model, variables, x = network('cifar_resnet', 'postact', 'batch')
    whole = stack.from_model(model, variables)

    @jax.jit
    def block_by_block(whole, x):
        h, moments = stack.stem(whole, x), []
        for stage in whole.stages:
            for l in range(stage.length):
                params = jax.tree.map(lambda a, l=l: a[l], stage.params)
                branch, skip = stack.addends(stage, params, h, 1.0)
                moments.append(((branch**2).mean(), (skip**2).mean()))
                h = stack.block(stage, params, h, 1.0)
        return jnp.array(moments)

    found = np.stack(stack.second_moments(whole, x), 1)
    np.testing.assert_allclose(found, block_by_block(whole, x), rtol=1e-5)


def test_second_moments_of_a_bfloat16_network_are_exact_to_float32():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(64, 32)), jnp.bfloat16)
    foreign = stack.from_functions(lambda x: x, [lambda h: h[:, ::-1]], lambda h: h)
    moments = stack.second_moments(foreign, x)
    expected = (np.asarray(x, np.float64) ** 2).mean()
    for found in moments:
        assert found.dtype == jnp.float32
        np.testing.assert_allclose(found, [expected], rtol=1e-5)


def test_gates_of_the_wrong_shape_are_refused():
    model, variables, x = network('fully_connected', 'paper', 'batch')
    with pytest.raises(ValueError, match='L=3'):
        stack.apply(stack.from_model(model, variables), x, np.ones(4))


def test_what_is_done_to_arrays_later_is_not_done_to_their_stack():
    arrays = [np.ones(64 + i, np.float32) for i in range(30)]  # of which some could be shared
    net = stack.ResidualStack(arrays, (), (), lambda p, x: x, lambda p, h: h).to_device()
    inputs = stack.arrays(arrays)
    for array in arrays:
        array[:] = 2
    assert all((np.asarray(leaf) == 1).all() for leaf in (*net.stem_params, *inputs))
