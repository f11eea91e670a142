"""The benchmark of the kernels at toy size: it counts in passes, and says what it was against."""

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benchmarks import kernels, timing
from resnet_dyn.kernels import masks
from resnet_dyn.models import stack


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    def network(depth, batch):
        branches = [jnp.sin] * ((depth - 2) // 2)
        net = stack.from_functions(lambda x: x, branches, lambda h: h)
        return net, np.ones((batch, 5), np.float32), np.zeros(batch, int)

    monkeypatch.setattr(kernels, 'network', network)
    monkeypatch.setattr(kernels, 'BATCH', 2)
    monkeypatch.setattr(kernels, 'PAUSE', 0.0)
    monkeypatch.setattr(timing, 'pytorch', lambda: None)


def test_lesions_are_reported_in_passes_over_their_bound():
    said = []
    one = kernels.Lesions('up to one', 8, lambda L: masks.up_to(L, 1), 2, 1.4, 1.4, vmap=True)
    found = kernels.score_masks(said.append, one)
    assert found['bound'] == 2  # 6 block evaluations of L = 3
    assert found['over_bound'] == pytest.approx(found['passes'].median / 2)
    assert found['passes'].rounds == found['vmap_over_ours'].rounds == 2
    assert found['what'] == 'up to one of ResNet-8 (4 masks, batch 2)'
    assert found['sizes'] == {'depth': 8, 'blocks': 3, 'masks': 4, 'batch': 2}
    assert said[0].startswith(found['what']) and '; 2 rounds) forward passes' in said[0]
    assert 'vmap over masks' in said[1]
    assert 'pytorch_over_ours' not in found


def test_every_timing_is_made_in_three_rounds_at_least():
    rounds = [one.rounds for one in kernels.LESIONS.values()]
    assert min(*rounds, kernels.ROUNDS, kernels.COMPILE_ROUNDS, kernels.BLOCK_ROUNDS) >= 3


def test_the_masks_are_those_that_the_words_name():
    sizes = {name: len(one.masks(12)) for name, one in kernels.LESIONS.items()}
    assert sizes == {'singles': 12, 'pairs': 66, 'exhaustive': 4096}
