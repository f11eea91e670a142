"""Runs of every scale of branches: saved, restored by collection, resumed to the last bit."""

import itertools
import json

import jax
import numpy as np
import pytest

from resnet_dyn import config
from resnet_dyn.training import checkpoints, loop, runs

DENSE = {
    'data.classes': 3,
    'data.dimension': 4,
    'data.train_size': 32,
    'data.test_size': 12,
    'model.depth': 4,
    'model.width': 6,
}
IMAGES = {
    'data.name': 'digits',
    'data.train_size': 32,
    'data.test_size': 20,
    'model.family': 'cifar_resnet',
    'model.depth': 8,
    'train.weight_decay': 0.0,
}
SHORT = {
    'seeds': 2,
    'train.steps': 4,
    'train.batch_size': 16,
    'train.learning_rate': 0.02,
    'train.survival': 0.75,
    'checkpoint.every': 2,
    'log.record': 2,
    'log.tensorboard': False,
}
SCALES = {  # of what networks, and the name of the last gammas of their branches
    'skipinit': (DENSE | {'model.norm': 'none'}, 'branch_scale'),
    'sqrt_depth': (DENSE, 'norm_0'),
    'depth': (DENSE, 'norm_0'),
    'sqrt_index': (DENSE | {'model.norm': 'none'}, None),
    'fixup': (IMAGES | {'model.norm': 'none'}, 'branch_scale'),
}


def train(cfg, workdir, **options):
    return loop.train(cfg, workdir, lambda line: None, devices=jax.devices()[:1], **options)


@pytest.mark.slow
@pytest.mark.parametrize('scale', SCALES)
def test_a_run_is_restored_and_resumed_to_the_last_bit(scale, tmp_path):
    values, last_gammas = SCALES[scale]
    cfg = config.parse(SHORT | values | {'model.branch_scale': scale})
    assert train(cfg, tmp_path / 'whole').finished
    asked = itertools.count()
    parts = tmp_path / 'parts'
    assert not train(cfg, parts, stop=lambda: next(asked) >= 3).finished
    assert train(cfg, parts).finished
    step, trees, _ = checkpoints.restore_training(tmp_path / 'whole')
    assert step == checkpoints.restore_training(parts)[0] == 4
    jax.tree.map(np.testing.assert_array_equal, trees, checkpoints.restore_training(parts)[1])

    last = json.loads((parts / runs.DYNAMICS).read_text().splitlines()[-1])
    if last_gammas is None:
        assert 'gammas' not in trees
        assert 'gamma_mean' not in last
        return
    _, only, _ = checkpoints.restore(parts, only='gammas')
    assert list(only) == ['gammas']
    jax.tree.map(np.testing.assert_array_equal, only['gammas'], trees['gammas'])
    for s in range(2):
        model, variables, _ = runs.open_run(parts, seed=s)
        assert model.survival == 0.75
        own = jax.tree.map(lambda leaf, s=s: leaf[s], only['gammas'])
        jax.tree.map(np.testing.assert_array_equal, own, variables['gammas'])
        stages = [own[name] for name in sorted(own) if name.startswith('stage_')]
        expected = [np.abs(stage[last_gammas]['gamma']).mean(1) for stage in stages]
        expected = np.concatenate(expected)
        np.testing.assert_allclose(last['gamma_mean'][s], expected, rtol=1e-6)
