"""Theorems 3 and 4 on random tensors of two orders, with and without what they silently need."""

import functools
import math
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from experiments.theorems.table import CONTROL, CORRECTED, STATED, Row
from resnet_dyn.theory import gamma_growth

_SIZE, _STEP = 12, 1e-4
ORDERS = ((2, 3), (1, 3), (2, 4))  # (m, p)


def rows(fast: bool = False) -> Iterator[Row]:
    """All rows of this subject; float64 is the caller's to switch on."""
    draws, orders = (20, ORDERS[:1]) if fast else (100, ORDERS)
    yield from theorem_3_kept(draws, orders)
    yield theorem_3_skipped(draws, orders)
    yield from theorem_4(draws, orders)


def theorem_3_kept(draws: int, orders=ORDERS) -> Iterator[Row]:
    """Part 1, a layer that no path skips: at L = 0, away from it, and by a simultaneous step."""
    found = {'stationary': [], 'ratio': [], 'simultaneous': [], 'anywhere': []}
    for m, p in orders:
        for key, values in _kept(m, p, draws).items():
            found[key] += values.tolist()
    total = len(found['ratio'])
    setting = (
        f'{total} random settings, Lambda = {_SIZE}, (m, p) = {_words(orders)}, mu = {_STEP:g}, '
        'layer not skipped'
    )
    grown = {key: sum(value > 1e-14 for value in found[key]) for key in found}
    yield Row(
        'Theorem 3, part 1',
        STATED,
        'a gamma at its stationary point grows in absolute value by one step of descent',
        f'{setting}, weights and gamma stepped at once',
        f'grows in {total} of {total}',
        f'grows in {grown["simultaneous"]}; largest change '
        f'{max(map(abs, found["simultaneous"])):.1g}',
        grown['simultaneous'] == total,
    )
    yield Row(
        'Theorem 3, part 1',
        CORRECTED,
        '... if the weights step first and L(w) = 0: by mu^2 |g|^2/|gamma| + O(mu^3)',
        setting,
        f'grows in {total} of {total}; ratio to the formula 1 + O(mu)',
        f'grows in {grown["stationary"]}; ratio {min(found["ratio"]):.4f} to '
        f'{max(found["ratio"]):.4f}',
        grown['stationary'] == total and max(abs(r - 1) for r in found['ratio']) < 0.1,
    )
    yield Row(
        'Theorem 3, part 1',
        CONTROL,
        '... without L(w) = 0 it may as well shrink',
        setting,
        'shrinks in a quarter or more',
        f'shrinks in {total - grown["anywhere"]} of {total}',
        total - grown['anywhere'] >= total / 4,
    )


def theorem_3_skipped(draws: int, orders=ORDERS) -> Row:
    """Part 2, a skipped layer at L_p(w) = 0: the sign of |g_p|^2 + g_p.g_m decides."""
    agree, sufficient, total, ratios = 0, True, 0, []
    for m, p in orders:
        at = jax.jit(lambda A, B, w, gammas, m=m: _skipped(A, B, w, gammas, range(m)))
        for seed in range(draws // 4):
            A, B, w, gammas, direction = _setting(jax.random.key(seed), m, p)
            for point in gamma_growth.zero_points(B, w, direction)[1]:
                change, condition, deep, shallow = map(float, at(A, B, point, gammas))
                agree += change * condition > 0
                sufficient &= deep <= shallow or change > 0
                ratios.append(change * abs(float(gammas[m])) / (_STEP**2 * condition))
                total += 1
    return Row(
        'Theorem 3, part 2',
        CORRECTED,
        "a skipped layer's |gamma| grows, at L_p(w) = 0, iff |g_p|^2 + g_p.g_m > 0 (so always "
        'where |g_p| > |g_m|)',
        f'{total} roots of L_p on great circles, Lambda = {_SIZE}, (m, p) = {_words(orders)}, mu = '
        f'{_STEP:g}',
        f'signs agree in {total} of {total}; ratio to the formula 1 + O(mu)',
        f'agree in {agree}; median ratio {np.median(ratios):.4f}',
        agree == total and bool(sufficient) and abs(np.median(ratios) - 1) < 0.01,
    )


def theorem_4(draws: int, orders=ORDERS) -> Iterator[Row]:
    """The scale C where m L_m + p L_p = 0."""
    A, B, w = gamma_growth.shrinking_scale_example()
    slope, bracket = map(float, jax.jit(gamma_growth.scale_gradient)(A, B, w, 1.0, 1.0, _STEP))
    yield Row(
        'Theorem 4',
        STATED,
        'the scale C of the weights grows from its stationary point',
        f'Lambda = 3, A = diag(2, 1, -1), w = (1, 1, 1/2), m = 2, p = 4, mu = {_STEP:g}',
        'dL/dC < 0 after the step',
        f'dL/dC = {slope:+.3g}, bracket of eq 25 = {bracket:.6f} (exactly -17/9 = {-17 / 9:.6f})',
        slope < 0,
    )
    found = [np.asarray(_scales(m, p, draws)) for m, p in orders]
    ratios, brackets = np.concatenate(found, axis=1)
    yield Row(
        'Theorem 4, eq 25',
        CORRECTED,
        'dL/dC after the step is -(mu/C)(g_m + g_p).(m g_m + p g_p) + O(mu^2), at fixed w/C',
        f'{len(ratios)} random settings, Lambda = {_SIZE}, (m, p) = {_words(orders)}, '
        f'mu = {_STEP:g}',
        'ratio to the formula 1 + O(mu)',
        f'{ratios.min():.4f} to {ratios.max():.4f}; the bracket is negative in '
        f'{(brackets < 0).sum()}',
        bool(np.abs(ratios - 1).max() < 0.1),
    )
    sampled = _brackets_by_angle(20 * draws, orders)
    outside = [b for b, ratio, bound in sampled if not 1 < ratio < bound]
    yield Row(
        'Theorem 4',
        CORRECTED,
        'C grows unless 1 < |g_m|/|g_p| < p/m for the tangential parts',
        f'{len(sampled)} pairs of tangential vectors at all angles, (m, p) = {_words(orders)}',
        'bracket >= 0 in all outside that window',
        f'smallest outside {min(outside):.3g}; negative in {sum(b < 0 for b, *_ in sampled)} '
        'inside',
        min(outside) >= -1e-12 and any(b < 0 for b, *_ in sampled),
    )


@functools.partial(jax.jit, static_argnums=(1, 2))
def _setting(key, m, p):
    """Random A and B, w on the sphere, gammas of both signs, and a direction."""
    keys = jax.random.split(key, 6)
    A = jax.random.normal(keys[0], (_SIZE,) * m) * _SIZE ** (-(m - 1) / 2)
    B = jax.random.normal(keys[1], (_SIZE,) * p) * _SIZE ** (-(p - 1) / 2)
    w = jax.random.normal(keys[2], (_SIZE,))
    signs = jax.random.rademacher(keys[4], (p,), float)
    gammas = signs * jax.random.uniform(keys[3], (p,), minval=0.5, maxval=1.5)
    w = w * math.sqrt(_SIZE) / jnp.linalg.norm(w)
    return A, B, w, gammas, jax.random.normal(keys[5], (_SIZE,))


def _settings(m, p, draws):
    """`_setting` of that many keys, stacked; its draws are compiled once for all who use them."""
    keys = jax.random.split(jax.random.key(m * 10 + p), draws)
    return jax.tree.map(lambda *leaves: np.stack(leaves), *(_setting(key, m, p) for key in keys))


def _kept(m, p, draws):
    """Changes of the first gamma, by draw, and their ratio to mu^2 |g|^2/|gamma|."""
    layers = tuple(range(m))

    def one(setting):
        A, B, w, gammas, _ = setting
        eps_p = gamma_growth.balancing_eps(A, B, w, gammas, layers, 1.0)
        at = (A, B, w, gammas, layers, 1.0, eps_p)
        change = gamma_growth.growth(*at, 0, _STEP)
        norm = gamma_growth.hypotheses(*at).gradient_norm
        return {
            'stationary': change,
            'ratio': change * jnp.abs(gammas[0]) / (_STEP * norm) ** 2,
            'simultaneous': gamma_growth.growth(*at, 0, _STEP, sequential=False),
            'anywhere': gamma_growth.growth(A, B, w, gammas, layers, 1.0, 1.0, 0, _STEP),
        }

    return jax.tree.map(np.asarray, jax.lax.map(one, _settings(m, p, draws)))


def _skipped(A, B, w, gammas, layers):
    at = (A, B, w, gammas, layers, 1.0, 1.0)
    deep = jax.grad(gamma_growth.two_path_loss(A, B, gammas, layers, 0.0, 1.0))(w)
    shallow = jax.grad(gamma_growth.two_path_loss(A, B, gammas, layers, 1.0, 0.0))(w)
    change = gamma_growth.growth(*at, len(layers), _STEP)
    norms = jnp.linalg.norm(deep), jnp.linalg.norm(shallow)
    return change, gamma_growth.growth_condition(*at), *norms


def _scales(m, p, draws):
    """(ratio of dL/dC to its formula, bracket) at stationary scales, by draw."""

    def one(setting):
        A, B, w, *_ = setting
        sign = jnp.sign(gamma_growth.balancing_eps(A, B, w, jnp.ones(p), range(m), 1.0))
        w = w * gamma_growth.stationary_scale(A, B, w, 1.0, sign)
        slope, bracket = gamma_growth.scale_gradient(A, B, w, 1.0, sign, _STEP)
        ratio = -slope * gamma_growth.scale(w) / (_STEP * bracket)
        return ratio, bracket

    return jax.lax.map(one, _settings(m, p, draws))


def _brackets_by_angle(draws, orders):
    """(bracket, |g_m|/|g_p|, p/m) of vectors of random lengths and angles."""
    rng = np.random.default_rng(3)
    found = []
    for _ in range(draws):
        m, p = orders[rng.integers(len(orders))]
        length, cosine = math.exp(rng.normal(0, 0.7)), -math.cos(math.pi / 2 * rng.random())
        cosine *= rng.choice([-1, 1])
        bracket = m * length**2 + p + (m + p) * length * cosine
        found.append((bracket, length, p / m))
    return found


def _words(orders):
    return ', '.join(map(str, orders))
