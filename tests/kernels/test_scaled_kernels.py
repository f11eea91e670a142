"""Every kernel on every scale of branches, against networks taken apart block by block.

The reference has no stack: each block is a bound module, its fixed factor a number of this file.
"""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import random_variables

from resnet_dyn import config
from resnet_dyn.kernels import influence, interactions, lesions, masks, path_gradients, reorder
from resnet_dyn.models import blocks, network, presets, stack

L = 4
SURVIVAL = 0.75  # of the last block: p_l = 1 - l / 16
INDEX = np.arange(1, L + 1)
FACTORS = {
    'none': np.ones(L),
    'skipinit': np.ones(L),
    'fixup': np.ones(L),
    'sqrt_depth': np.full(L, 1 / 2),
    'depth': np.full(L, 1 / 4),
    'sqrt_index': 1 / np.sqrt(INDEX),
}
KINDS = [
    (scale, block, 'none' if scale == 'fixup' else 'batch')
    for scale, block in itertools.product(config.BRANCH_SCALES, ('preact', 'postact', 'paper'))
    if (scale, block) != ('fixup', 'paper') and scale != 'norm_sqrt_index'
]
LABELS = np.arange(6) % 3
PATHS_ML = masks.all_masks(L)


class Parts(NamedTuple):
    """A network as functions of h; blocks in order."""

    stem: object
    branches: list
    skips: list
    merge: object
    head: object


class Setting(NamedTuple):
    """A stack, what it is made of, inputs."""

    stack: stack.ResidualStack
    parts: Parts
    x: np.ndarray


def setting(branch_scale, block, norm):
    """Two equal blocks, which are scanned, one that changes the shape, and one after it."""
    Layer, Spec = blocks.Layer, network.StageSpec
    down = (Layer(6, 3, 2), Layer(6, 3))
    stages = (
        Spec(2, (Layer(4, 3),) * 2),
        Spec(1, down, 'pad'),
        Spec(1, (Layer(6, 3),) * 2),
    )
    style = blocks.Style(block, norm, branch_scale=branch_scale, gradients='xla')
    model = network.ResidualNetwork(Layer(4, 3), stages, 3, style, survival=SURVIVAL)
    return taken(model, np.random.default_rng(1).normal(size=(6, 4, 4, 3)))


def dense(branch_scale):
    """Four equal blocks of one dense layer each, without norms."""
    options = {'branch_scale': branch_scale, 'survival': SURVIVAL}
    model = presets.fully_connected(L + 1, 5, 3, 'preact', 'none', **options)
    return taken(model, np.random.default_rng(1).normal(size=(6, 4)))


def taken(model, x):
    x = x.astype(np.float32)
    variables = random_variables.of(model, x)
    factors_L = FACTORS[model.style.branch_scale] * (1 - INDEX / 16)
    return Setting(stack.from_model(model, variables), apart(model, variables, factors_L), x)


def apart(model, variables, factors_L):
    modules = model.parts()
    places = [(i, l) for i, spec in enumerate(model.stages) for l in range(spec.length)]

    def of(name, l=None):
        return {
            collection: jax.tree.map(lambda a: a if l is None else a[l], tree[name])
            for collection, tree in variables.items()
            if name in tree
        }

    def bound(module, own, method='__call__', factor=1.0):
        return lambda h: factor * module.apply(own, h, False, method=method)

    own = [(modules.blocks[i], of(f'stage_{i}', l)) for i, l in places]
    return Parts(
        bound(modules.stem, of('stem')),
        [
            bound(module, tree, 'branch', float(factor))
            for (module, tree), factor in zip(own, factors_L, strict=True)
        ],
        [bound(module, tree, 'skip') for module, tree in own],
        blocks.KINDS[model.style.block].merge or (lambda h: h),
        bound(modules.head, of('head')),
    )


def masked(parts, x, gates):
    """The logits under gates; a block at gate 0 is cut out, its branch never looked at."""
    h = parts.stem(x)
    for branch, skip, gate in zip(parts.branches, parts.skips, gates, strict=True):
        h = parts.merge(skip(h) + gate * branch(h) if gate else skip(h))
    return parts.head(h)


def cross_entropy(logits, labels=LABELS):
    return -jax.nn.log_softmax(logits)[jnp.arange(len(labels)), labels].mean()


def loss(logits):
    return cross_entropy(logits)


def close(found, expected, rtol=1e-4):
    """Equal in float32, by the size of the largest: small ones are differences of large ones."""
    expected = np.asarray(expected)
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol * np.abs(expected).max())


def check_forward(net, parts, x):
    gates = np.array([1, 0.5, -1, 2], np.float32)
    close(stack.apply(net, x, gates), masked(parts, x, gates))


def check_lesions(net, parts, x):
    all_ML = masks.all_masks(L)
    expected_ML = np.stack([masked(parts, x, gates) for gates in all_ML])
    found = lesions.score(net, x, LABELS, all_ML, ('logits', 'loss', 'error'))
    close(found['logits'], expected_ML)
    losses_M = np.array([cross_entropy(logits) for logits in expected_ML])
    close(found['loss'], losses_M)
    errors_M = (expected_ML.argmax(-1) != LABELS).mean(-1)
    np.testing.assert_allclose(found['error'], errors_M, rtol=1e-6)
    for some_ML in (masks.single(L), masks.exactly(L, 2)):  # pairs
        code_M = some_ML @ 2 ** np.arange(L)
        rows = [int(np.flatnonzero(all_ML @ 2 ** np.arange(L) == code)[0]) for code in code_M]
        close(lesions.score(net, x, LABELS, some_ML)['loss'], losses_M[rows])


def check_slopes(net, parts, x):
    slopes = jax.grad(lambda g: cross_entropy(traced(parts, x, g)))(jnp.ones(L))
    close(lesions.first_order(net, x, LABELS), -slopes)


def traced(parts, x, gates):
    h = parts.stem(x)
    for branch, skip, gate in zip(parts.branches, parts.skips, gates, strict=True):
        h = parts.merge(skip(h) + gate * branch(h))
    return parts.head(h)


def check_ablation(net, parts, x):
    h, means = parts.stem(x), []
    for branch, skip in zip(parts.branches, parts.skips, strict=True):
        means.append(branch(h).mean(0, keepdims=True))
        h = parts.merge(skip(h) + branch(h))
    ablated = lesions.mean_ablated(net, x)
    for deleted in range(L):
        h = parts.stem(x)
        for l, (branch, skip) in enumerate(zip(parts.branches, parts.skips, strict=True)):
            h = parts.merge(skip(h) + (means[l] if l == deleted else branch(h)))
        close(stack.apply(ablated, x, masks.single(L)[deleted]), parts.head(h))


def check_greedy(net, parts, x):
    kept, expected = list(range(L)), []
    for _ in range(3):
        scores = {
            l: float(cross_entropy(masked(parts, x, [k in kept and k != l for k in range(L)])))
            for l in kept
        }
        best = min(scores, key=scores.get)
        kept.remove(best)
        expected.append((best, scores[best]))
    found = lesions.greedy(net, x, LABELS, 3)
    assert found.deleted_J.tolist() == [l for l, _ in expected]
    close(found.value_J, [value for _, value in expected])


def check_interactions(net, parts, x):
    all_ML = masks.all_masks(L)
    found_M = lesions.score(net, x, LABELS, all_ML, ('loss',))['loss']
    f = {
        frozenset(np.flatnonzero(row)): float(cross_entropy(masked(parts, x, row)))
        for row in all_ML
    }
    phi_L = np.zeros(L)
    orders = list(itertools.permutations(range(L)))
    for order in orders:
        for place, block in enumerate(order):
            before = frozenset(order[:place])
            phi_L[block] += (f[before | {block}] - f[before]) / len(orders)
    close(interactions.shapley(found_M), phi_L, rtol=1e-3)  # of differences of losses
    sampled = interactions.sampled_shapley(net, x, LABELS, jax.random.key(0), 40)
    assert abs(sampled.value_L.sum() - phi_L.sum()) < 1e-4


def check_reorder(net, parts, x):
    orders = [(1, 0, 2, 3), (0, 0, 1, 2, 3), (1, 2, 3, 3)]
    found = reorder.score(net, x, LABELS, orders, ('logits',))['logits']
    for order, logits in zip(orders, found, strict=True):
        h = parts.stem(x)
        for l in order:
            h = parts.merge(parts.skips[l](h) + parts.branches[l](h))
        close(logits, parts.head(h))


def linearised(parts, x):
    """h_0, and by block the Jacobians of skip and branch after the merge, as functions."""
    h, found = parts.stem(x), []
    first = h
    for branch, skip in zip(parts.branches, parts.skips, strict=True):
        (s, of_skip), (b, of_branch) = jax.linearize(skip, h), jax.linearize(branch, h)
        h, of_merge = jax.linearize(parts.merge, s + b)
        found.append(
            (
                lambda u, f=of_skip, m=of_merge: m(f(u)),
                lambda u, f=of_branch, m=of_merge: m(f(u)),
            )
        )
    return first, h, found


def all_paths(parts, x):
    """u_P and g_P of all 2^L paths, forward and as transposed products of Jacobians."""
    first, last, jacobians = linearised(parts, x)
    outer = jax.grad(lambda h: loss(parts.head(h)))(last)

    def along(path):
        def forward(u):
            for (skip, branch), taken in zip(jacobians, path, strict=True):
                u = (branch if taken else skip)(u)
            return u

        return forward(first), jax.linear_transpose(forward, first)(outer)[0]

    found = [along(path) for path in PATHS_ML.astype(bool)]
    return (np.stack(values) for values in zip(*found, strict=True))


def by_length(values_M):
    return np.stack([values_M[PATHS_ML.sum(1) == k].sum(0) for k in range(L + 1)])


def check_lengths(net, parts, x):
    _, gradient_M = all_paths(parts, x)
    close(path_gradients.by_length(net, x, loss), by_length(gradient_M))


def check_paths(net, parts, x):
    forward_M, gradient_M = all_paths(parts, x)
    close(path_gradients.forward_by_length(net, x), by_length(forward_M))
    close(path_gradients.path_gradient(net, x, loss, PATHS_ML[6]), gradient_M[6])
    squares_M = (gradient_M**2).reshape(len(PATHS_ML), -1).sum(1)
    energy_R, error_R = path_gradients.energies(net, x, loss, jax.random.key(0), 300)
    exact_R = by_length(squares_M)
    assert (abs(energy_R - exact_R) <= 5 * error_R + 1e-5 * exact_R.max()).all()


def check_influence(net, parts, x):
    def flat(a):
        return np.float64(a).reshape(len(x), -1)

    def cosine(a, b):
        return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)

    found = influence.measure(net, x, loss)
    moments, h = stack.second_moments(net, x), parts.stem(x)
    for l, (branch, skip) in enumerate(zip(parts.branches, parts.skips, strict=True)):

        def behind(total, l=l):
            h = parts.merge(total)
            for later, past in list(zip(parts.branches, parts.skips, strict=True))[l + 1 :]:
                h = parts.merge(past(h) + later(h))
            return loss(parts.head(h))

        b, s = branch(h), skip(h)
        slope, h = flat(jax.grad(behind)(s + b)), parts.merge(s + b)
        ratio = np.linalg.norm(flat(b), axis=1) / np.linalg.norm(flat(s), axis=1)
        close(found.branch_over_skip_L[l], ratio.mean())
        close(found.block_influence_L[l], (1 - cosine(flat(s), flat(h))).mean())
        close(found.gradient_cosine_L[l], cosine(flat(b), slope).mean(), rtol=1e-3)
        close(moments.branch[l], (flat(b) ** 2).mean())
        close(moments.skip[l], (flat(s) ** 2).mean())


CHECKS = [
    check_forward,
    check_lesions,
    check_slopes,
    check_ablation,
    check_greedy,
    check_interactions,
    check_reorder,
    check_lengths,
    check_paths,
    check_influence,
]


@pytest.mark.slow
@pytest.mark.parametrize('kind', KINDS, ids='-'.join)
def test_every_kernel_measures_networks_of_every_scale(kind):
    made = setting(*kind)
    for check in CHECKS:
        check(*made)


@pytest.mark.slow
def test_lesions_orders_and_lengths_are_those_of_the_scaled_branches():
    made = dense('sqrt_index')
    for check in (check_forward, check_lesions, check_reorder, check_lengths):
        check(*made)


def test_scaled_networks_go_through_vmap_over_seeds():
    made = dense('sqrt_index')
    stacks = [made.stack, jax.tree.map(lambda leaf: 0.9 * leaf, made.stack)]
    options = {'labels': LABELS, 'masks': masks.single(L), 'metrics': ('logits',)}
    found, expected = (
        lesions.score_seeds(stacks, made.x, how=how, **options)['logits'] for how in ('vmap', 'map')
    )
    close(found, expected, rtol=1e-5)
