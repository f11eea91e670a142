"""A run small enough to be made many times: 4 Gaussians, 3 layers of 8 units, 8 steps an epoch."""

import errno
import fcntl

import numpy as np
import pytest

from resnet_dyn import config
from resnet_dyn.data import datasets

GAUSSIANS = {'data.classes': 4, 'data.dimension': 6, 'data.separation': 1.0}
TINY = {
    'data.train_size': 260,
    'data.test_size': 70,
    'model.depth': 3,
    'model.width': 8,
    'train.batch_size': 32,
    'train.steps': 20,
    'train.schedule': 'constant',
    'train.weight_decay': 1e-3,
    'log.tensorboard': False,
}


@pytest.fixture(scope='session')
def tiny():
    """tiny({'seeds': 3}): the config with these changes, without Gaussians where data are named."""

    def tiny(changes=None):
        changes = changes or {}
        task = {} if 'data.name' in changes else GAUSSIANS
        return config.parse({**task, **TINY, **changes})

    return tiny


@pytest.fixture
def dataset():
    """40 training and 10 test examples of 5 classes, vectors of 7 features."""
    rng = np.random.default_rng(0)

    def split(size):
        inputs = rng.standard_normal((size, 7)).astype(np.float32)
        return datasets.Split(inputs, rng.integers(0, 5, size).astype(np.int32))

    ones = np.ones(7, np.float32)
    source = datasets.Source('gaussians', 'a1' * 32, '')
    return datasets.Dataset(split(40), split(10), 0.1 * ones, ones, 5, source)


@pytest.fixture
def without_locks(monkeypatch):
    """A file system without locks."""

    def flock(*_):
        raise OSError(errno.ENOLCK, 'No locks available')

    monkeypatch.setattr(fcntl, 'flock', flock)
