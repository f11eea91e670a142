"""Records of growth: sums over parts, networks apart, what networks without weights are told."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import random_variables

from resnet_dyn.analysis import effort, growth, requirements, subjects
from resnet_dyn.models import presets, stack

DRAW = np.random.default_rng(1)
INPUTS = DRAW.normal(size=(6, 5)).astype(np.float32)
LABELS = np.array([0, 1, 2, 2, 1, 0])


@pytest.fixture(scope='module')
def subject():
    model = presets.fully_connected(4, 6, 3, norm='none')  # L = 3; relu(W h), no norm
    nets = [stack.from_model(model, random_variables.of(model, INPUTS, s)) for s in (0, 1)]
    return subjects.of_networks(nets, INPUTS, LABELS)


@pytest.fixture(scope='module')
def record(subject):
    return growth.measure(subject, effort.Effort(at_once=3))


def losses(kernels, gates_L):
    """The cross-entropy of each example, by hand; gradients of it by JAX."""
    stem, blocks, head, bias = kernels
    h = jax.nn.relu(INPUTS @ stem)
    for kernel, gate in zip(blocks, gates_L, strict=True):
        h = h + gate * jax.nn.relu(h @ kernel)
    log_p = jax.nn.log_softmax(h @ head + bias[None])
    return -log_p[jnp.arange(6), LABELS]


@jax.jit
def slopes_and_gradient(kernels):
    """The slope of each loss by each gate (B, L), the gradient of the mean by the kernels."""
    gates_L = jnp.ones(3)
    gradient = jax.grad(lambda kernels: losses(kernels, gates_L).mean())(kernels)
    return jax.jacobian(losses, 1)(kernels, gates_L), gradient


def kernels_of(net):
    stem, block, head = (
        p['params'] for p in (net.stem_params, net.stages[0].params, net.head_params)
    )
    layers = stem['linear'], block['linear_0'], head['linear']
    return *(layer['kernel'] for layer in layers), head['linear']['bias']


def test_slopes_and_gradients_are_those_of_the_mean_loss_of_each_network(subject, record):
    for s, net in enumerate(subject.stacks):
        kernels = kernels_of(net)
        slope_BL, g = jax.device_get(slopes_and_gradient(kernels))
        np.testing.assert_allclose(record.slope_SL[s], slope_BL.mean(0), rtol=1e-4, atol=1e-6)
        condition_L = np.abs(slope_BL.sum(0)) / np.abs(slope_BL).sum(0)
        np.testing.assert_allclose(record.condition_SL[s], condition_L, rtol=1e-4, atol=1e-6)
        parts = g[:3], kernels[:3]
        g, w = (np.concatenate([np.ravel(part) for part in parts]) for parts in parts)
        np.testing.assert_allclose(record.gradient_norm_S[s], np.linalg.norm(g), rtol=1e-5)
        np.testing.assert_allclose(record.weight_norm_S[s], np.linalg.norm(w), rtol=1e-6)
        expected = w @ g / np.linalg.norm(w) / np.linalg.norm(g)
        np.testing.assert_allclose(record.cosine_S[s], expected, rtol=1e-4, atol=1e-6)


def test_stem_and_head_count_in_the_bracket_of_all_weights_and_branches_in_both(record):
    """A path of k branches has k + 2 matrices, and is of length r = k + 1."""
    np.testing.assert_allclose(record.scale_bracket_S, record.bracket_S + 1, rtol=1e-4)
    np.testing.assert_allclose(record.bracket_S, 1 + record.drive_SL.sum(1), rtol=1e-6)


def test_the_condition_of_the_first_layer_is_of_the_outputs(subject, record):
    for s, net in enumerate(subject.stacks):
        logits = np.asarray(stack.apply(net, INPUTS, jnp.ones(3)), np.float64)
        p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        output_B = ((p - np.eye(3)[LABELS]) * logits).sum(1)
        expected = abs(output_B.sum()) / np.abs(output_B).sum()
        np.testing.assert_allclose(record.first_condition_S[s], expected, rtol=1e-4)


def test_functions_that_hold_their_weights_themselves_have_none_to_step():
    net = stack.from_functions(lambda x: x, [jnp.tanh], lambda h: h[:, :3])
    seen = subjects.of_networks(net, INPUTS, LABELS)
    assert 'no weights among their parameters' in requirements.weights(seen, None, None)


def test_a_network_without_a_gradient_has_no_brackets(subject):
    """Of kernels that are all 0, so that only the bias of the head gives an output."""

    def closed(path, a):
        return 0 * a if path[-1].key == 'kernel' else a

    stacks = tuple(jax.tree_util.tree_map_with_path(closed, net) for net in subject.stacks)
    record = growth.measure(subject._replace(stacks=stacks), effort.Effort(at_once=3))
    assert np.isnan(record.condition_SL).all() and np.isnan(record.bracket_S).all()
    assert (record.gradient_norm_S == 0).all() and np.isfinite(record.first_condition_S).all()
