"""The benchmark of the theory runs and returns its rows; what it measures is not a test."""

import json

import jax

from experiments.benchmarks import theory


def test_the_theory_benchmark_returns_a_row_and_says_a_line_for_each_goal():
    lines = []
    rows = theory.run(lines.append, rounds=1)
    assert len(rows) == len(lines) == 4
    assert [target for _, _, target in rows] == [0.2, 1.0, 2.0, 5.0]
    for (name, seconds, _), line in zip(json.loads(json.dumps(rows)), lines, strict=True):
        assert line.startswith(name)
        assert seconds > 0
    assert not jax.config.jax_enable_x64
