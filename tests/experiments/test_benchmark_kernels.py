"""The benchmark of the kernels at toy size: it counts in passes, and says what it was against."""

import pytest

from experiments.benchmarks import kernels, timing
from resnet_dyn.kernels import masks


def test_lesions_are_reported_in_passes_over_their_bound(monkeypatch):
    monkeypatch.setattr(kernels, 'BATCH', 2)
    monkeypatch.setattr(kernels, 'PAUSE', 0.0)
    monkeypatch.setattr(timing, 'pytorch', lambda: None)
    said = []
    found = kernels._lesions(said.append, 'singles', 8, masks.up_to(3, 1), 1, 1.4, 1.4, vmap=True)
    assert found['bound'] == 2  # 6 block evaluations of L = 3
    assert found['over_bound'] == pytest.approx(found['passes'][0] / 2)
    assert 'forward passes' in said[0]
    assert 'vmap over masks' in said[1]
    assert 'pytorch_over_ours' not in found
