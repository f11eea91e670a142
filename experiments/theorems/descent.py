"""Descent on a spin glass whose mixture deepens as the scale C of the weights follows its gradient.

The weights are w = C w~ with w~ on the sphere; the loss over its z is H of the mixture
eps_r(beta), beta proportional to C, r = 2..p. Both follow their own slope:

    w~    <-  retract(w~ - rate P grad H)
    log C <-  log C - scale_rate (w~.grad H)/Lambda        (Theorem 4: (C/z) dL/dC = w~.grad H)

so C grows wherever w~.grad H < 0. Three protocols start from the same w~ and the same tensors: C
held where the mixture is shallow, C free, up to where the mixture is deep, and C held there.
"""

import functools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.theorems.table import CONTROL, CORRECTED, STATED, Row
from resnet_dyn.theory import complexity, critical_points, path_weights, spin_glass

PROTOCOLS = ('C held, shallow', 'C free', 'C held, deep')
SHALLOW, DEEP = 0.1, 8.0  # beta
_RATE = 0.05


class Descents(NamedTuple):
    """Records of S runs at N sizes by P protocols, over T of the steps, energies as H/Lambda."""

    p: np.ndarray
    protocols_P: np.ndarray
    sizes_N: np.ndarray
    steps_T: np.ndarray
    betas_NPST: np.ndarray
    energies_NPST: np.ndarray
    thresholds_NPST: np.ndarray  # E_th of the mixture at that moment
    mean_lengths_NPST: np.ndarray  # E[r] of it
    slopes_NPS: np.ndarray  # |P grad H| / sqrt(Lambda) at the end
    edges_N: np.ndarray  # mean of the ground state of pure 2 above -E_th, as H/Lambda
    seed: np.ndarray


def run(sizes: Sequence[int], seeds: int, steps: int, p: int = 3) -> Descents:
    """All descents, in float32: they are long, and end in minima that attract."""
    recorded = np.unique(np.linspace(0, steps - 1, min(steps, 200)).astype(int))
    # Near the threshold -(w~.grad H)/Lambda is about 3: beta is deep after 0.6 of the steps.
    scale_rate = math.log(DEEP / SHALLOW) / (3 * 0.6 * steps)
    starts = ((SHALLOW, 0.0), (SHALLOW, scale_rate), (DEEP, 0.0))
    betas, energies, slopes = [], [], []
    for Lambda in sizes:
        for beta, rate in starts:
            for seed in range(seeds):
                found = _descend(jax.random.key(seed), beta, rate, Lambda, p, steps)
                beta_T, energy_T, slope_T = (np.asarray(x, np.float64) for x in found)
                betas.append(beta_T[recorded])
                energies.append(energy_T[recorded])
                slopes.append(slope_T[-1])
    shape = (len(sizes), len(starts), seeds)
    betas_NPST = np.reshape(betas, (*shape, -1))
    moments = _interpolated(betas_NPST, p)
    return Descents(
        np.array(p),
        np.array(PROTOCOLS),
        np.array(sizes),
        recorded,
        betas_NPST,
        np.reshape(energies, (*shape, -1)),
        *moments,
        np.reshape(slopes, shape),
        np.array([_edge(Lambda) for Lambda in sizes]),
        np.array(0),
    )


def rows(found: Descents) -> Iterator[Row]:
    """What came of it."""
    ends_NPS = found.energies_NPST[..., -1]
    seeds = ends_NPS.shape[-1]
    setting = f'p = {found.p}, r = 2..{found.p}, {seeds} runs'
    free = list(found.protocols_P).index('C free')
    growth = np.diff(np.log(found.betas_NPST[:, free]), axis=-1)
    downhill = found.energies_NPST[:, free, :, :-1] < 0
    yield Row(
        'Theorem 4',
        STATED,
        'C grows as descent goes on, and with it the depth of the mixture',
        f'{setting}, Lambda = {", ".join(map(str, found.sizes_N))}, C follows its gradient',
        'C never falls where H < 0',
        f'{(growth[downhill] < 0).sum()} falls in {downhill.sum()} stretches; E[r] '
        f'{found.mean_lengths_NPST[:, free, :, 0].mean():.2f} -> '
        f'{found.mean_lengths_NPST[:, free, :, -1].mean():.2f}',
        bool((growth[downhill] >= 0).all()),
    )
    shallow_NS = ends_NPS[:, 0] + found.thresholds_NPST[:, 0, :, -1]
    mean_N, error_N = shallow_NS.mean(1), shallow_NS.std(1, ddof=1) / math.sqrt(seeds)
    yield Row(
        'Eq 31, E_th',
        CORRECTED,
        'descent on the shallow mixture ends above -E_th by what the smallest eigenvalue of a '
        'GOE matrix of size Lambda lies above -sqrt(2 Lambda)',
        f'{setting}, beta = {SHALLOW}, Lambda = {", ".join(map(str, found.sizes_N))}',
        ', '.join(f'{x:.4f}' for x in found.edges_N),
        ', '.join(f'{x:.4f} +- {e:.4f}' for x, e in zip(mean_N, error_N, strict=True)),
        bool((np.abs(mean_N - found.edges_N) < 4 * error_N).all()),
    )
    gaps_NP = (ends_NPS + found.thresholds_NPST[..., -1]).mean(-1)
    yield Row(
        'Eq 31, E_th',
        CORRECTED,
        'by every protocol the mean of H/Lambda ends above -E_th of its mixture, and nearer to it '
        'the larger Lambda',
        f'{setting}, {len(found.protocols_P)} protocols, Lambda = '
        f'{", ".join(map(str, found.sizes_N))}',
        'gap > 0, falling with Lambda',
        '; '.join(', '.join(f'{gap:.3f}' for gap in gaps_N) for gaps_N in gaps_NP.T),
        bool((gaps_NP > 0).all() and (gaps_NP[-1] < gaps_NP[0]).all()),
    )
    yield from _once_deep(found, free, setting)


def _once_deep(found: Descents, free: int, setting: str) -> Iterator[Row]:
    """The energy at the moment when C has made the mixture deep, and that of the other protocol."""
    arrived_S = np.argmax(found.betas_NPST[-1, free] > 0.99 * DEEP, axis=-1)
    seeds = np.arange(len(arrived_S))
    shares_S = -(found.energies_NPST / found.thresholds_NPST)[-1, free, seeds, arrived_S]
    where = f'{setting}, Lambda = {int(found.sizes_N[-1])}, '
    yield Row(
        'After eq 31',
        STATED,
        'by the time that the ensemble has become deep its loss is already low',
        f'{where}when beta reaches {DEEP:g}',
        'H below -0.85 E_th Lambda',
        f'{shares_S.mean():.3f} of -E_th Lambda, in the worst run {shares_S.min():.3f}',
        bool(shares_S.min() > 0.85),
    )
    gain_S = found.energies_NPST[-1, 2, :, -1] - found.energies_NPST[-1, free, :, -1]
    error = gain_S.std(ddof=1) / math.sqrt(len(seeds))
    yield Row(
        'After eq 31',
        CONTROL,
        '... but it ends no lower than an ensemble that was deep from the start',
        f'{where}both at beta = {DEEP:g}, same tensors and starts',
        'difference of H/Lambda 0 within 3 standard errors',
        f'{gain_S.mean():+.4f} +- {error:.4f}',
        bool(abs(gain_S.mean()) < 3 * error),
    )


@functools.partial(jax.jit, static_argnames=('Lambda', 'p', 'steps'))
def _descend(key, beta, scale_rate, Lambda, p, steps):
    """(beta, H/Lambda, |P grad H|/sqrt(Lambda)) before each step."""
    lengths = dict.fromkeys(range(2, p + 1), 1.0)
    tensors = spin_glass.sample_tensors(key, Lambda, lengths, jnp.float32)
    tensors = {r: critical_points.symmetric_part(tensor) for r, tensor in tensors.items()}
    w = spin_glass.random_point(jax.random.fold_in(key, 0), Lambda, jnp.float32)
    radius = math.sqrt(Lambda)

    def step(carry, _):
        w, log_beta = carry
        log_weights = path_weights.log_path_weights(jnp.exp(log_beta), p)
        mixture = {r: jnp.exp(2 * log_weights[r - 1]) for r in lengths}
        energy, slope = jax.value_and_grad(spin_glass.energy)(w, tensors, mixture)
        tangent = spin_glass.tangent(slope, w)
        grown = jnp.minimum(log_beta - scale_rate * (w @ slope) / Lambda, math.log(DEEP))
        reported = jnp.exp(log_beta), energy / Lambda, jnp.linalg.norm(tangent) / radius
        return (spin_glass.retract(w - _RATE * tangent, radius), grown), reported

    start = w, jnp.log(jnp.asarray(beta, jnp.float32))
    return jax.lax.scan(step, start, length=steps)[1]


def _interpolated(betas, p):
    """(E_th, E[r]) of the mixtures of r = 2..p at these beta."""
    grid = np.geomspace(betas.min() / 1.01, betas.max() * 1.01, 400)
    mixtures = [complexity.path_weight_mixture(beta, p, first=2) for beta in grid]
    thresholds = [complexity.threshold_energies(mixture)[0] for mixture in mixtures]
    lengths = [sum(r * weight for r, weight in mixture.items()) for mixture in mixtures]
    return tuple(np.interp(np.log(betas), np.log(grid), values) for values in (thresholds, lengths))


def _edge(Lambda, draws=4000):
    """The mean over GOE(Lambda) of sqrt(2) + x_0/sqrt(Lambda): pure 2 has H = sqrt(Lambda) x_0."""
    rng = np.random.default_rng(Lambda)
    matrices = rng.normal(size=(draws, Lambda, Lambda)).astype(np.float32)
    smallest = np.linalg.eigvalsh((matrices + matrices.transpose(0, 2, 1)) / 2)[:, 0]
    return math.sqrt(2) + smallest.mean(dtype=np.float64) / math.sqrt(Lambda)
