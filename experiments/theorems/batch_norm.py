"""What batch normalisation does to the depth of the ensemble: eq 20 and what gammas can move."""

import math
from collections.abc import Iterator

import numpy as np

from experiments.theorems.table import CORRECTED, STATED, Row
from resnet_dyn.theory import batch_norm_depth


def rows(fast: bool = False) -> Iterator[Row]:
    """All rows of this subject."""
    yield from second_moments(seeds=3 if fast else 10, width=128 if fast else 512)
    yield initial_law()
    yield from uniform_gamma()
    yield depth_bound(100 if fast else 1000)


def second_moments(seeds: int, width: int, p: int = 10) -> Iterator[Row]:
    """Eq 20 simulated at initialisation, one sigma a layer, not centred."""
    measured_S = np.array([_simulate(seed, p, width) for seed in range(seeds)])
    error = measured_S.std(ddof=1) / math.sqrt(seeds)
    predicted = batch_norm_depth.activation_moments(p, 'rms').second_moment[-1]
    found = f'{measured_S.mean():.2f} +- {error:.2f}'
    setting = f'p = {p}, width {width}, He weights, {seeds} networks'
    yield Row(
        'Eq 20',
        STATED,
        'E[N_{l+1}^2] = 1 + E[N_l^2], so E[N_p^2] = p',
        setting,
        f'{p}',
        found,
        abs(measured_S.mean() - p) < 4 * error + 10 * p / width,
    )
    yield Row(
        'Eq 20',
        CORRECTED,
        'N and the branch are both non-negative: E[N_l^2] = l + l (l-1)/pi at infinite width',
        setting,
        f'{predicted:.2f}',
        found,
        abs(measured_S.mean() - predicted) < 4 * error + 10 * predicted / width,
    )


def initial_law(p: int = 54) -> Row:
    """The incoherent law of the nominal recursion, against exact Stirling numbers."""
    law_R = batch_norm_depth.depth_law(batch_norm_depth.branch_probabilities(p))
    stirling = [1]
    for n in range(1, p):  # s(n + 1, r) = n s(n, r) + s(n, r - 1), signs left out
        padded = [0, *stirling]
        stirling = [n * a + b for a, b in zip([*stirling, 0], padded, strict=True)]
    exact_R = np.array([s / math.factorial(p) for s in stirling])
    error = np.max(np.abs(law_R / exact_R - 1))
    mean = float(law_R @ np.arange(1, p + 1))
    return Row(
        'After eq 20',
        CORRECTED,
        'at the start r is distributed as the cycles of a permutation: |s(p, r)|/p!, E[r] = H_p',
        f'p = {p}, nominal recursion, exact integers',
        f'E[r] = {math.fsum(1 / l for l in range(1, p + 1)):.9f}',
        f'E[r] = {mean:.9f}, largest relative error of the law {error:.1g}',
        error < 1e-12 and abs(mean - math.fsum(1 / l for l in range(1, p + 1))) < 1e-12,
    )


def uniform_gamma(p: int = 54, gamma: float = 1000.0) -> Iterator[Row]:
    """One gamma for all layers: with sigma recomputed it cannot deepen the ensemble."""
    found = {
        sigma: batch_norm_depth.mean_depth(p, gamma=gamma, sigma=sigma)
        for sigma in ('frozen', 'recomputed')
    }
    bound = 1 + math.fsum(1 / l for l in range(1, p))
    yield Row(
        'After Theorem 3',
        STATED,
        'gammas that grow make the ensemble deep',
        f'p = {p}, all gammas {gamma:g}, sigma recomputed by the norm',
        f'E[r] > p/2 = {p / 2:g}',
        f'E[r] = {found["recomputed"]:.4f} (sigma frozen: {found["frozen"]:.4f})',
        found['recomputed'] > p / 2,
    )
    ewens, _ = batch_norm_depth.ewens_moments(p, gamma**2)
    yield Row(
        'After Theorem 3',
        CORRECTED,
        'deep if sigma stays frozen; with sigma recomputed E[r] < 1 + H_{p-1} for any one gamma',
        f'p = {p}, all gammas {gamma:g}',
        f'frozen {ewens:.4f}, recomputed < {bound:.4f}',
        f'{found["frozen"]:.4f}, {found["recomputed"]:.4f}',
        abs(found['frozen'] / ewens - 1) < 1e-9 and found['recomputed'] < bound,
    )


def depth_bound(draws: int, p: int = 54) -> Row:
    """E[r] - 1 <= log(v_p / v_1) for gammas that differ from layer to layer."""
    rng = np.random.default_rng(0)
    gaps = []
    for _ in range(draws):
        gammas = np.exp(rng.normal(0, rng.uniform(0, 3), p - 1))
        moments = batch_norm_depth.activation_moments(p, gamma=gammas)
        growth = math.log(moments.second_moment[-1] / moments.second_moment[0])
        gaps.append(growth - (batch_norm_depth.mean_depth(p, gamma=gammas) - 1))
    return Row(
        'After Theorem 3',
        CORRECTED,
        'E[r] - 1 <= log(v_p/v_1): depth needs activations that grow exponentially with it',
        f'p = {p}, {draws} sets of log-normal gammas, sigma recomputed',
        'smallest gap >= 0',
        f'{min(gaps):.3g}',
        min(gaps) >= -1e-12,
    )


def _simulate(seed: int, p: int, width: int, batch: int = 256) -> float:
    """E[N_p^2] of one network by eq 20: N_l = N_{l-1} + ReLU(W N_{l-1})/sigma_l."""
    rng = np.random.default_rng(seed)

    def branch(inputs):
        weights = rng.normal(0, math.sqrt(2 / width), (width, width))
        return np.maximum(inputs @ weights, 0)

    N = branch(rng.normal(size=(batch, width)))
    for _ in range(p - 1):
        added = branch(N)
        N = N + added / math.sqrt(np.mean(added**2))
    return float(np.mean(N**2))
