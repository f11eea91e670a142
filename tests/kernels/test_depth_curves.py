"""Curves by example beside a loop in NumPy: layers of two blocks, tokens, masks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resnet_dyn.kernels import depth_curves, depth_use
from resnet_dyn.models import stack

DRAW = np.random.default_rng(3)
INPUTS = DRAW.normal(size=(5, 3, 4)).astype(np.float32)
MASK = np.arange(3) < np.array([3, 1, 2, 3, 2])[:, None]
KERNELS = DRAW.normal(size=(4, 4, 4)).astype(np.float32)
HEAD = DRAW.normal(size=(4, 9)).astype(np.float32)
LAYERS = ((0, 1), (2, 3))


def branch(w, h):
    return jnp.tanh(h @ w)


NET = stack.ResidualStack(
    (), (stack.Stage(KERNELS, branch, 4),), HEAD, lambda p, x: x, lambda kernel, h: h @ kernel
)


def cosine(a, b):
    return (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)


def walked():
    """(branches, h_0..h_4)."""
    h, branches, states = INPUTS.astype(float), [], [INPUTS.astype(float)]
    for w in KERNELS:
        branches.append(np.tanh(h @ w))
        h = h + branches[-1]
        states.append(h)
    return branches, states


def log_softmax(h):
    logits = h @ HEAD
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def over_tokens(values_BT):
    return (values_BT * MASK).sum(1) / MASK.sum(1)


@pytest.fixture(scope='module')
def found():
    curves = depth_curves.curves(NET, INPUTS, MASK, layers=LAYERS, tokens=True)
    return jax.tree.map(np.asarray, curves)


def test_the_cosine_of_a_layer_is_the_mean_of_its_blocks_and_its_own_over_tokens_that_count(found):
    branches, states = walked()
    for u, (a, b) in enumerate(LAYERS):
        whole = cosine(states[b + 1] - states[a], states[a])
        three = [cosine(branches[a], states[a]), cosine(branches[b], states[b]), whole]
        np.testing.assert_allclose(found.cosine_BU[:, u], over_tokens(np.mean(three, 0)), rtol=1e-4)


def test_lenses_stand_at_the_inputs_of_layers_and_at_the_end(found):
    _, states = walked()
    log_p = log_softmax(states[-1])
    likeliest = np.argsort(log_p)[..., -5:]
    for v, depth in enumerate((0, 2, 4)):
        log_q = log_softmax(states[depth])
        divergence = (np.exp(log_q) * (log_q - log_p)).sum(-1)
        np.testing.assert_allclose(
            found.divergence_BV[:, v], over_tokens(divergence), rtol=1e-4, atol=1e-5
        )
        here = np.argsort(log_q)[..., -5:]
        shared = (here[..., :, None] == likeliest[..., None, :]).sum((-1, -2)) / 5
        np.testing.assert_allclose(found.overlap_BV[:, v], over_tokens(shared), rtol=1e-5)


def test_summed_over_examples_they_are_those_of_depth_use():
    both = depth_use.sums(NET, INPUTS), depth_curves.curves(NET, INPUTS)
    whole, found = jax.tree.map(np.asarray, both)
    for name in ('cosine', 'divergence', 'overlap'):
        ours = getattr(found, f'{name}_B{"U" if name == "cosine" else "V"}').sum(0)
        theirs = getattr(whole, f'{name}_{"L" if name == "cosine" else "N"}')
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_layers_hold_every_block_once_in_its_order():
    with pytest.raises(ValueError, match='give all blocks in their order'):
        depth_curves.curves(NET, INPUTS, layers=((0, 1), (3, 2)))
