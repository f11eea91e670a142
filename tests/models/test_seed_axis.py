"""The seed axis: S networks through a function or as one stack, equal to one after the other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resnet_dyn.models import seed_axis, stack


def branch(weights, h):
    return jnp.tanh(h @ weights)


def normalised(total):
    return total / jnp.linalg.norm(total, axis=1, keepdims=True)


def half(params, h):
    return params.sum() * h[:, :2]


def begin(params, x):
    return params * x


def end(params, h):
    return h @ params


def network(seed):
    """Three blocks, the last with a skip of its own; every part has parameters, merges none."""
    random = np.random.default_rng(seed)

    def draw(*shape):
        return random.normal(size=shape).astype(np.float32)

    stages = (
        stack.Stage(draw(2, 4, 4), branch, 2, merge=normalised),
        stack.Stage(draw(1, 4, 2), branch, 1, half, normalised),
    )
    return stack.ResidualStack(draw(1, 4), stages, draw(2, 3), begin, end)


X = np.random.default_rng(9).normal(size=(5, 4)).astype(np.float32)


def by_hand(seed, gates):
    net = network(seed)  # of NumPy's arrays
    h = net.stem_params * X
    weights = [*net.stages[0].params, net.stages[1].params[0]]
    for l, (w, gate) in enumerate(zip(weights, gates, strict=True)):
        skip = h if l < 2 else w.sum() * h[:, :2]
        total = skip + gate * np.tanh(h @ w)
        h = total / np.linalg.norm(total, axis=1, keepdims=True)
    return h @ net.head_params


def test_networks_as_one_stack_are_each_of_them_in_every_part():
    together = seed_axis.over_seeds([network(s) for s in range(3)])
    for gates in ([1.0, 1.0, 1.0], [0.0, 0.5, 1.0]):
        found = jax.jit(stack.apply)(together, X, np.array(gates, np.float32))
        expected = [by_hand(s, gates) for s in range(3)]
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert jax.tree.structure(stack.over_seeds([network(0), network(1)])) == jax.tree.structure(
        seed_axis.over_seeds([network(2), network(3)])
    )


@pytest.mark.parametrize('how', seed_axis.WAYS)
def test_stacks_go_through_a_function_together_or_in_turn(how):
    stacks = [network(s) for s in range(2)]

    @jax.jit
    def run(net, x, factor):
        return {'out': factor * stack.apply(net, x, jnp.ones(3))}

    found = seed_axis.of_stacks(run, stacks, how, X, 2.0)['out']
    expected = [2 * by_hand(s, np.ones(3)) for s in range(2)]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('how', seed_axis.WAYS)
def test_a_function_of_one_network_is_one_of_several(how):
    trees = {'a': np.arange(6.0, dtype=np.float32).reshape(3, 2)}
    found = seed_axis.each(lambda tree, shift: tree['a'].sum() + shift, how)(trees, 10)
    np.testing.assert_array_equal(found, [11, 15, 19])


@pytest.mark.parametrize('function', [seed_axis.over_seeds, seed_axis.joined])
def test_networks_of_different_models_are_no_one_stack(function):
    other = stack.from_functions(lambda x: x, [jnp.tanh], lambda h: h)
    with pytest.raises(ValueError, match='not of one model'):
        function([network(0), other])
    with pytest.raises(ValueError, match='no stacks'):
        function([])


def test_a_way_that_is_none_is_refused():
    with pytest.raises(ValueError, match="how='pmap' is neither map nor vmap"):
        seed_axis.each(lambda tree: tree, 'pmap')
