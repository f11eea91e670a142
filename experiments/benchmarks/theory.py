"""How long do the heaviest calls of the theory take?

Command: python -m launch.benchmark --what=theory
What: path weights of a million layers, of ten thousand unequal gains, of ten thousand betas at
once, all in float64, and the exact critical point counts of the first six indices at Lambda = 50.
Each number is the median of a few calls. Compile time is left out of it and stated beside it: by
how much the first call, which traces and compiles, took longer. Kac-Rice is NumPy: no compilation.
Expect: on 2 cores 0.2 s, 1 s, 2 s and 5 s at the most.
Wall time: about 20 seconds on 2 cores.
"""

import statistics
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks import timing
from resnet_dyn.theory import kac_rice, path_weights

ROUNDS = 5


def run(
    report: Callable[[str], None] = print, rounds: int = ROUNDS
) -> list[tuple[str, float, float]]:
    """Measures, reports line by line, and returns rows (name, seconds, target in seconds)."""
    rows = []
    with jax.enable_x64(True):
        for name, call, target in calls():
            first = timing.once(call)
            seconds = statistics.median(timing.once(call) for _ in range(rounds))
            rows.append((name, seconds, target))
            verdict = 'met' if seconds < target else 'MISSED'
            report(
                f'{name}: {seconds:.3f} s (goal: under {target:g} s, {verdict}; '
                f'the first call, not counted: {max(first - seconds, 0):.2f} s longer)'
            )
    return rows


def calls() -> list[tuple[str, Callable[[], object], float]]:
    """(name, call that returns when its work is done, target in seconds), in float64."""
    gains = jnp.asarray(np.random.default_rng(0).uniform(0.1, 2.0, 9_999))
    betas = jnp.geomspace(0.01, 100.0, 10_000)
    many = jax.jit(jax.vmap(lambda beta: path_weights.log_path_weights(beta, 1000)))
    beta = jnp.asarray(0.5)
    return [
        (
            'log_path_weights, p = 1,000,000',
            lambda: jax.block_until_ready(path_weights.log_path_weights(beta, 1_000_000)),
            0.2,
        ),
        (
            'log_path_weights_from_gains, unequal, p = 10,000',
            lambda: jax.block_until_ready(path_weights.log_path_weights_from_gains(gains)),
            1.0,
        ),
        (
            'log_path_weights, 10,000 betas x p = 1000 in one vmapped call',
            lambda: jax.block_until_ready(many(betas)),
            2.0,
        ),
        (
            'expected_critical_points, pure 3, Lambda = 50, indices 0..5 together',
            lambda: [kac_rice.expected_critical_points({3: 1.0}, 50, index) for index in range(6)],
            5.0,
        ),
    ]
