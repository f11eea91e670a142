"""A tiny run, trained once for the tests of the analysis: 2 networks of 3 blocks, 3 checkpoints."""

import pytest

from resnet_dyn import config

TINY = {
    'seeds': 2,
    'data.classes': 3,
    'data.dimension': 4,
    'data.train_size': 64,
    'data.test_size': 30,
    'model.depth': 4,
    'model.width': 8,
    'train.steps': 6,
    'train.batch_size': 16,
    'checkpoint.every': 2,
    'log.record': 2,
    'log.tensorboard': False,
}


@pytest.fixture(scope='session')
def tiny_run(tmp_path_factory):
    """The workdir; tests that change it copy it first."""
    from resnet_dyn.training import loop

    workdir = tmp_path_factory.mktemp('analysis') / 'run'
    loop.train(config.parse(TINY), workdir, report=lambda line: None)
    return workdir


@pytest.fixture
def copied_run(tiny_run, tmp_path):
    """A copy of the tiny run, without records, to do with as one likes."""
    import shutil

    return shutil.copytree(tiny_run, tmp_path / 'run', ignore=shutil.ignore_patterns('records'))
