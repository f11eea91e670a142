"""For every test: four simulated CPU devices, no silent rank promotion, cached compiles; a run."""

import os
import pathlib
import shutil

import pytest

os.environ.setdefault('JAX_PLATFORMS', 'cpu')

from resnet_dyn import backend

backend.configure_cpu()

import jax  # noqa: E402

_CACHE = pathlib.Path(__file__).parent.parent / '.jax_cache'

jax.config.update('jax_num_cpu_devices', 4)
jax.config.update('jax_numpy_rank_promotion', 'raise')
jax.config.update('jax_compilation_cache_dir', str(_CACHE))
jax.config.update('jax_persistent_cache_min_compile_time_secs', 0)
jax.config.update('jax_persistent_cache_min_entry_size_bytes', 0)

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
    """A run of 2 networks of 3 blocks, checkpoints at 0, 2, 4, 6; tests that change it copy it."""
    from resnet_dyn import config
    from resnet_dyn.training import loop

    workdir = tmp_path_factory.mktemp('tiny') / 'run'
    loop.train(config.parse(TINY), workdir, report=lambda line: None)
    return workdir


@pytest.fixture(scope='module')
def sketched():
    """Pictures are drawn in full, and saved as empty files: rendering them takes most of the time.

    For tests of what is drawn and written when; others look at the files themselves.
    """
    from resnet_dyn.plots import style

    def save(fig, stem):
        paths = [pathlib.Path(f'{stem}.{kind}') for kind in ('png', 'pdf')]
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(repr([axes.get_title('left') for axes in fig.axes]).encode())
        return tuple(paths)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(style, 'save', save)
        yield


@pytest.fixture
def copied_run(tiny_run, tmp_path):
    """A copy of the tiny run, without records, to do with as one likes."""
    return shutil.copytree(tiny_run, tmp_path / 'run', ignore=shutil.ignore_patterns('records'))
