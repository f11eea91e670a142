"""Scales of branches: identities, constants by hand, fixup by its paper, gammas, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import random_variables

from resnet_dyn import config, errors
from resnet_dyn.analysis import depth_measures
from resnet_dyn.kernels import lesions, masks
from resnet_dyn.models import (
    blocks,
    branch_scales,
    gammas,
    network,
    presets,
    stack,
    statistics,
)
from resnet_dyn.theory import path_weights

FIXED = {
    'sqrt_depth': [0.5] * 4,
    'depth': [0.25] * 4,
    'sqrt_index': [1.0, 0.70710678, 0.57735027, 0.5],
}


def vectors():
    return np.random.default_rng(1).normal(size=(4, 5)).astype(np.float32)


def images():
    return np.random.default_rng(1).normal(size=(4, 8, 8, 3)).astype(np.float32)


def dense(branch_scale, norm='none', block='preact', **options):
    return presets.fully_connected(5, 6, 3, block, norm, branch_scale=branch_scale, **options)


def relu(x):
    return np.maximum(x, 0)


def by_hand(variables, x, factors_L):
    """A preact net without norms, in float64."""
    params = jax.tree.map(np.float64, variables['params'])
    h = x @ params['stem']['linear']['kernel']
    for l, factor in enumerate(factors_L):
        h = h + factor * (relu(h) @ params['stage_0']['linear_0']['kernel'][l])
    head = params['head']['linear']
    return relu(h) @ head['kernel'] + head['bias']


def both(model, variables, x, gates=None):
    """The logits of the model and of its stack."""
    whole = stack.from_model(model, variables)
    open_or = np.ones(whole.num_blocks, np.float32) if gates is None else gates
    return jax.jit(model.apply)(variables, x, gates), jax.jit(stack.apply)(whole, x, open_or)


def test_the_kinds_of_the_config_are_the_rows_of_the_table():
    assert tuple(branch_scales.KINDS) == config.BRANCH_SCALES
    trained = [name for name, kind in branch_scales.KINDS.items() if kind.trained]
    assert tuple(trained) == config.TRAINED_SCALES


@pytest.mark.slow_but('depth')
@pytest.mark.parametrize('branch_scale', FIXED)
def test_fixed_scales_are_those_of_a_hand_written_network(branch_scale):
    model, x = dense(branch_scale), vectors()
    variables = random_variables.of(model, x)
    assert sorted(variables) == ['params']
    expected = by_hand(variables, x, FIXED[branch_scale])
    gates = np.array([1, 0, 1, 0.5], np.float32)
    gated = by_hand(variables, x, FIXED[branch_scale] * gates)
    for found in both(model, variables, x):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    for found in both(model, variables, x, gates):
        np.testing.assert_allclose(found, gated, rtol=1e-5, atol=1e-5)


def test_an_index_counts_through_all_stages():
    model, x = presets.cifar_resnet(14, norm='none', branch_scale='sqrt_index'), images()
    variables = random_variables.of(model, x)
    plain = presets.cifar_resnet(14, norm='none')
    gates = (np.arange(1, 7) ** -0.5).astype(np.float32)
    expected = jax.jit(plain.apply)(variables, x, gates)
    for found in both(model, variables, x):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.slow_but('preact-none', 'paper-batch')
@pytest.mark.parametrize('norm', config.NORMS)
@pytest.mark.parametrize('block', ['preact', 'postact', 'paper'])
def test_a_trained_scale_of_1_changes_no_bit(block, norm):
    scaled, plain = dense('skipinit', norm, block), dense('none', norm, block)
    x = vectors()
    variables = random_variables.of(scaled, x)
    variables['gammas']['stage_0']['branch_scale']['gamma'][:] = 1
    bare = jax.tree.map(lambda leaf: leaf, variables)
    del bare['gammas']['stage_0']['branch_scale']
    expected = jax.jit(plain.apply)(bare, x)
    for found in both(scaled, variables, x):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    with jax.disable_jit():
        assert (scaled.apply(variables, x) == plain.apply(bare, x)).all()


def test_survival_1_changes_no_bit_and_no_program():
    model = dense('none', 'batch')
    assert model.branch_factors() is None
    assert dense('none', 'batch', survival=1.0) == model


def test_branches_are_scaled_by_their_survival_where_nothing_is_trained():
    model, x = dense('sqrt_depth', survival=0.5), vectors()
    np.testing.assert_allclose(model.survival_rates, [0.875, 0.75, 0.625, 0.5], rtol=1e-15)
    variables = random_variables.of(model, x)
    gates = np.array([1, 0, 1, 2], np.float32)
    expected = by_hand(variables, x, 0.5 * model.survival_rates * gates)
    for found in both(model, variables, x, gates):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    trained = jax.jit(model.apply, static_argnames='train')(variables, x, gates, train=True)
    np.testing.assert_allclose(trained, by_hand(variables, x, 0.5 * gates), rtol=1e-5, atol=1e-5)


def test_statistics_are_estimated_of_the_network_that_survival_scales():
    model, x = dense('none', 'rms', 'paper', survival=0.5), vectors()
    variables = random_variables.of(model, x)
    found = statistics.estimated(model, variables, x[None])
    logits, of_stack = both(model, found, x)
    of_batch = jax.jit(stack.apply)(stack.from_model(model, variables, 'batch'), x, np.ones(4))
    np.testing.assert_allclose(logits, of_batch, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(of_stack, of_batch, rtol=1e-4, atol=1e-5)


def test_a_trained_scale_is_the_last_gamma_of_its_branch():
    model = presets.cifar_resnet(14, branch_scale='skipinit')
    shapes = jax.eval_shape(model.init, jax.random.key(0), images())['gammas']
    tree = jax.tree.map(lambda leaf: np.ones(leaf.shape), shapes)
    for i, first in enumerate((0, 2, 3, 4, 5)):
        values = tree[f'stage_{i}']['branch_scale']['gamma']
        values[:] = -first - np.arange(len(values))[:, None]
    assert [list(block) for block in gammas.by_block(tree)] == [
        ['norm_0', 'norm_1', 'branch_scale']
    ] * 6
    mean_L, std_L = gammas.mean_abs(tree)
    np.testing.assert_array_equal(mean_L, np.arange(6))
    np.testing.assert_array_equal(std_L, 0)


def test_without_norms_a_stack_has_the_trained_scales_for_its_gammas():
    model, x = dense('skipinit', branch_scale_init=2.0), vectors()

    @jax.jit
    def run(key):
        variables = model.init(key, x)
        return variables['gammas'], gammas.of_stack(stack.from_model(model, variables))

    own, found = jax.device_get(run(jax.random.key(0)))
    assert list(own) == ['stage_0']
    np.testing.assert_array_equal(gammas.last(found), np.full((4, 1), 2.0))


def test_ten_norms_are_counted_not_spelt():
    names = [f'norm_{i}' for i in (10, 9, 2)] + ['branch_scale', 'norm_own', 'shortcut_norm']
    expected = ['norm_2', 'norm_9', 'norm_10', 'norm_own', 'branch_scale']
    assert gammas.in_order(names) == expected


def equal_blocks(length, layers):
    """One stage of equal blocks of fixup, postact."""
    style = blocks.Style('postact', 'none', branch_scale='fixup')
    first = blocks.Layer(layers[0].features, layers[0].kernel)
    return network.ResidualNetwork(first, (network.StageSpec(length, layers),), 3, style)


@pytest.mark.slow_but('kernels1--0.25')
@pytest.mark.parametrize(('kernels', 'power'), [((3, 3), -1 / 2), ((1, 3, 1), -1 / 4)])
def test_fixup_begins_with_the_values_of_its_paper(kernels, power):
    model = equal_blocks(5, tuple(blocks.Layer(32, kernel) for kernel in kernels))
    x = images()[:, :2, :2]
    variables = jax.device_get(jax.jit(model.init)(jax.random.key(0), x))
    params = variables['params']
    own = params['stage_0']
    *first, last = (own[f'linear_{j}']['kernel'] for j in range(len(kernels)))
    for kernel in first:
        deviation = (2 / np.prod(kernel.shape[1:-1])) ** 0.5 * 5**power
        # five standard errors of a standard deviation
        np.testing.assert_allclose(kernel.std(), deviation, rtol=5 * (2 * kernel.size) ** -0.5)
    assert (last == 0).all() and (params['head']['linear']['kernel'] == 0).all()
    values = jax.tree_util.tree_leaves_with_path(variables)
    assert all((leaf == 0).all() for path, leaf in values if path[-1].key == 'bias')
    assert all((leaf == 1).all() for path, leaf in values if path[0].key == 'gammas')
    whole = stack.from_model(model, variables)

    @jax.jit
    def run(whole):
        return stack.second_moments(whole, x).branch, stack.apply(whole, x, np.ones(5))

    assert all((np.asarray(zeros) == 0).all() for zeros in run(whole))


def begun(model, x, seed):
    """The initial values of fixup, drawn by NumPy; stems of one seed are the same."""
    starts = {'bias': 0, 'gamma': 1}
    variables = random_variables.of(model, x, seed)
    params = variables['params']
    for j, gain in enumerate(branch_scales.initial_gains(model.style.scale, model.num_blocks, 2)):
        params['stage_0'][f'linear_{j}']['kernel'] *= np.float32(gain)
    stem = params['stem']['linear']['kernel']
    stem[:] = np.random.default_rng(seed).normal(0, 0.5, stem.shape)
    params['head']['linear']['kernel'] *= 0
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: leaf * 0 + starts.get(path[-1].key, leaf), variables
    )


def moved(length):
    """How far two steps of descent of all weights move the logits through the branches."""
    model, x = equal_blocks(length, (blocks.Layer(64),) * 2), vectors()

    def loss(variables):
        return -jax.nn.log_softmax(model.apply(variables, x))[:, 0].mean()

    def descended(path, leaf, slope):
        return leaf - 0.1 * slope if path[-1].key == 'kernel' else leaf

    @jax.jit
    def run(variables):
        for _ in range(2):
            slopes = jax.grad(loss)(variables)
            variables = jax.tree_util.tree_map_with_path(descended, variables, slopes)
        return model.apply(variables, x) - model.apply(variables, x, jnp.zeros(length))

    squares = [np.mean(run(begun(model, x, seed)) ** 2) for seed in range(8)]
    return np.mean(squares) ** 0.5


@pytest.mark.slow
def test_updates_move_a_fixup_network_as_far_whatever_its_depth():
    shallow, deep = moved(4), moved(32)
    assert shallow > 0
    # of a block sqrt(5 / 64), of 4 blocks and 8 networks 5 %; unscaled it is the factor 8 of blocks
    assert 0.8 < deep / shallow < 1.25


@pytest.mark.slow_but('cifar-postact')
@pytest.mark.parametrize(
    ('model', 'weights', 'scalars'),
    [  # of a block 2 biases a layer and the scale; 2 more in the stem and the head
        (presets.cifar_resnet(20, 'postact', 'none', branch_scale='fixup'), 268_346, 9 * 5 + 2),
        (presets.cifar_resnet(20, 'preact', 'none', branch_scale='fixup'), 268_346, 9 * 5 + 2),
        (presets.imagenet_resnet(50, norm='none', branch_scale='fixup'), 25_503_912, 16 * 7 + 2),
    ],
    ids=['cifar-postact', 'cifar-preact', 'imagenet'],
)
def test_fixup_has_as_many_scalars_as_the_code_of_its_authors(model, weights, scalars):
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((2, 32, 32, 3)))
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == weights + scalars


def convolved(kernel, h, stride=1):
    """A 3x3 convolution padded by 1, as sums of shifted products."""
    h = np.pad(h, ((0, 0), (1, 1), (1, 1), (0, 0)))
    size = h.shape[1] - 2
    parts = [
        h[:, u : u + size : stride, v : v + size : stride] @ kernel[u, v]
        for u in range(3)
        for v in range(3)
    ]
    return sum(parts)


@pytest.mark.slow_but('postact')
@pytest.mark.parametrize('block', ['preact', 'postact'])
def test_fixup_puts_its_biases_where_the_code_of_its_authors_has_them(block):
    model, x = presets.cifar_resnet(8, block, 'none', branch_scale='fixup'), images()
    variables = random_variables.of(model, x)
    params = jax.tree.map(np.float64, variables['params'])
    stem, head = params['stem'], params['head']
    h = convolved(stem['linear']['kernel'], np.float64(x))
    if block == 'postact':
        h = relu(h + stem['bias_0']['bias'])
    for l in range(3):
        own = jax.tree.map(lambda leaf: leaf[0], params[f'stage_{l}'])
        first, second = own['linear_0']['kernel'], own['linear_1']['kernel']
        b_0, b_1, b_2, b_3 = (own[f'bias_{i}']['bias'] for i in range(4))
        scale = float(variables['gammas'][f'stage_{l}']['branch_scale']['gamma'][0, 0])
        stride, skip = (1, h) if l == 0 else (2, None)
        if block == 'postact':
            branch = convolved(first, h + b_0, stride)
            branch = scale * convolved(second, relu(branch + b_1) + b_2) + b_3
        else:
            branch = convolved(first, relu(h + b_0) + b_1, stride)
            branch = scale * convolved(second, relu(branch + b_2) + b_3)
        if skip is None:
            shared = b_0 if block == 'postact' else b_1
            extra = h.shape[-1] // 2
            skip = np.pad((h + shared)[:, ::2, ::2], [(0, 0)] * 3 + [(extra, extra)])
        h = relu(skip + branch) if block == 'postact' else skip + branch
    biases = [head[name]['bias'] for name in sorted(head) if name.startswith('bias')]
    if block == 'preact':
        h = relu(h + biases.pop(0))
    expected = (h.mean((1, 2)) + biases[0]) @ head['linear']['kernel'] + head['linear']['bias']
    for found in both(model, variables, x):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)  # float32 of 8 layers


@pytest.mark.parametrize(
    ('values', 'message'),
    [
        ({'block': 'plain', 'branch_scale': 'depth'}, 'plain have no skip'),
        ({'block': 'plain', 'branch_scale': 'skipinit'}, 'plain have no skip'),
        ({'family': 'cifar_resnet', 'branch_scale': 'fixup'}, 'config.model.norm=none'),
        ({'norm': 'none', 'branch_scale': 'fixup'}, 'fully_connected have one layer'),
        (
            {'family': 'cifar_resnet', 'norm': 'none', 'block': 'paper', 'branch_scale': 'fixup'},
            'config.model.block=preact',
        ),
        ({'branch_scale_init': 1.0}, 'for skipinit alone'),
        ({'branch_scale': 'skip_init'}, "did you mean 'skipinit'"),
    ],
)
def test_a_scale_that_cannot_be_is_refused_with_what_to_take(values, message):
    with pytest.raises(errors.ConfigError, match=message):
        config.part('model', values)


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda: dense('fixup'), 'fully_connected have one layer'),
        (lambda: presets.cifar_resnet(20, branch_scale='fixup'), 'stands in for norms'),
        (lambda: dense('depth', block='plain'), 'plain have no skip'),
        (lambda: dense('sqrt'), "'sqrt' is none of none, skipinit"),
        (lambda: dense('none', survival=0.0), 'no probability in'),
    ],
)
def test_a_module_made_by_hand_is_refused_alike(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_gammas_are_there_with_norms_or_trained_scales():
    def has(**values):
        return config.has_gammas(config.part('model', values))

    assert has()
    assert has(norm='none', branch_scale='skipinit')
    assert not has(norm='none', branch_scale='depth')


def test_a_config_names_the_scale_and_its_start():
    values = {'norm': 'none', 'branch_scale': 'skipinit', 'branch_scale_init': 0.5}
    model = presets.from_config(config.part('model', values), 3, survival=0.5)
    assert model.style.branch_scale_init == 0.5
    assert model.survival_rates[-1] == 0.5


@pytest.mark.slow_but('paper')
@pytest.mark.parametrize('block', ['preact', 'postact', 'paper'])
def test_lesions_are_free_where_trained_scales_are_zero(block):
    model, x = dense('skipinit', block=block), vectors()
    variables = random_variables.of(model, x)
    variables['gammas']['stage_0']['branch_scale']['gamma'][:] = 0
    whole, all_ML = stack.from_model(model, variables), masks.all_masks(4)
    found = lesions.score(whole, x, np.arange(4) % 3, all_ML, ('loss', 'logits'))
    for values in found.values():
        np.testing.assert_array_equal(values, np.broadcast_to(values[-1], values.shape))


def test_gains_of_sqrt_depth_are_equal_and_depth_is_the_theorys():
    """A preact net without norms: He's weights keep E|W relu(h)|^2 = E|h|^2, so b_l = 1/sqrt(L).

    With a norm gains would be unequal: its branches all have one size, and the skip grows.
    """
    L, networks = 9, 4
    model = presets.fully_connected(L + 1, 512, 3, 'preact', 'none', branch_scale='sqrt_depth')
    x = np.random.default_rng(0).normal(size=(64, 256)).astype(np.float32)
    nets = [stack.from_model(model, random_variables.of(model, x, s)) for s in range(networks)]
    moments = [jax.device_get(stack.second_moments(net, x)) for net in nets]
    gains_SL = np.stack([depth_measures.gains(found) for found in moments])
    # of one network and block sqrt(7 / 512) / 2 = 6 % where all examples are alike, 1 % of all
    np.testing.assert_allclose(np.sqrt((gains_SL**2).mean()), L**-0.5, rtol=0.02)
    record = depth_measures.from_gains(0, gains_SL)
    coherent, _ = path_weights.depth_moments(path_weights.log_path_weights(L**-0.5, L + 1))
    np.testing.assert_allclose(record.incoherent_mean_S.mean(), 1 + L / (L + 1), rtol=0.02)
    np.testing.assert_allclose(record.coherent_mean_S.mean(), coherent, rtol=0.02)
