"""The depth law of whole networks: gains worked out by hand, and those of wide random networks."""

import math

import jax
import numpy as np
import pytest
import random_variables

from resnet_dyn.models import blocks, network, stack
from resnet_dyn.theory import network_depth

KINDS = list(network_depth.VARIANTS)
GAMMAS = np.array([0.7, 1.4, 0.3])
LOST = 1 - 1 / math.pi


def by_hand(block, norm, layers, first, gammas_L):
    """(gradient, signal) b^2 from v_l and the variance over inputs, block by block."""
    v = variance = 2.0 if block == 'preact' else first**2
    mean, found = math.sqrt(v / math.pi), []
    for gamma in gammas_L:
        spread = {'centred': LOST * v, 'preact': variance}.get(
            network_depth.VARIANTS[block, norm], v
        )
        lost = LOST ** (layers - 1) if norm == 'batch' else 1
        found.append((gamma**2 / spread / lost, gamma**2 / v))
        cross = 2 * mean * gamma / math.sqrt(math.pi) if (block, norm) == ('paper', 'rms') else 0
        v, mean = v + gamma**2 + cross, mean + gamma / math.sqrt(math.pi)
        variance += gamma**2 * LOST
    return np.array(found).T


@pytest.mark.parametrize('layers', [1, 3])
@pytest.mark.parametrize(('block', 'norm'), KINDS)
def test_gains_are_those_of_the_recursions_by_hand(block, norm, layers):
    for gain, expected in zip(
        network_depth.GAINS, by_hand(block, norm, layers, 1.2, GAMMAS), strict=True
    ):
        found = network_depth.power_gains(block, norm, GAMMAS, 1.2, layers, gain)
        np.testing.assert_allclose(found, expected, rtol=1e-12)
    frozen = network_depth.power_gains(block, norm, GAMMAS, 1.2, layers, sigma='frozen')
    at_one, _ = by_hand(block, norm, layers, 1.0, np.ones(3))
    np.testing.assert_allclose(frozen, GAMMAS**2 * at_one, rtol=1e-12)


def test_depths_at_the_start_lie_on_both_sides_of_the_harmonic_numbers():
    """paper, batch: the norm of the first layer takes its mean, else 3.666 (`centred`)."""
    ones_L = np.ones(9)
    q_L = 1 / (1 + LOST * np.arange(1, 10))
    assert network_depth.mean_depth('paper', 'batch', ones_L) == pytest.approx(1 + q_L.sum())
    signal = network_depth.mean_depth('paper', 'batch', ones_L, gain='signal')
    assert signal == pytest.approx(sum(1 / l for l in range(1, 11)))  # H_10
    assert network_depth.mean_depth('paper', 'rms', ones_L) == pytest.approx(2.313315951)


@jax.jit
def measured(net, x, key):
    """(|J^T g|^2 / |g|^2 of random g, E|branch|^2 / E|skip|^2), a number a block."""
    (stage,) = net.stages

    def body(stage, params, h, key):
        branch, pull = jax.vjp(lambda h: stage.branch(params, h), h)
        g = jax.random.normal(key, branch.shape)
        (back,) = pull(g)
        gains = (back**2).sum() / (g**2).sum(), (branch**2).mean() / (h**2).mean()
        return stack.block(stage, params, h, None), gains

    _, gains = stack.scan_stage(stage, body, stack.stem(net, x), jax.random.split(key, 3))
    return gains


@pytest.mark.slow_but('paper-1')
@pytest.mark.parametrize(('block', 'layers'), [('paper', 1), ('preact', 2)])
def test_wide_random_networks_with_batch_norm_have_both_gains(block, layers):
    """Width 512, 512 inputs: fluctuations of a few percent, of 1 / sqrt(both)."""
    dense, x = blocks.Layer(512), np.random.default_rng(2).normal(size=(512, 64))
    spec, style = network.StageSpec(3, (dense,) * layers), blocks.Style(block)
    model = network.ResidualNetwork(dense, (spec,), 4, style)
    variables = random_variables.of(model, x.astype(np.float32))
    plain = {'bias': 0.0, 'gamma': 1.3}  # as at the start
    variables = jax.tree_util.tree_map_with_path(
        lambda path, a: np.full_like(a, plain[path[-1].key]) if path[-1].key in plain else a,
        variables,
    )
    net = stack.from_model(model, variables, 'batch')
    for gain, found in zip(
        network_depth.GAINS, measured(net, x.astype(np.float32), jax.random.key(0)), strict=True
    ):
        expected = network_depth.power_gains(block, 'batch', [1.3] * 3, 1.3, layers, gain)
        np.testing.assert_allclose(found, expected, rtol=0.06)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (('postact', 'batch', [1.0]), "no law for blocks 'postact' with norm 'batch'"),
        (('paper', 'none', [1.0]), 'expected paper with batch'),
        (('paper', 'batch', []), r'gammas of shape \(0,\)'),
        (('paper', 'batch', [1.0], 1.0, 0), 'layers = 0'),
        (('paper', 'batch', [1.0], 1.0, 1, 'power'), "gain = 'power'"),
        (('paper', 'batch', [1.0], 1.0, 1, 'signal', 'held'), "sigma = 'held'"),
        (('paper', 'batch', [math.nan]), 'expected finite'),
    ],
)
def test_what_has_no_law_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        network_depth.power_gains(*arguments)
