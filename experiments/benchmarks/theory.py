"""How long do the heaviest calls of the theory take?

Command: python -m launch.benchmark --what=theory
What: path weights of a million layers, of ten thousand unequal gains, of ten thousand betas at
once, all in float64, and the exact critical point counts of the first six indices at Lambda = 50.
Each number is the median of a few calls. Compile time is left out of it and stated beside it: by
how much the first call, which traces and compiles, took longer. Kac-Rice is NumPy: no compilation.
Expect: on 2 cores 0.2 s, 1 s, 2 s and 5 s at the most.
Wall time: about 20 seconds on 2 cores.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks import timing
from resnet_dyn.theory import kac_rice, path_weights

ROUNDS = 5
EQUAL, UNEQUAL = 1_000_000, 10_000  # layers p
BETAS, BETAS_DEPTH = 10_000, 1000
SPIN, WEIGHTS, INDICES = 3, 50, 6


def run(report: Callable[[str], None] = print, rounds: int = ROUNDS) -> dict[str, Any]:
    """Measures, reports line by line, and returns a row a call: name, seconds, their target."""
    rows = []
    with jax.enable_x64(True):
        for name, call, target in calls():
            first = timing.once(call)
            seconds = timing.spread([timing.once(call) for _ in range(rounds)])
            longer = max(first - seconds.median, 0)
            rows.append({'name': name, 'seconds': seconds, 'target': target, 'first': longer})
            verdict = 'met' if seconds.median < target else 'MISSED'
            report(
                f'{name}: {seconds} s (goal: under {target:g} s, {verdict}; '
                f'the first call, not counted: {longer:.2f} s longer)'
            )
    return {'rows': rows}


def calls() -> list[tuple[str, Callable[[], object], float]]:
    """(name, call that returns when its work is done, target in seconds), in float64."""
    gains = jnp.asarray(np.random.default_rng(0).uniform(0.1, 2.0, UNEQUAL - 1))
    betas = jnp.geomspace(0.01, 100.0, BETAS)
    many = jax.jit(jax.vmap(lambda beta: path_weights.log_path_weights(beta, BETAS_DEPTH)))
    beta = jnp.asarray(0.5)
    return [
        (
            f'log_path_weights, p = {EQUAL:,}',
            lambda: jax.block_until_ready(path_weights.log_path_weights(beta, EQUAL)),
            0.2,
        ),
        (
            f'log_path_weights_from_gains, unequal, p = {UNEQUAL:,}',
            lambda: jax.block_until_ready(path_weights.log_path_weights_from_gains(gains)),
            1.0,
        ),
        (
            f'log_path_weights, {BETAS:,} betas x p = {BETAS_DEPTH:,} in one vmapped call',
            lambda: jax.block_until_ready(many(betas)),
            2.0,
        ),
        (
            f'expected_critical_points, pure {SPIN}, Lambda = {WEIGHTS}, indices '
            f'0..{INDICES - 1} together',
            lambda: [
                kac_rice.expected_critical_points({SPIN: 1.0}, WEIGHTS, index)
                for index in range(INDICES)
            ],
            5.0,
        ),
    ]
