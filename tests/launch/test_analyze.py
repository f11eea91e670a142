"""launch.analyze and launch.figure as their users start them: in a process of their own."""

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent.parent
TINY = (
    '--config.seeds=2',
    '--config.data.classes=3',
    '--config.data.dimension=4',
    '--config.data.train_size=64',
    '--config.data.test_size=30',
    '--config.model.depth=4',
    '--config.model.width=8',
    '--config.train.steps=4',
    '--config.train.batch_size=16',
    '--config.checkpoint.every=2',
    '--config.log.tensorboard=false',
)


def launch(name, *arguments):
    environment = os.environ | {'JAX_COMPILATION_CACHE_DIR': str(ROOT / '.jax_cache')}
    return subprocess.run(
        [sys.executable, '-m', f'launch.{name}', *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp('launch') / 'run'
    done = launch('train', f'--workdir={folder}', *TINY)
    assert done.returncode == 0, done.stderr
    return folder


def test_an_analysis_writes_records_and_pictures_and_a_table_and_goes_on(workdir):
    done = launch('analyze', f'--workdir={workdir}', '--examples=20', '--seeds=all')
    assert done.returncode == 0, done.stderr
    assert 'cost: at most 30 forward passes of 20 test examples' in done.stdout
    steps = (0, 2, 4)
    assert {path.name for path in (workdir / 'records').iterdir()} == {
        f'{name}-{step:08d}.npz' for name in ('gammas', 'depth', 'singles') for step in steps
    }
    assert {path.name for path in (workdir / 'pictures').iterdir()} == {
        f'{name}.{kind}' for name in ('gammas', 'depth', 'singles') for kind in ('png', 'pdf')
    }
    for column in ('error %', 'E[r] incoherent', 'E[r] coherent', 'mean |gamma|'):
        assert column in done.stdout
    assert '±' in done.stdout and 'Data: gaussians' in done.stdout
    again = launch('analyze', f'--workdir={workdir}', '--examples=20')
    assert again.stdout.count('there already: gammas, depth, singles') == 3


@pytest.mark.parametrize(
    'arguments, words',
    [
        (['--what=gamas'], "did you mean 'gammas'"),
        (['--config.model.depth=5'], 'takes its config from the run'),
        (['--seed=0', '--seeds=all'], 'give one of the two'),
    ],
)
def test_what_cannot_be_analysed_is_one_paragraph(workdir, arguments, words):
    done = launch('analyze', f'--workdir={workdir}', *arguments)
    assert done.returncode == 1
    assert words in done.stderr and 'Traceback' not in done.stderr


def test_a_figure_that_cannot_be_made_is_one_paragraph(tmp_path):
    done = launch('figure', f'--workdir={tmp_path}', '--config.model.norm=none')
    assert done.returncode == 1
    assert 'norm=none' in done.stderr and 'Traceback' not in done.stderr
    assert not list(tmp_path.iterdir())
