"""The benchmark beside hooks in PyTorch at toy size, the other library played by a sum of gates."""

import sys
import types

import numpy as np
import pytest

from experiments import benchmark_rows
from experiments.benchmarks import hooks, results, timing
from resnet_dyn import errors
from resnet_dyn.kernels import masks


def losses(masks_ML):
    return masks_ML @ (1 + np.arange(masks_ML.shape[1]))


@pytest.fixture
def raced(monkeypatch):
    """A race of all masks of 3 blocks in which PyTorch's losses are 1e-3 larger."""
    other = types.SimpleNamespace(
        load=lambda folder: None,
        hooks=lambda model, tokens, masks_ML, blocks: lambda: 1.001 * losses(masks_ML),
        skips=lambda model, tokens, masks_ML, blocks: lambda: losses(masks_ML),
    )
    monkeypatch.setitem(sys.modules, 'experiments.benchmarks.pytorch_hooks', other)
    monkeypatch.setattr('experiments.benchmarks.pytorch_hooks', other, raising=False)
    monkeypatch.setattr(hooks, 'scores', lambda *_: (losses, 3))
    monkeypatch.setattr(hooks, 'PAUSE', 0.0)
    said = []
    one = hooks.Lesions('all of three', 'layers', masks.all_masks, 2, 8.0)
    return hooks.race(said.append, None, one), said


def test_a_race_compares_the_numbers_and_counts_what_ours_evaluates(raced):
    found, said = raced
    assert (found['masks'], found['block_evaluations']) == (8, 7)
    assert found['hooks_difference'] == pytest.approx(1e-3, rel=1e-2)
    assert (found['skips_difference'], found['spread']) == (0, pytest.approx(6.006))
    assert found['hooks_over_ours'].rounds == len(found['processor_seconds']['ours']) == 2
    assert said[0] == 'all of three (8 masks, 7 block evaluations):'
    assert 'goal: at least 8' in said[1] and 'losses within 0.001' in said[1]


def test_the_rows_say_what_was_measured(raced, tmp_path):
    found, _ = raced
    sizes = {
        'layers': 3,
        'width': 5,
        'vocabulary': 7,
        'sequences': 2,
        'length': 4,
        'cores': 1,
        'chunk': 16,
    }
    memory = {'few': 1, 'many': 3, 'growth': 1.01}
    numbers = {'sizes': sizes, 'lesions': {'all': found}, 'memory': memory}
    results.write(tmp_path / 'benchmarks', 'hooks', numbers, seconds=1.0)
    first, second, worst, peak = benchmark_rows.hooks(tmp_path)
    assert (
        'all of three of a GPT-2 of 3 layers, width 5, vocabulary 7, 2 x 4 tokens, `width=16`, '
        '1 core' in first.claim
    )
    assert "PyTorch's loop that leaves deleted blocks out" in second.claim
    assert (worst.number, worst.n, peak.number) == ('0.001', '8 masks', '1.01')
    *_, last = benchmark_rows.hooks(_without_memory(tmp_path, numbers))
    assert 'largest difference' in last.claim


def _without_memory(folder, numbers):
    results.write(folder / 'benchmarks', 'hooks', {**numbers, 'memory': {}}, seconds=1.0)
    return folder


def test_without_pytorch_the_benchmark_says_where_it_runs(monkeypatch):
    monkeypatch.setattr(timing, 'pytorch', lambda: None)
    with pytest.raises(errors.RunError, match='make parity'):
        hooks.run()
