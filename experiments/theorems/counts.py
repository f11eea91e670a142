"""Critical points counted by search, against Kac-Rice; Theorem 5 and eq 31 against finite sizes."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.theorems.table import CORRECTED, STATED, Row
from resnet_dyn.theory import complexity, critical_points, kac_rice, spin_glass

MIXTURES = {
    'pure 2': {2: 1.0},
    'pure 3': {3: 1.0},
    'pure 4': {4: 1.0},
    'half 2 + half 3': {2: 0.5, 3: 0.5},
}
BELOW = -1.0  # the energy density of the counts with H <= Lambda u
_EDGE = 4 * math.sqrt(2) / 3  # of the sqrt(Lambda) correction, times kappa^{3/2}


class Counts(NamedTuple):
    """Mean numbers of critical points. M mixtures, N sizes Lambda, K indices (NaN beyond Lambda).

    Measured over the samples of each size; exact by Kac-Rice; `below` counts H <= BELOW Lambda.
    """

    mixtures_M: np.ndarray
    sizes_N: np.ndarray
    samples_N: np.ndarray
    incomplete_MN: np.ndarray
    mean_MN: np.ndarray
    error_MN: np.ndarray
    exact_MN: np.ndarray
    index_mean_MNK: np.ndarray
    index_error_MNK: np.ndarray
    index_exact_MNK: np.ndarray
    below_mean_MN: np.ndarray
    below_error_MN: np.ndarray
    below_exact_MN: np.ndarray
    below: np.ndarray
    seed: np.ndarray


class FiniteSizes(NamedTuple):
    """(1/Lambda) log E Crt_0 of M mixtures at N sizes, its limit, and its approach to that."""

    mixtures_M: np.ndarray
    sizes_N: np.ndarray
    rates_MN: np.ndarray
    theta_M: np.ndarray
    correction_M: np.ndarray  # (4 sqrt(2)/3) kappa^{3/2}, which sqrt(Lambda) multiplies


def count(sizes: Sequence[int], samples: Sequence[int], report=lambda line: None) -> Counts:
    """Searches `samples` spin glasses of each mixture and size; float64 is the caller's."""
    M, N, K = len(MIXTURES), len(sizes), max(sizes)
    total, below = np.full((3, M, N), np.nan), np.full((3, M, N), np.nan)
    by_index, incomplete = np.full((3, M, N, K), np.nan), np.zeros((M, N), int)
    for i, (name, mixture) in enumerate(MIXTURES.items()):
        for j, (Lambda, draws) in enumerate(zip(sizes, samples, strict=True)):
            found_SK, below_S, incomplete[i, j] = _search(mixture, Lambda, draws)
            exact_K = [_exact(mixture, Lambda, index=k) for k in range(Lambda)]
            by_index[:, i, j, :Lambda] = *_mean(found_SK), exact_K
            total[:, i, j] = *_mean(found_SK.sum(1)), _exact(mixture, Lambda)
            below[:, i, j] = *_mean(below_S), _exact(mixture, Lambda, below=BELOW)
            report(
                f'{name}, Lambda = {Lambda}: {total[0, i, j]:.2f} +- {total[1, i, j]:.2f} critical '
                f'points, Kac-Rice {total[2, i, j]:.2f} ({draws} samples)'
            )
    return Counts(
        np.array(list(MIXTURES)),
        np.array(sizes),
        np.array(samples),
        incomplete,
        *total,
        *by_index,
        *below,
        np.array(BELOW),
        np.array(0),
    )


def finite_sizes(sizes: Sequence[int]) -> FiniteSizes:
    """log E Crt_0 by Kac-Rice at the sizes, for the mixtures in which it grows."""
    growing = {name: mixture for name, mixture in MIXTURES.items() if name != 'pure 2'}
    rates = [
        [_exact(mixture, n, index=0, log=True) / n for n in sizes] for mixture in growing.values()
    ]
    kappas = [
        (curve - slope) / (curve + slope)
        for slope, curve, _ in map(complexity.moments, growing.values())
    ]
    return FiniteSizes(
        np.array(list(growing)),
        np.array(sizes),
        np.array(rates),
        np.array([complexity.theta(mixture) for mixture in growing.values()]),
        np.array([_EDGE * kappa**1.5 for kappa in kappas]),
    )


def count_rows(counts: Counts) -> Iterator[Row]:
    """Kac-Rice against the search: totals, by index, below an energy, Euler characteristics."""
    sizes = f'{", ".join(counts.mixtures_M)}; Lambda = {", ".join(map(str, counts.sizes_N))}'
    setting = f'{sizes}; {", ".join(map(str, counts.samples_N))} samples'
    searched = int(counts.samples_N.sum() * len(counts.mixtures_M))
    yield Row(
        'Eq 30',
        CORRECTED,
        'sum over k of (-1)^k Crt_k = 1 + (-1)^(Lambda-1) in every sample',
        setting,
        f'{searched} of {searched} searches complete',
        f'{searched - counts.incomplete_MN.sum()} of {searched}',
        not counts.incomplete_MN.any(),
    )
    for statement, mean, error, exact in (
        ('E Crt, all indices', counts.mean_MN, counts.error_MN, counts.exact_MN),
        (
            'E Crt_k, every index',
            counts.index_mean_MNK,
            counts.index_error_MNK,
            counts.index_exact_MNK,
        ),
        (
            f'E Crt with H <= {BELOW} Lambda (the paper writes "H in Lambda u")',
            counts.below_mean_MN,
            counts.below_error_MN,
            counts.below_exact_MN,
        ),
    ):
        z, largest = standard_errors(mean, error, exact)
        yield Row(
            'Eq 30',
            CORRECTED,
            f'{statement}: the exact Kac-Rice mean at finite Lambda is that of the search',
            setting,
            'mean square of the standard errors about 1, none above 4.5',
            f'{np.mean(z**2):.2f} over {z.size} means, largest {largest:.2f}',
            bool(largest < 4.5 and np.mean(z**2) < 1 + 6 / math.sqrt(z.size)),
        )


def exponent_rows(sizes: FiniteSizes, samples: int = 50) -> Iterator[Row]:
    """Eq 31: its limit, its correction, its range of indices, and where it needs v'' >= v'."""
    gaps_MN = sizes.rates_MN - sizes.theta_M[:, None]
    first_order_MN = sizes.correction_M[:, None] / np.sqrt(sizes.sizes_N)
    left_MN = np.abs(gaps_MN - first_order_MN)
    names, last = ', '.join(sizes.mixtures_M), int(sizes.sizes_N[-1])
    yield Row(
        'Eq 31',
        CORRECTED,
        '(1/Lambda) log E Crt_0 = theta_0 + (4 sqrt(2)/3) kappa^{3/2}/sqrt(Lambda) + smaller '
        'terms: far from theta_0 at any size that can be searched',
        f'{names}; Lambda = {sizes.sizes_N[0]}..{last}',
        f'{", ".join(f"{x:.4f}" for x in sizes.theta_M + first_order_MN[:, -1])} at {last}',
        f'{", ".join(f"{x:.4f}" for x in sizes.rates_MN[:, -1])}; what is left shrinks from '
        f'{left_MN[:, 0].max():.3f} to {left_MN[:, -1].max():.4f}',
        bool(
            (left_MN[:, -1] < left_MN[:, 0]).all()
            and (left_MN[:, -1] < 0.5 * np.abs(gaps_MN[:, -1])).all()
        ),
    )
    mixture, pair = MIXTURES['pure 4'], (int(sizes.sizes_N[-1]) // 2, last)
    gaps = [
        (_exact(mixture, n, index=1, log=True) - _exact(mixture, n, index=0, log=True)) / n
        for n in pair
    ]
    yield Row(
        'Eq 31',
        CORRECTED,
        'theta_k is the same for every fixed k >= 0, k = 0 included (the paper: k > 0)',
        f'pure 4, Lambda = {pair[0]}, {pair[1]}',
        '(log E Crt_1 - log E Crt_0)/Lambda -> 0',
        ', '.join(f'{gap:.4f}' for gap in gaps),
        0 < gaps[1] < 0.75 * gaps[0],
    )
    yield from _with_single_layers()
    yield equal_moments(samples)


def equal_moments(samples: int) -> Row:
    """v'' = v': two critical points of each index on average, whatever the mixture."""
    mixture, Lambda = {1: 0.75, 3: 0.25}, 5
    exact_K = [_exact(mixture, Lambda, index=k) for k in range(Lambda)]
    found_SK, _, incomplete = _search(mixture, Lambda, samples)
    mean_K, error_K = _mean(found_SK)
    _, largest = standard_errors(mean_K, error_K, np.full(Lambda, 2.0))
    return Row(
        'Eq 30',
        CORRECTED,
        "where v'' = v', E Crt_k = 2 for every index",
        f'3/4 of r = 1 and 1/4 of r = 3, Lambda = {Lambda}, {samples} samples',
        'Kac-Rice 2, 2, .. exactly; search 2 on average',
        f'{np.abs(np.array(exact_K) - 2).max():.1g} off; {", ".join(f"{x:.2f}" for x in mean_K)}',
        bool(np.abs(np.array(exact_K) - 2).max() < 1e-9 and largest < 4 and not incomplete),
    )


def theorem_5(starts: int, p: int = 8) -> Row:
    """Ascent of theta over the simplex from random starts, and random mixtures."""
    r = jnp.arange(2, p + 1)

    def exponent(logits):
        shares = jax.nn.softmax(logits)
        x = jnp.sum(shares * r * (r - 1)) / jnp.sum(shares * r)
        return 0.5 * jnp.log(x) - (x - 1) / (x + 1)

    def ascend(logits):
        optimizer = optax.adam(0.1)

        def step(carry, _):
            logits, state = carry
            update, state = optimizer.update(-jax.grad(exponent)(logits), state)
            return (optax.apply_updates(logits, update), state), None

        (logits, _), _ = jax.lax.scan(step, (logits, optimizer.init(logits)), length=2000)
        return jax.nn.softmax(logits)[-1], exponent(logits)

    def draw(key, number):
        return 3 * jax.random.normal(key, (number, p - 1))

    ascents = jax.jit(lambda key: jax.vmap(ascend)(draw(key, starts)))
    shares, reached = map(np.asarray, ascents(jax.random.key(0)))
    best = complexity.theta({p: 1.0})
    exponents = jax.jit(lambda key: jax.vmap(exponent)(draw(key, 10_000)))
    random = np.asarray(exponents(jax.random.key(1)))
    return Row(
        'Theorem 5',
        STATED,
        'over mixtures of r = 2..p, theta is largest for the pure r = p, alone',
        f'p = {p}: ascent from {starts} random mixtures; 10,000 random mixtures',
        f'eps_p^2 = 1, theta = {best:.6f}',
        f'eps_p^2 >= {float(shares.min()):.5f}, theta = {float(reached.min()):.6f}; random ones at '
        f'most {float(random.max()):.6f}',
        bool(shares.min() > 0.999 and reached.max() <= best + 1e-12 and random.max() < best),
    )


def standard_errors(mean, error, exact):
    """(deviations in standard errors where there is a spread, the largest of all)."""
    known = np.isfinite(exact)
    off, error = (mean - exact)[known], error[known]
    fixed = np.abs(off[error == 0])
    z = off[error > 0] / error[error > 0]
    largest = np.abs(z).max(initial=0)
    return z, math.inf if (fixed > 1e-6).any() else largest


def _with_single_layers(p: int = 10, Lambda: int = 60) -> Iterator[Row]:
    """Eq 31 below beta*, where r = 1 is kept and x = v''/v' < 1."""
    beta = complexity.beta_star(p) / 2
    mixture = complexity.path_weight_mixture(beta, p, first=1)
    slope, curvature, _ = complexity.moments(mixture)
    x = curvature / slope
    as_stated = 0.5 * math.log(x) - (x - 1) / (x + 1)
    rate = _exact(mixture, Lambda, index=0, log=True) / Lambda
    setting = f'p = {p}, beta = {beta:.4f} = beta*/2, r = 1 kept, Lambda = {Lambda}'
    for source, statement, predicted in (
        (STATED, 'theta_0 = log(x)/2 - (x - 1)/(x + 1), with the sum from r = 1', as_stated),
        (CORRECTED, "... only where v'' >= v' (so from r = 2 on); below, theta_0 = 0", 0.0),
    ):
        yield Row(
            'Eq 31',
            source,
            statement,
            setting,
            f'{predicted:.4f}',
            f'(1/Lambda) log E Crt_0 = {rate:.4f}',
            abs(rate - predicted) < math.log(2) / Lambda,
        )


def _search(mixture, Lambda, samples):
    """(counts by sample and index, counts below BELOW, searches that were not complete)."""
    found_SK, below_S, incomplete = [], [], 0
    for seed in range(samples):
        key = jax.random.fold_in(jax.random.key(seed), Lambda)
        tensors = spin_glass.sample_tensors(key, Lambda, mixture)
        points = critical_points.find_critical_points(
            jax.random.fold_in(key, 0), tensors, mixture, starts=2048 if Lambda > 4 else 512
        )
        found_SK.append(critical_points.count_by_index(points, Lambda))
        below_S.append((points.energies_N <= BELOW * Lambda).sum())
        incomplete += not points.complete
    return np.array(found_SK), np.array(below_S), incomplete


def _mean(values_S):
    return values_S.mean(0), values_S.std(0, ddof=1) / math.sqrt(len(values_S))


def _exact(mixture, Lambda, **options):
    return kac_rice.expected_critical_points(mixture, Lambda, **options)
