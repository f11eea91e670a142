"""Influence: equal to a loop over blocks, by definition; zeros, missing skips, seeds, depth."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resnet_dyn.kernels import influence
from resnet_dyn.models import stack

X = np.random.default_rng(0).normal(size=(4, 5))


def square_loss(logits):
    return (logits**2).mean()


def cosine(a_BD, b_BD):
    lengths_B = np.linalg.norm(a_BD, axis=1) * np.linalg.norm(b_BD, axis=1)
    return (a_BD * b_BD).sum(1) / lengths_B


def distance(a_BD, b_BD):
    if a_BD.shape != b_BD.shape:
        return np.nan
    return np.mean(np.arccos(cosine(a_BD, b_BD).clip(-1, 1))) / np.pi


def walk(wide, equal, x, merged):
    """h_0..h_L, and of every block its branch, its skip and d square_loss / d (skip + branch).

    `wide` has the matrices of the first block's branch and skip, `equal` those of other branches.
    """
    states, parts, slopes = [x], [], []
    for l, w in enumerate([wide['branch'], *equal]):
        inner = np.tanh(states[-1] @ w)
        skip = states[-1] @ wide['skip'] if l == 0 else states[-1]
        total = inner + 0.1 + skip
        parts.append((inner + 0.1, skip))
        slopes.append((w, 1 - inner**2, 1.0 * (total > 0) if merged else np.ones_like(total)))
        states.append(np.maximum(total, 0) if merged else total)
    g, seen = 2 * states[-1] / states[-1].size, []
    for (w, slope, of_merge), addends in zip(slopes[::-1], parts[::-1], strict=True):
        g = g * of_merge
        seen.insert(0, (*addends, g))
        if len(seen) < len(slopes):  # the blocks behind the first skip by the identity
            g = g + (g * slope) @ w.T
    return states, seen


def by_definition(states, seen):
    norm = np.linalg.norm
    return influence.Influence(
        [np.mean(norm(b, axis=1) / norm(s, axis=1)) for b, s, _ in seen],
        [np.mean(1 - cosine(s, h)) for (_, s, _), h in zip(seen, states[1:], strict=True)],
        [np.mean(cosine(b, g)) for b, _, g in seen],
        [[distance(a, b) for b in states] for a in states],
    )


@pytest.mark.slow_but('postact')
@pytest.mark.parametrize('merge', [None, jax.nn.relu], ids=['preact', 'postact'])
def test_every_measure_of_every_seed_equals_its_definition_block_by_block(merge):
    def branch(params, h):
        return jnp.tanh(h @ params['branch']) + 0.1

    def project(params, h):
        return h @ params['skip']

    random = np.random.default_rng(0)
    wide = {'branch': random.normal(size=(2, 1, 5, 6)), 'skip': random.normal(size=(2, 1, 5, 6))}
    equal = {'branch': random.normal(size=(2, 2, 6, 6))}
    x = random.normal(size=(4, 5))
    stages = (
        stack.Stage(wide, branch, 1, project, merge),
        stack.Stage(equal, branch, 2, None, merge),
    )
    nets = stack.ResidualStack((), stages, (), lambda p, x: x, lambda p, h: h)
    with jax.enable_x64(True):
        measure = jax.jit(jax.vmap(lambda net: influence.measure(net, x, square_loss)))
        found = jax.tree.map(np.asarray, measure(nets))
    assert found.angular_distance_NN.shape == (2, 4, 4)
    assert (found.angular_distance_NN[:, range(4), range(4)] == 0).all()
    for s in range(2):
        first = {name: a[s, 0] for name, a in wide.items()}
        expected = by_definition(*walk(first, equal['branch'][s], x, merge is not None))
        for name, value in zip(expected._fields, expected, strict=True):
            here = getattr(found, name)[s]
            assert here.dtype == np.float64
            # arccos of a cosine that is 1 to the last bits is worth half the digits
            atol = 1e-7 if name == 'angular_distance_NN' else 1e-13
            np.testing.assert_allclose(here, value, rtol=1e-9, atol=atol, err_msg=name)


def test_a_hand_written_net_has_the_influence_worked_out_by_hand():
    def turn(h):  # by a right angle, and three quarters as long
        return 0.75 * jnp.stack([-h[:, 1], h[:, 0]], 1)

    net = stack.from_functions(
        lambda x: x,
        [turn, lambda h: -2 * h, lambda h: jnp.zeros((2, 3))],
        lambda h: h.sum(1),
        skips=[None, None, lambda h: jnp.pad(h, ((0, 0), (0, 1)))],
    )
    x = np.array([[1.0, 0.0], [0.0, 3.0]], np.float32)
    # a gradient whose squares vanish in float32 has a direction all the same
    found = jax.jit(lambda x, c: influence.measure(net, x, lambda y: c * y.sum()))(x, 1e-25)
    np.testing.assert_allclose(found.branch_over_skip_L, [0.75, 2, 0], rtol=1e-6)
    # 3-4-5: h_1 = (1, 3/4) and 3 (-3/4, 1), then -h_1, then a third unit of zeros
    np.testing.assert_allclose(found.block_influence_L, [1 - 4 / 5, 2, 0], atol=1e-6)
    # the gradient of the sum is -(1, 1) before block 1 and (1, 1) behind it
    gradients = [(-1 / 2**0.5 + 1 / 2**0.5) / 2, (-7 / 50**0.5 - 1 / 50**0.5) / 2, 0]
    np.testing.assert_allclose(found.gradient_cosine_L, gradients, atol=1e-6)
    angle, nan = np.arctan(0.75) / np.pi, np.nan
    expected = [[0, angle, 1 - angle, nan], [angle, 0, 1, nan], [1 - angle, 1, 0, nan], [nan] * 3]
    expected[3].append(0)
    np.testing.assert_allclose(found.angular_distance_NN, expected, atol=1e-6)


def test_zeros_have_no_direction_and_give_the_numbers_that_are_promised():
    def only_first(h):  # closes the second example and halves nothing
        return h * jnp.array([[0.0], [-1.0]])

    net = stack.from_functions(
        lambda x: x, [only_first, lambda h: h**2, lambda h: h + 1], lambda h: h[:1]
    )
    x = np.array([[1.0, 0.0], [1.0, 0.0]], np.float32)
    measure = jax.jit(lambda x: influence.measure(net, x, jnp.sum))
    found = jax.tree.map(np.asarray, measure(x))
    # states: (1, 0), (1, 0), (2, 0), (5, 1) and (1, 0), 0, 0, (1, 1)
    ratios = [(0 + 1) / 2, (1 + 0) / 2, np.inf]
    np.testing.assert_allclose(found.branch_over_skip_L, ratios, rtol=1e-6)
    influences = [(0 + 1) / 2, 0, (1 - 5 / 26**0.5 + 1) / 2]
    np.testing.assert_allclose(found.block_influence_L, influences, rtol=1e-5, atol=1e-7)
    assert np.isfinite(found.gradient_cosine_L).all()
    assert found.gradient_cosine_L[0] == 0  # a branch of zeros; no gradient
    np.testing.assert_allclose(found.angular_distance_NN[1, 2], 0, atol=1e-7)
    np.testing.assert_allclose(found.angular_distance_NN[0, 1], (0 + 1 / 2) / 2, rtol=1e-6)


def test_a_block_without_a_skip_has_no_ratio_and_no_influence():
    plain = stack.Stage(np.ones((3, 1, 1), np.float32), lambda p, h: h + p, 3, skippable=False)
    net = stack.ResidualStack((), (plain,), (), lambda p, x: x, lambda p, h: h)
    found = jax.jit(lambda x: influence.measure(net, x, square_loss))(X.astype(np.float32))
    assert np.isnan(found.branch_over_skip_L).all()
    assert np.isnan(found.block_influence_L).all()
    assert np.isfinite(found.gradient_cosine_L).all()
    assert np.isfinite(found.angular_distance_NN).all()


def test_what_is_compiled_does_not_grow_with_depth():
    def equations(length):
        weights = np.ones((length, 3, 3), np.float32)
        stage = stack.Stage(weights, lambda p, h: jnp.tanh(h @ p), length)
        net = stack.ResidualStack((), (stage,), (), lambda p, x: x, lambda p, h: h)
        measure = jax.make_jaxpr(lambda net, x: influence.measure(net, x, square_loss))
        return str(measure(net, np.ones((2, 3), np.float32))).count(' = ')

    assert equations(4) == equations(12)


def test_a_loss_of_each_example_is_refused():
    net = stack.from_functions(lambda x: x, [jnp.tanh], lambda h: h)
    with pytest.raises(ValueError, match=r'loss gives shape \(2,\): it must give a scalar'):
        influence.measure(net, jnp.ones((2, 3)), lambda logits: logits.mean(1))


def identity(params, h):
    return h


@pytest.mark.slow_but('bfloat16')
@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16])
def test_branches_of_zeros_do_nothing_and_give_no_nan(dtype):
    stage = stack.Stage(np.zeros((3, 4, 4), dtype), lambda w, h: h @ w, 3)
    net = stack.ResidualStack((), (stage,), (), identity, identity)
    found = influence.measure(net, np.arange(8.0).reshape(2, 4).astype(dtype), square_loss)
    for values in found:
        np.testing.assert_array_equal(values, np.zeros(values.shape))
