"""A run small enough to be made many times: 4 Gaussians, 3 layers of 8 units, 8 steps an epoch."""

import pytest

from resnet_dyn import config

TINY = {
    'data.classes': 4,
    'data.dimension': 6,
    'data.separation': 1.0,
    'data.train_size': 260,
    'data.test_size': 70,
    'model.depth': 3,
    'model.width': 8,
    'train.batch_size': 32,
    'train.steps': 20,
    'train.weight_decay': 1e-3,
    'log.tensorboard': False,
}


@pytest.fixture(scope='session')
def tiny():
    """tiny({'seeds': 3}): the config with these changes."""
    return lambda changes=None: config.parse({**TINY, **(changes or {})})
