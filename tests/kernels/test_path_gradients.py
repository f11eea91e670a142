"""The gradient by path length: against every single path, published values, and jax.grad."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import random_variables
import reference_values_paths as reference
from jax import lax

from resnet_dyn.kernels import masks, path_gradients, path_recurrence
from resnet_dyn.models import blocks, network, presets, stack, transforms

ACTIVATIONS = {'tanh': jnp.tanh, 'relu': jax.nn.relu, 'linear': lambda a: a}
SLOPES = {'tanh': lambda a: 1 - np.tanh(a) ** 2, 'relu': lambda a: 1.0 * (a > 0)}
PATHS = masks.all_masks(8)
LENGTHS = PATHS.sum(1).astype(int)
X = reference.STEM[None]  # one example
PROBES = 400  # of dense nets

norms = jax.jit(path_gradients.norms, static_argnames='kept')


def one_of_all(weights, h):
    """A branch of the reference net, whose activation is among its weights: one program for all."""
    into, out, number = weights
    a = h @ into.T
    return reference.SCALE * lax.select_n(number, *(f(a) for f in ACTIVATIONS.values())) @ out.T


def same(params, h):
    return h


def reference_net(activation, merge=None, into=reference.IN, out=reference.OUT):
    """The net of eight blocks as one stage."""
    numbers = np.full(8, list(ACTIVATIONS).index(activation), np.int32)
    stages = (stack.Stage((into, out, numbers), one_of_all, 8, merge=merge),)
    return stack.ResidualStack((), stages, (), same, same)


def read_out(h):
    return (h @ jnp.asarray(reference.READOUT, h.dtype)).sum()


def jacobians(activation, x, merged, into, out):
    """Of each block through its skip and through its branch, (8, width, width) each."""
    h, skips, branches = x[0], [], []
    for w, v in zip(into, out, strict=True):
        total = h + reference.SCALE * v @ reference.ACTIVATIONS[activation](w @ h)
        skips.append(np.diag(1.0 * (total > 0)) if merged else np.eye(len(h)))
        slopes = SLOPES[activation](w @ h)
        branches.append(skips[-1] @ (reference.SCALE * (v * slopes) @ w))
        h = np.maximum(total, 0) if merged else total
    return skips, branches


def of_all_paths(activation, x, merged=False, into=reference.IN, out=reference.OUT):
    """g_P of all 2^8 paths, (256, width), by plain matrix products; a ReLU where `merged`."""
    skips, branches = jacobians(activation, x, merged, into, out)
    gradients = np.tile(reference.READOUT, (256, 1))
    for l in reversed(range(8)):
        taken = PATHS[:, l : l + 1] == 1
        gradients = np.where(taken, gradients @ branches[l], gradients @ skips[l])
    return gradients


@pytest.mark.parametrize('activation', ACTIVATIONS)
def test_lengths_of_the_reference_net_are_the_published_ones(activation):
    expected = reference.VALUES[activation]
    with jax.enable_x64(True):
        net = reference_net(activation)
        found_R = np.asarray(norms(path_gradients.by_length(net, X, read_out)))
        np.testing.assert_allclose(found_R**2, expected['G2'], rtol=1e-9)
        forward_R = np.asarray(path_gradients.forward_by_length(net, X))
        np.testing.assert_allclose((forward_R**2).sum((1, 2)), expected['F2'], rtol=1e-9)
        np.testing.assert_allclose(
            forward_R[:, 0] @ reference.READOUT, expected['vF'], rtol=1e-9, atol=1e-15
        )


@pytest.mark.slow_but('relu')
@pytest.mark.parametrize('activation', ACTIVATIONS)
def test_energies_agree_with_all_paths_within_their_errors(activation):
    expected, probes = reference.VALUES[activation], 4000
    with jax.enable_x64(True):
        net = reference_net(activation)
        energies = path_gradients.energies(net, X, read_out, jax.random.key(0), probes)
        found, error = map(np.asarray, energies)
        # Five standard errors; k = 0 and k = L have one path each, and no variance.
        assert (abs(found - np.array(expected['S'])) <= 5 * error + 1e-12).all()
        np.testing.assert_allclose(
            error[1:-1] ** 2 * probes, expected['varR'][1:-1], rtol=0.25
        )  # a variance from 4000 draws of a heavy tail
        rms = np.asarray(path_gradients.sampled(net, X, read_out, jax.random.key(1), 3, 600))
        spread = 5 * rms.std() / np.sqrt(600)
        assert abs(rms.mean() - expected['S'][3] / 56) <= spread


@pytest.mark.slow_but('3')
@pytest.mark.parametrize('lengths_at_once', [1, 3])
def test_lengths_are_sums_over_all_paths_where_relus_follow_the_addition(lengths_at_once):
    with jax.enable_x64(True):
        net = reference_net('tanh', jax.nn.relu)
        x = abs(X)
        single_P = of_all_paths('tanh', x, merged=True)
        lengths_R = path_gradients.by_length(net, x, read_out, lengths_at_once=lengths_at_once)
        lengths_R = np.asarray(lengths_R)
        for k in range(9):
            expected = single_P[k == LENGTHS].sum(0)
            np.testing.assert_allclose(lengths_R[k, 0], expected, rtol=1e-10, atol=1e-14)
        one = path_gradients.path_gradient(net, x, read_out, PATHS[77])
        np.testing.assert_allclose(np.asarray(one)[0], single_P[77], rtol=1e-10, atol=1e-14)
        cut = path_gradients.by_length(net, x, read_out, 3, lengths_at_once=lengths_at_once)
        np.testing.assert_allclose(cut, lengths_R[:4], rtol=1e-12)


def test_a_block_whose_relu_is_dead_on_the_forward_pass_stops_what_goes_through_it():
    with jax.enable_x64(True):
        into, out = reference.IN.copy(), abs(reference.OUT)
        into[3] = -abs(into[3])  # below 0 for every positive h
        x = abs(X)
        net = reference_net('relu', into=into, out=out)
        lengths_R = np.asarray(path_gradients.by_length(net, x, read_out))
        single_P = of_all_paths('relu', x, into=into, out=out)
        assert (single_P[PATHS[:, 3] == 1] == 0).all()
        np.testing.assert_allclose(
            lengths_R[:, 0], [single_P[k == LENGTHS].sum(0) for k in range(9)], rtol=1e-12
        )
        assert (lengths_R[8] == 0).all()  # every path of 8 branches takes the dead one


def convolutional(block, statistics='running'):
    """A ResNet in small: two equal blocks, which are scanned, and one that changes the shape."""
    Layer, Spec = blocks.Layer, network.StageSpec
    equal, down = (Layer(4, 3), Layer(4, 3)), (Layer(8, 3, 2), Layer(8, 3))
    stages = (Spec(2, equal), Spec(1, down, 'pad'))
    model = network.ResidualNetwork(Layer(4, 3), stages, 3, blocks.Style(block))
    x = draw(3, 4, 4, 3)
    return stack.from_model(model, random_variables.of(model, x), statistics), x


def dense(block, seed=0):
    model = presets.fully_connected(5, 6, 3, block)
    x = draw(4, 5)
    return stack.from_model(model, random_variables.of(model, x, seed)), x


def draw(*shape):
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


def cross_entropy(logits_BK):
    return -jax.nn.log_softmax(logits_BK)[:, 1].mean()


def relative(found, expected):
    found, expected = np.asarray(found), np.asarray(expected)
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


def summed(lengths_R):
    return np.asarray(lengths_R).sum(0)


@pytest.mark.slow_but('postact-running')
@pytest.mark.parametrize(('block', 'statistics'), [('preact', 'batch'), ('postact', 'running')])
def test_lengths_of_a_resnet_sum_to_its_gradient(block, statistics):
    net, x = convolutional(block, statistics)

    @jax.jit
    def gradient(net, x):
        gates_L = jnp.ones(net.num_blocks)
        return jax.grad(
            lambda h: cross_entropy(stack.apply(transforms.without_stem(net), h, gates_L))
        )(stack.stem(net, x))

    found = path_gradients.by_length(net, x, cross_entropy)
    assert relative(summed(found), gradient(net, x)) < 1e-5


def test_lengths_are_carried_through_the_stem_and_seen_at_every_depth():
    net, x = dense('postact')
    at_inputs_R = path_gradients.by_length(net, x, cross_entropy, through_stem=True)
    expected, of_the_last = by_pullbacks(net, x)
    assert relative(summed(at_inputs_R), expected) < 1e-5
    seen = path_gradients.by_length_at_blocks(net, x, cross_entropy, jnp.linalg.norm)
    seen_LR = np.asarray(seen)
    lengths_R = path_gradients.by_length(net, x, cross_entropy)
    np.testing.assert_allclose(seen_LR[0], norms(lengths_R), rtol=1e-5)
    np.testing.assert_allclose(seen_LR[3, :2], of_the_last, rtol=1e-5)
    assert all((seen_LR[l, 5 - l :] == 0).all() for l in range(5))


@jax.jit
def by_pullbacks(net, x):
    """The gradient at x; |S^T D^T v| and |J^T D^T v| of the last of four blocks, one stage."""
    gradient = jax.grad(lambda x: cross_entropy(stack.apply(net, x, jnp.ones(4))))(x)
    (stage,), h = net.stages, stack.stem(net, x)
    for l in range(3):
        h = stack.block(stage, jax.tree.map(lambda a, l=l: a[l], stage.params), h, 1.0)
    params = jax.tree.map(lambda a: a[3], stage.params)
    branch, pull = jax.vjp(lambda h: stage.branch(params, h), h)
    v = jax.grad(lambda total: cross_entropy(stack.head(net, stage.merge(total))))(h + branch)
    return gradient, (jnp.linalg.norm(v), jnp.linalg.norm(pull(v)[0]))


def test_forward_lengths_of_a_preact_resnet_sum_to_its_linearised_signal():
    net, x = convolutional('preact')
    twin = transforms.with_forward_derivatives(transforms.without_stem(net))

    def last(h):
        for stage in twin.stages:
            gates = jnp.ones(stage.length)
            h, _ = stack.scan_stage(stage, lambda *block: (stack.block(*block), None), h, gates)
        return h

    @jax.jit
    def linearised(h):
        return jax.jvp(last, (h,), (h,))[1]

    expected = linearised(jax.jit(stack.stem)(net, x))
    found = path_gradients.forward_by_length(net, x)
    assert relative(summed(found), expected) < 1e-5


def test_lengths_and_energies_of_examples_are_their_own_and_pass_through_vmap_over_seeds():
    (net, x), (other, _) = dense('postact', 1), dense('postact')
    together = jax.tree.map(lambda *leaves: np.stack(leaves), other, net)
    both = jax.vmap(lambda net: path_gradients.by_length(net, x, cross_entropy))(together)
    lengths_RB = np.asarray(both)[1]
    among_others = np.where(np.arange(4)[:, None] == 2, x, 3 - x)
    alone = np.asarray(path_gradients.by_length(net, among_others, cross_entropy))
    np.testing.assert_allclose(lengths_RB[:, 2], alone[:, 2], rtol=2e-5, atol=1e-8)
    key, more = jax.random.key(2), jax.random.key(3)
    each = path_gradients.energies(net, x, cross_entropy, key, PROBES, per_example=True)
    whole = path_gradients.energies(net, x, cross_entropy, more, PROBES)
    each, whole = jax.tree.map(np.asarray, (each, whole))
    ends = [0, -1]  # one path each, and no variance
    squares_RB = (lengths_RB[ends] ** 2).sum(2)
    np.testing.assert_allclose(each.energy_R[ends], squares_RB, rtol=1e-3)
    apart = abs(each.energy_R.sum(1) - whole.energy_R)
    error_R = np.hypot(np.linalg.norm(each.error_R, axis=1), whole.error_R)
    bound = 5 * error_R + 1e-3 * whole.energy_R
    assert (apart <= bound).all()  # five standard errors, and float32 where there is no variance


def test_blocks_without_a_skip_have_the_longest_path_alone():
    net, x = dense('plain')
    norms_R = np.asarray(norms(path_gradients.by_length(net, x, jnp.sum)))
    assert (norms_R[:4] == 0).all()
    assert norms_R[4] > 0


@pytest.mark.parametrize(
    ('call', 'message'),
    [
        (lambda net, x: path_gradients.by_length(net, x, read_out, order=9), 'order=9'),
        (lambda net, x: path_gradients.energies(net, x, read_out, None, 0), 'probes=0'),
        (lambda net, x: path_gradients.sampled(net, x, read_out, None, 9, 1), 'length=9'),
        (lambda net, x: path_gradients.sampled(net, x, read_out, None, 1, 0), 'num=0'),
    ],
)
def test_orders_and_counts_that_are_not_there_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(reference_net('tanh'), X.astype(np.float32))


def test_signs_of_examples_stay_with_them_where_a_block_changes_the_rank_of_h():
    weights = np.random.default_rng(0).normal(size=(1, 9, 9)).astype(np.float32)

    def flat(h):
        return h.reshape(len(h), -1)

    stage = stack.Stage(weights, lambda w, h: jnp.tanh(flat(h) @ w), 1, lambda w, h: flat(h))
    net = stack.ResidualStack((), (stage,), (), same, same)
    x = draw(3, 3, 3)

    def loss(h):
        return (h**2).sum()

    found = path_gradients.energies(net, x, loss, jax.random.key(1), 4, per_example=True)
    lengths_R = path_gradients.by_length(net, x, loss)
    expected = np.asarray(norms(lengths_R, kept=2)) ** 2  # one path of each length
    np.testing.assert_allclose(found.energy_R, expected, rtol=1e-5)


@pytest.mark.slow
def test_lengths_without_jit_equal_those_with_it():
    net, x = dense('preact')
    compiled = path_gradients.by_length(net, x, cross_entropy)
    with jax.disable_jit():
        plain = path_gradients.by_length(net, x, cross_entropy)
    np.testing.assert_allclose(plain, compiled, rtol=1e-4, atol=1e-6)


def test_a_loss_that_is_no_number_is_refused():
    net, x = dense('preact')
    with pytest.raises(ValueError, match='must be one number'):
        path_gradients.by_length(net, x, lambda logits: logits)
    with pytest.raises(ValueError, match='int32 have no gradient'):
        path_gradients.by_length(net, x.astype(int), cross_entropy, through_stem=True)


def test_small_networks_are_differentiated_through_their_lengths():
    with jax.enable_x64(True):
        net = reference_net('tanh')

        def energy(x):
            return (path_gradients.by_length(net, x, read_out)[3] ** 2).sum()

        @jax.jit
        def both(x):
            return jax.grad(energy)(x), jax.jvp(energy, (x,), (jnp.ones_like(x),))[1]

        gradient, slope = both(X)
        np.testing.assert_allclose(np.sum(gradient), slope, rtol=1e-9)


def test_large_and_small_networks_have_the_same_lengths(monkeypatch):
    net, x = dense('postact')
    small = path_gradients.by_length(net, x, cross_entropy)
    monkeypatch.setattr(path_recurrence, 'SMALL', 0)
    large = path_gradients.by_length(net, x, lambda logits: cross_entropy(logits))  # not cached
    np.testing.assert_allclose(small, large, rtol=1e-6, atol=1e-8)


def test_a_spectrum_is_the_norms_of_the_sums_beside_the_root_energies():
    net, x = dense('postact')
    found = path_gradients.spectrum(net, x, cross_entropy, jax.random.key(3), PROBES)
    lengths_R = path_gradients.by_length(net, x, cross_entropy)
    energy_R, error_R = path_gradients.energies(net, x, cross_entropy, jax.random.key(3), PROBES)
    np.testing.assert_allclose(found.sum_norm_R, norms(lengths_R), rtol=1e-5)
    np.testing.assert_allclose(np.asarray(found.root_energy_R) ** 2, energy_R, rtol=1e-5)
    np.testing.assert_allclose(found.energy_error_R, error_R, rtol=1e-4, atol=1e-8)


def test_energies_of_bfloat16_networks_are_summed_in_float32():
    x = np.random.default_rng(0).normal(size=(64, 32)).astype(jnp.bfloat16)
    net = stack.from_functions(lambda x: x, [lambda h: 0 * h], lambda h: h)

    def loss(h):
        return (h.astype(jnp.float32) * x.astype(np.float32)).sum()

    found = path_gradients.energies(net, x, loss, jax.random.key(0), 2)
    expected = (np.asarray(x, np.float64) ** 2).sum()
    np.testing.assert_allclose(found.energy_R, [expected, 0], rtol=1e-5)
    lengths_R = path_gradients.by_length(net, x, loss)
    np.testing.assert_allclose(np.asarray(norms(lengths_R))[0], expected**0.5, rtol=1e-5)


def test_examples_that_are_coupled_have_no_energies_of_their_own():
    net = stack.from_functions(
        lambda x: x, [jnp.tanh], lambda h: h - h.mean(0, keepdims=True), couples_examples=True
    )
    x, loss = np.ones((3, 2), np.float32), jnp.sum
    with pytest.raises(ValueError, match='couples its examples'):
        path_gradients.energies(net, x, loss, jax.random.key(0), 2, per_example=True)
    together = jax.eval_shape(lambda: path_gradients.energies(net, x, loss, jax.random.key(0), 2))
    assert together.energy_R.shape == (2,)
