"""No kernel traces a network a second time: the next checkpoint finds the programs compiled."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resnet_dyn.kernels import influence, lesions, masks, path_gradients, reorder
from resnet_dyn.models import stack

X, LABELS = np.ones((2, 4), np.float32), np.zeros(2, int)
ORDERS = [(0, 1, 2), (2, (0, 1))]


def mean_square(h):
    return (h**2).mean()


@functools.cache
def key():
    return jax.random.key(0)


KERNELS = {
    'score': lambda net: lesions.score(net, X, LABELS, masks.single(3)),
    'greedy': lambda net: lesions.greedy(net, X, LABELS, 2),
    'first_order': lambda net: lesions.first_order(net, X, LABELS),
    'mean_ablated': lambda net: lesions.mean_ablated(net, X),
    'reorder': lambda net: reorder.score(net, X, LABELS, ORDERS),
    'influence': lambda net: influence.measure(net, X, mean_square),
    'second_moments': lambda net: stack.second_moments(net, X),
    'by_length': lambda net: path_gradients.by_length(net, X, mean_square),
    'by_length_at_blocks': lambda net: path_gradients.by_length_at_blocks(
        net, X, mean_square, mean_square
    ),
    'energies': lambda net: path_gradients.energies(net, X, mean_square, key(), 2),
    'spectrum': lambda net: path_gradients.spectrum(net, X, mean_square, key(), 2),
    'sampled': lambda net: path_gradients.sampled(net, X, mean_square, key(), 1, 2),
    'path_gradient': lambda net: path_gradients.path_gradient(net, X, mean_square, np.ones(3)),
    'score_seeds': lambda net: lesions.score_seeds(
        [net, net], X, LABELS, masks.single(3), how='vmap'
    ),
    'forward_by_length': lambda net: path_gradients.forward_by_length(net, X),
}


@pytest.fixture(scope='module')
def network():
    """(maker of networks by seed, what their branch leaves behind at every trace)."""
    traced = []

    def branch(w, h):
        traced.append(h.shape)
        return jnp.tanh(h @ w)

    def identity(params, h):
        return h

    def net(seed):
        weights = np.random.default_rng(seed).normal(size=(3, 4, 4)).astype(np.float32)
        return stack.ResidualStack((), (stack.Stage(weights, branch, 3),), (), identity, identity)

    return net, traced


@pytest.mark.parametrize('kernel', KERNELS)
def test_a_second_call_on_an_equal_network_traces_nothing(network, kernel):
    net, traced = network
    first = KERNELS[kernel](net(0))
    traced.clear()
    again = KERNELS[kernel](net(0))
    KERNELS[kernel](net(1))
    assert not traced
    jax.tree.map(np.testing.assert_array_equal, first, again)
