"""Stacks of functions: parameters as good as closed-over arrays, compiled once for all networks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resnet_dyn.kernels import lesions, masks
from resnet_dyn.models import presets, stack

X = np.random.default_rng(9).normal(size=(5, 4)).astype(np.float32)


def weights(seed):
    """Of a stem, of three branches with a scaled skip for the second, of a head."""
    random = np.random.default_rng(seed)
    branches = [{'w': random.normal(size=(4, 4)).astype(np.float32)} for _ in range(3)]
    return np.float32(seed + 1), branches, random.normal(size=(4, 3)).astype(np.float32)


def expected(seed, mask):
    factor, branches, head = weights(seed)
    h = factor * X
    for l, (tree, gate) in enumerate(zip(branches, mask, strict=True)):
        skip = tree['w'][0, 0] * h if l == 1 else h
        h = np.maximum(skip + gate * np.tanh(h @ tree['w']), 0)
    return h @ head


def test_functions_with_parameters_are_compiled_once_for_all_checkpoints():
    traced = []

    def stem(factor, x):
        traced.append('stem')
        return factor * x

    def branch(tree, h):
        traced.append('branch')
        return jnp.tanh(h @ tree['w'])

    def skip(tree, h):
        traced.append('skip')
        return tree['w'][0, 0] * h

    def head(matrix, h):
        traced.append('head')
        return h @ matrix

    def net(seed):
        factor, branches, matrix = weights(seed)
        return stack.from_functions(
            stem,
            [branch] * 3,
            head,
            [None, skip, None],
            jax.nn.relu,
            params=branches,
            stem_params=factor,
            head_params=matrix,
        )

    counts = []
    for seed in range(3):
        found = lesions.score(net(seed), X, None, masks.single(3), ('logits',))['logits']
        for mask, logits in zip(masks.single(3), found, strict=True):
            np.testing.assert_allclose(logits, expected(seed, mask), rtol=1e-4, atol=1e-5)
        counts.append(len(traced))
    assert counts[0] == counts[2]


def test_stem_and_head_may_do_without_parameters():
    _, branches, matrix = weights(0)
    net = stack.from_functions(
        lambda x: x,
        [lambda tree, h: jnp.tanh(h @ tree['w'])] * 3,
        lambda h: h @ matrix,
        [None, lambda tree, h: tree['w'][0, 0] * h, None],
        jax.nn.relu,
        params=branches,
    )
    found = stack.apply(net, X, jnp.ones(3))
    np.testing.assert_allclose(found, expected(0, np.ones(3)), rtol=1e-4, atol=1e-5)


def test_parameters_are_one_tree_a_block():
    with pytest.raises(ValueError, match='1 params for 2 branches: give one a block'):
        stack.from_functions(lambda x: x, [jnp.add] * 2, lambda h: h, params=[1.0])


def test_numpy_variables_become_arrays_of_the_device():
    model = presets.fully_connected(3, 6, 2, 'postact')
    shapes = jax.eval_shape(model.init, jax.random.key(0), X)
    variables = jax.tree.map(lambda a: np.ones(a.shape, a.dtype), shapes)
    factor, branches, matrix = weights(0)
    by_hand = stack.from_functions(
        jnp.multiply,
        [jnp.matmul],
        jnp.matmul,
        params=[branches[0]['w']],
        stem_params=factor,
        head_params=matrix,
    )
    for net in (stack.from_model(model, variables), by_hand):
        assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(net))


def test_batch_statistics_couple_the_examples_and_functions_say_whether_they_do():
    model = presets.fully_connected(3, 6, 2, 'postact')
    shapes = jax.eval_shape(model.init, jax.random.key(0), X)
    variables = jax.tree.map(lambda a: np.ones(a.shape, a.dtype), shapes)
    assert stack.from_model(model, variables, 'batch').couples_examples
    assert not stack.from_model(model, variables).couples_examples
    coupled = stack.from_functions(
        lambda x: x, [jnp.tanh], lambda h: h - h.mean(0), couples_examples=True
    )
    assert stack.spans(coupled, 6, None) == stack.spans(coupled, 6, 6) == [(0, 6)]
    with pytest.raises(ValueError, match='6 of them are one batch, which cannot be cut'):
        stack.spans(coupled, 6, 5)
