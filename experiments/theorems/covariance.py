"""The law of the spin glass itself, eqs 26 to 28, by sampling tensors."""

import math
from collections.abc import Iterator

import jax
import numpy as np

from experiments.theorems.table import CORRECTED, Row
from resnet_dyn.theory import spin_glass

_MIXTURE, _LAMBDA = {1: 0.3, 2: 0.4, 3: 0.3}, 6


def rows(fast: bool = False) -> Iterator[Row]:
    """E[H(x) H(y)] at several overlaps; float64 is the caller's to switch on."""
    draws = 2000 if fast else 20_000
    x, away = (spin_glass.random_point(jax.random.key(i), _LAMBDA) for i in (1, 2))
    away = spin_glass.retract(spin_glass.tangent(away, x), math.sqrt(_LAMBDA))
    overlaps = (1.0, 0.8, 0.0, -0.8)
    points = [t * x + math.sqrt(1 - t * t) * away for t in overlaps]

    def products(key):
        tensors = spin_glass.sample_tensors(key, _LAMBDA, _MIXTURE)
        energies = [spin_glass.energy(point, tensors, _MIXTURE) for point in points]
        return [energies[0] * energy for energy in energies]

    found = jax.lax.map(products, jax.random.split(jax.random.key(0), draws), batch_size=500)
    found_SN = np.stack(found, axis=1)
    predicted_N = np.array([_LAMBDA * spin_glass.covariance(t, _MIXTURE)[0] for t in overlaps])
    error_N = found_SN.std(0, ddof=1) / math.sqrt(draws)
    yield Row(
        'Eq 26 to 28',
        CORRECTED,
        'E[H(x) H(y)] = Lambda sum_r eps_r^2 (x.y/Lambda)^r, over all r of the mixture, 1 included',
        f'eps^2 = 0.3, 0.4, 0.3 at r = 1, 2, 3; Lambda = {_LAMBDA}, overlaps '
        f'{", ".join(map(str, overlaps))}, {draws:,} draws',
        ', '.join(f'{value:.3f}' for value in predicted_N),
        ', '.join(
            f'{value:.3f} +- {error:.3f}'
            for value, error in zip(found_SN.mean(0), error_N, strict=True)
        ),
        bool((np.abs(found_SN.mean(0) - predicted_N) < 4 * error_N).all()),
    )
