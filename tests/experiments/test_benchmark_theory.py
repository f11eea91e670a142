"""The benchmark of the theory runs and returns its rows; what it measures is not a test."""

import jax

from experiments.benchmarks import theory


def test_the_theory_benchmark_returns_a_row_and_says_a_line_for_each_goal(monkeypatch):
    for name, size in (('EQUAL', 999), ('UNEQUAL', 20), ('BETAS', 5), ('WEIGHTS', 6)):
        monkeypatch.setattr(theory, name, size)
    lines = []
    rows = theory.run(lines.append, rounds=1)['rows']
    assert len(rows) == len(lines) == 4
    assert [row['target'] for row in rows] == [0.2, 1.0, 2.0, 5.0]
    for row, line in zip(rows, lines, strict=True):
        assert line.startswith(row['name']) and '(one round)' in line
        assert row['seconds'].median > 0 and row['seconds'].rounds == 1
    assert [row['name'].partition(',')[2].split()[:3] for row in rows] == [
        ['p', '=', '999'],
        ['unequal,', 'p', '='],
        ['5', 'betas', 'x'],
        ['pure', '3,', 'Lambda'],
    ]
    assert not jax.config.jax_enable_x64
