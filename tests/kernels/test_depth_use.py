"""Depth use of a network written in NumPy, of two tokens an example, block by block."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resnet_dyn.kernels import depth_use
from resnet_dyn.models import stack

DRAW = np.random.default_rng(3)
INPUTS = DRAW.normal(size=(6, 2, 4)).astype(np.float32)
WIDEN = np.concatenate([np.eye(4), np.zeros((4, 1))], 1).astype(np.float32)  # 4 to 5 units
FIRST, REST = (DRAW.normal(size=size).astype(np.float32) / 2 for size in ((1, 4, 5), (3, 5, 5)))
HEAD = DRAW.normal(size=(5, 7)).astype(np.float32)


def branch(w, h):
    return jnp.tanh(h @ w)


def widen(w, h):
    return h @ WIDEN


def relu(h):
    return jnp.maximum(h, 0)


NET = stack.ResidualStack(
    (),
    (stack.Stage(FIRST, branch, 1, widen, relu), stack.Stage(REST, branch, 3, None, relu)),
    HEAD,
    lambda p, x: x,
    lambda kernel, h: h @ kernel,
)


def run(left_out=None):
    """(branches, skips, h_0..h_4) of the network, without one block or with all."""
    h, branches, skips, states = INPUTS.astype(float), [], [], [INPUTS]
    for l, w in enumerate([*FIRST, *REST]):
        branches.append(np.tanh(h @ w))
        skips.append(h @ WIDEN if l == 0 else h)
        h = np.maximum(skips[-1] + (l != left_out) * branches[-1], 0)
        states.append(h)
    return branches, skips, states


def log_softmax(h):
    logits = h @ HEAD
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


@pytest.fixture(scope='module')
def found():
    return jax.tree.map(np.asarray, depth_use.sums(NET, INPUTS))


def test_cosines_are_of_each_example_with_its_skip(found):
    branches, skips, _ = run()
    rows = [(b.reshape(6, 10), s.reshape(6, 10)) for b, s in zip(branches, skips, strict=True)]
    cosines = [
        ((b * s).sum(1) / np.linalg.norm(b, axis=1) / np.linalg.norm(s, axis=1)).sum()
        for b, s in rows
    ]
    np.testing.assert_allclose(found.cosine_L, cosines, rtol=1e-5)


def test_lenses_stand_where_the_head_takes_the_state_and_compare_with_the_output(found):
    *_, states = run()
    log_p = log_softmax(states[-1])
    likeliest = np.argsort(log_p)[..., -5:].reshape(12, 5)
    assert np.isnan(found.divergence_N[0]) and np.isnan(found.overlap_N[0])
    for depth in range(1, 5):
        log_q = log_softmax(states[depth])
        divergence = (np.exp(log_q) * (log_q - log_p)).sum(-1).mean(1).sum()
        np.testing.assert_allclose(found.divergence_N[depth], divergence, rtol=1e-4, atol=1e-5)
        here = np.argsort(log_q)[..., -5:].reshape(12, 5)
        shared = [len(set(a) & set(b)) / 5 for a, b in zip(here, likeliest, strict=True)]
        np.testing.assert_allclose(found.overlap_N[depth], np.sum(shared) / 2, rtol=1e-6)
    assert found.overlap_N[1] < found.overlap_N[4] == 6


def test_changes_are_of_the_branches_behind_the_block_that_is_left_out(found):
    whole, *_ = run()
    np.testing.assert_allclose(found.branch_L, [(b**2).sum() for b in whole], rtol=1e-5)
    for l in range(4):
        without, *_ = run(left_out=l)
        changes = [((a - b) ** 2).sum() for a, b in zip(without, whole, strict=True)]
        np.testing.assert_allclose(found.change_LL[l, l + 1 :], changes[l + 1 :], rtol=1e-4)


@pytest.mark.parametrize(('classes', 'number'), [(1, 1), (2, 1), (5, 4), (6, 5), (1000, 5)])
def test_the_overlap_never_compares_all_classes_unless_there_is_one(classes, number):
    assert depth_use.top(classes) == number
