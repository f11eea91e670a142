"""launch.analyze and launch.figure: what they write and say, and what they refuse."""

import shutil

import pytest


@pytest.fixture(scope='module')
def workdir(finished, tmp_path_factory):
    """A copy of the short run."""
    return shutil.copytree(finished, tmp_path_factory.mktemp('analyze') / 'run')


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_an_analysis_writes_records_and_pictures_and_a_table_and_goes_on(launched, workdir):
    flags = ('--examples=20', '--seeds=all', '--steps=0,5,20')
    status, out, err = launched('analyze', f'--workdir={workdir}', *flags)
    assert status == 0, err
    assert 'cost: at most 24 forward, 6 backward passes of 20 test examples' in out
    steps = (0, 5, 20)
    assert names(workdir / 'records') == {
        f'{name}-{step:08d}.npz' for name in ('gammas', 'depth', 'singles') for step in steps
    }
    assert names(workdir / 'pictures') == {
        f'{name}.{kind}' for name in ('gammas', 'depth', 'singles') for kind in ('png', 'pdf')
    }
    for column in ('error %', 'E[r] incoherent', 'E[r] coherent', 'mean |gamma|'):
        assert column in out
    assert '±' in out and 'Data: gaussians' in out


def test_all_other_measures_of_the_last_step_and_what_is_there_is_kept(called, workdir):
    dear = ('pairs', 'random', 'greedy', 'reorder', 'paths', 'interactions', 'influence')
    status, out, err = called(
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
    assert status == 0, err
    assert '1 checkpoint (step 20), 1 network of 3 blocks' in out
    for line in ('paths         3 forward, 7 backward', 'interactions  2.33 forward'):
        assert line in out
    assert f'measured gammas, {", ".join(dear)}' in out
    for name in dear:
        assert f'{name}-network0-00000020.npz' in names(workdir / 'records')
        assert {f'{name}-network0.{kind}' for kind in ('png', 'pdf')} <= names(workdir / 'pictures')
    for column in ('two deleted', 'half deleted', 'one swap', 'mean length k', 'closure'):
        assert column in out
    assert all(len(line) <= 120 for line in out.splitlines() if '  ' in line)
    again = called('analyze', f'--workdir={workdir}', '--what=gammas', '--steps=20', '--seed=0')
    assert 'there already: gammas' in again[1]


@pytest.mark.parametrize(
    'arguments, words',
    [
        (['--what=gamas'], "did you mean 'gammas'"),
        (['--config.model.depth=5'], 'takes its config from the run'),
        (['--seed=0', '--seeds=all'], 'give one of the two'),
    ],
)
def test_what_cannot_be_analysed_is_one_paragraph(called, workdir, arguments, words):
    status, _, err = called('analyze', f'--workdir={workdir}', *arguments)
    assert status == 1
    assert words in err and err.count('\n') == 1


def test_a_figure_that_cannot_be_made_is_one_paragraph(called, tmp_path):
    status, _, err = called('figure', f'--workdir={tmp_path}', '--config.model.norm=none')
    assert status == 1
    assert 'norm=none' in err and err.count('\n') == 1
    assert not list(tmp_path.iterdir())
