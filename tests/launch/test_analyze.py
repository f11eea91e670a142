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


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_an_analysis_writes_records_and_pictures_and_a_table_and_goes_on(workdir):
    done = launch('analyze', f'--workdir={workdir}', '--examples=20', '--seeds=all')
    assert done.returncode == 0, done.stderr
    assert 'cost: at most 24 forward, 6 backward passes of 20 test examples' in done.stdout
    steps = (0, 2, 4)
    assert names(workdir / 'records') == {
        f'{name}-{step:08d}.npz' for name in ('gammas', 'depth', 'singles') for step in steps
    }
    assert names(workdir / 'pictures') == {
        f'{name}.{kind}' for name in ('gammas', 'depth', 'singles') for kind in ('png', 'pdf')
    }
    for column in ('error %', 'E[r] incoherent', 'E[r] coherent', 'mean |gamma|'):
        assert column in done.stdout
    assert '±' in done.stdout and 'Data: gaussians' in done.stdout


def test_all_other_measures_of_the_last_step_and_what_is_there_is_kept(workdir):
    dear = ('pairs', 'random', 'greedy', 'reorder', 'paths', 'interactions', 'influence')
    done = launch(
        'analyze',
        f'--workdir={workdir}',
        f'--what=gammas,{",".join(dear)}',
        '--steps=last',
        '--seed=0',
        '--examples=20',
        '--examples_at_once=20',
        '--memory=1',
        '--random=2',
        '--probes=2',
    )
    assert done.returncode == 0, done.stderr
    assert '1 checkpoint (step 4), 1 network of 3 blocks' in done.stdout
    for line in ('paths         3 forward, 7 backward', 'interactions  2.33 forward'):
        assert line in done.stdout
    assert f'measured gammas, {", ".join(dear)}' in done.stdout
    for name in dear:
        assert f'{name}-network0-00000004.npz' in names(workdir / 'records')
        assert {f'{name}-network0.{kind}' for kind in ('png', 'pdf')} <= names(workdir / 'pictures')
    for column in ('two deleted', 'half deleted', 'one swap', 'mean length k', 'closure'):
        assert column in done.stdout
    assert all(len(line) <= 120 for line in done.stdout.splitlines() if '  ' in line)
    again = launch('analyze', f'--workdir={workdir}', '--what=gammas', '--steps=4', '--seed=0')
    assert 'there already: gammas' in again.stdout


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
