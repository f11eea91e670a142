"""launch.analyze and launch.figure: what they write and say, and what they refuse."""

import json
import shutil
import time

import jax
import numpy as np
import pytest

from resnet_dyn import errors, records
from resnet_dyn.training import checkpoints

DEAR = ('pairs', 'random', 'greedy', 'reorder', 'paths', 'interactions', 'influence')
FEW = ('--examples=20', '--random.draws=2', '--reorder.draws=2', '--paths.probes=2')

pytestmark = pytest.mark.usefixtures('sketched')


@pytest.fixture(scope='module')
def workdir(tiny_run, tmp_path_factory):
    """A copy of the tiny run."""
    return shutil.copytree(tiny_run, tmp_path_factory.mktemp('analyze') / 'run')


def names(folder):
    return {path.name for path in folder.iterdir()}


def measured(workdir):
    """(measure, step) of all records."""
    stems = (path.stem.split('-') for path in (workdir / 'records').glob('*.npz'))
    return {(name, int(step)) for name, step, _ in stems}


def test_an_analysis_writes_records_and_pictures_and_a_table(called, workdir):
    status, out, err = called('analyze', f'--workdir={workdir}', '--examples=20', '--steps=0,2,6')
    assert status == 0, err
    assert 'cost: at most 24 forward, 6 backward passes of 20 examples' in out
    expected = ('gammas', 'depth', 'singles')
    assert measured(workdir) == {(name, step) for name in expected for step in (0, 2, 6)}
    assert names(workdir / 'pictures') == {
        f'{name}.{kind}' for name in expected for kind in ('png', 'pdf')
    }
    for column in ('error %', 'E[r] incoherent', 'E[r] coherent', 'mean |gamma|'):
        assert column in out
    assert 'of the whole network on the examples' in out  # what a column is
    assert '±' in out and 'Data: gaussians; 20 test examples; statistics of the norms est' in out


def test_all_other_measures_of_the_last_step_and_what_is_there_is_kept(called, workdir):
    status, out, err = called(
        'analyze',
        f'--workdir={workdir}',
        f'--what=gammas,{",".join(DEAR)}',
        '--steps=last',
        '--network=0',
        '--examples_at_once=20',
        '--memory=1',
        *FEW,
    )
    assert status == 0, err
    assert '1 checkpoint (step 6), 1 network of 3 blocks' in out
    for line in ('paths         3 forward, 7 backward', 'interactions  2.33 forward'):
        assert line in out
    assert f'measured gammas, {", ".join(DEAR)}' in out
    for name in DEAR:
        assert list((workdir / 'records').glob(f'{name}-network0-00000006-*.npz'))
        assert {f'{name}-network0.{kind}' for kind in ('png', 'pdf')} <= names(workdir / 'pictures')
    for column in ('two deleted', 'half deleted', 'one swap', 'mean length k', 'closure'):
        assert column in out
    tables, _ = out.split('two deleted, mean   ', 1)
    assert all(len(line) <= 120 for line in tables.splitlines() if '  ' in line)
    again = called('analyze', f'--workdir={workdir}', '--what=gammas', '--steps=6', '--seed=0')
    assert 'there already: gammas' in again[1]


@pytest.mark.slow
def test_a_cheaper_analysis_harms_no_dearer_one_and_shows_what_was_asked(called, copied_run):
    command = ('analyze', f'--workdir={copied_run}', '--what=singles')
    called(*command)
    picture = (copied_run / 'pictures' / 'singles.png').read_bytes()
    status, out, _ = called(*command, '--examples=10', '--steps=2')
    assert status == 0 and '10 test examples' in out
    rows = [line.split() for line in out.splitlines() if '±' in line and 'mean ±' not in line]
    assert [row[0] for row in rows] == ['2']  # other steps are not shown
    assert (copied_run / 'pictures' / 'singles.png').read_bytes() == picture
    assert 'singles-step2-examples10.png' in names(copied_run / 'pictures')
    status, out, _ = called(*command, '--steps=2', '--examples=10')
    assert 'there already: singles' in out and '10 test examples' in out
    status, out, _ = called(*command)
    assert out.count('there already: singles') == 4 and '30 test examples' in out
    assert (copied_run / 'pictures' / 'singles.png').read_bytes() == picture


def test_running_statistics_are_a_flag_and_said_beside_the_numbers(called, copied_run):
    command = ('analyze', f'--workdir={copied_run}', '--what=depth', '--steps=2', FEW[0])
    _, estimated, _ = called(*command)
    _, running, _ = called(*command, '--statistics=running')
    assert 'estimated at each step on 64 training examples' in estimated
    assert 'as training averaged them' in running and 'measured depth' in running
    rows = [next(line for line in out.splitlines() if '±' in line) for out in (estimated, running)]
    assert rows[0] != rows[1]
    pictures = {path.name for path in (copied_run / 'pictures').iterdir()}
    assert {'depth.png', 'depth-statisticsrunning.png'} <= pictures


def test_a_network_that_has_diverged_is_left_out_and_the_last_line_and_the_status_say_so(
    called, copied_run
):
    step, variables, meta = checkpoints.restore(copied_run, 6)
    _, trees, _ = checkpoints.restore_training(copied_run)
    shutil.rmtree(copied_run / 'checkpoints' / '6')
    broken = jax.tree.map(np.array, {**variables, 'optimizer': trees['optimizer']})
    broken['params']['head']['linear']['kernel'][1] = np.nan
    writer = checkpoints.Writer(copied_run)
    writer.save(step, broken, meta)
    writer.close()
    status, out, err = called('analyze', f'--workdir={copied_run}', '--steps=4,6', '--examples=20')
    assert (status, err) == (3, '')
    assert out.splitlines()[-1] == 'left out: network 1 (seed 1) at step 6, not finite'
    assert 'head_params/params/linear/kernel are NaN' in out
    assert measured(copied_run) == {(n, s) for n in ('gammas', 'depth', 'singles') for s in (4, 6)}


def test_a_run_that_cannot_be_written_to_says_so_first_and_shows_its_table(called, copied_run):
    (copied_run / 'records').write_text('a file where the folder should be')
    status, out, err = called('analyze', f'--workdir={copied_run}', '--what=gammas', '--steps=last')
    assert (status, err) == (1, '')
    assert out.startswith('WARNING: records cannot be written to')
    assert 'mean |gamma|' in out and '±' in out
    assert not (copied_run / 'pictures').exists()


def test_a_checkpoint_of_another_run_is_lost_and_never_measured(called, copied_run):
    _, trees, meta = checkpoints.restore_training(copied_run)
    shutil.rmtree(copied_run / 'checkpoints' / '6')
    writer = checkpoints.Writer(copied_run)
    writer.save(6, trees, {**meta, 'run': {**meta['run'], 'seed': 7}})
    writer.close()
    status, out, err = called('analyze', f'--workdir={copied_run}', '--what=gammas')
    assert (status, err) == (1, '')
    assert 'step        6: LOST' in out and 'seed' in out
    assert out.splitlines()[-1].startswith('left out: the checkpoint at step 6')
    assert measured(copied_run) == {('gammas', step) for step in (0, 2, 4)}


def test_a_run_whose_config_was_edited_since_is_not_measured(called, copied_run):
    file = copied_run / 'config.json'
    said = json.loads(file.read_text())
    said['config']['seed'] = 5
    file.write_text(json.dumps(said))
    status, _, err = called('analyze', f'--workdir={copied_run}', '--what=gammas')
    assert status == 1 and 'seed' in err and err.count('\n') == 1
    assert not list((copied_run / 'records').glob('*.npz'))


def test_the_table_is_shown_where_the_newest_checkpoint_is_damaged(called, copied_run):
    (copied_run / 'checkpoints' / '6' / 'manifest.json').unlink()
    status, out, err = called('analyze', f'--workdir={copied_run}', '--what=gammas')
    assert (status, err) == (1, '')
    assert 'mean |gamma|' in out and 'step        6: LOST' in out
    assert (copied_run / 'tables' / 'gammas.csv').exists()


@pytest.mark.parametrize('folder', ['pictures', 'tables'])
def test_a_folder_that_is_a_file_is_said_before_anything_is_measured(called, copied_run, folder):
    (copied_run / folder).write_text('')
    status, out, err = called('analyze', f'--workdir={copied_run}', '--what=gammas', '--steps=2')
    assert (status, err) == (1, '')
    assert out.startswith('WARNING') and folder in out.splitlines()[0] and '±' in out


def test_a_table_that_cannot_be_written_leaves_the_others_and_is_named(called, copied_run):
    (copied_run / 'tables' / 'gammas.csv').mkdir(parents=True)
    command = ('analyze', f'--workdir={copied_run}', '--what=gammas,depth', '--examples=20')
    status, out, err = called(*command)
    assert (status, err) == (1, '')
    assert 'WARNING: the table or picture of gammas could not be written' in out
    assert {'depth.png', 'depth.pdf'} <= names(copied_run / 'pictures')


def test_a_disk_that_fills_up_ends_no_analysis(called, copied_run, monkeypatch):
    def full(path, record, origin):
        raise errors.RecordError(f'the record {path} cannot be written (no space left)')

    monkeypatch.setattr(records, 'save', full)
    status, out, err = called('analyze', f'--workdir={copied_run}', '--what=gammas', '--steps=0,2')
    assert (status, err) == (1, '')
    assert out.count('WARNING: not kept') == 2 and '±' in out
    assert 'no space left' in out.splitlines()[-1]


def test_a_stopped_analysis_says_how_to_go_on(capsys, copied_run, loaded):
    from absl import flags

    with loaded('analyze') as analyze:
        flags.FLAGS(['analyze'])
        analyze.define()
        flags.FLAGS(['analyze', f'--workdir={copied_run}', '--what=gammas'])
        calls = []
        status = analyze.analyze(lambda: len(calls) > 2 or calls.append(0))
    assert status == 42
    last = capsys.readouterr().out.splitlines()[-1]
    assert 'of 4 checkpoints: whole records are saved, start again to go on' in last


def test_a_folder_that_is_not_there_is_said_at_once(launched, tmp_path):
    began = time.monotonic()
    status, _, err = launched('analyze', f'--workdir={tmp_path}/nowhere/run')
    assert status == 1
    assert f'there is no folder {tmp_path}/nowhere/run' in err and err.count('\n') == 1
    assert time.monotonic() - began < 5  # under a second where nothing else runs: no JAX


@pytest.mark.parametrize(
    'arguments, words',
    [
        (['--what=gamas'], "did you mean 'gammas'"),
        (['--config.model.depth=5'], 'takes its config from the run'),
        (['--network=2'], 'one of 0..1'),
        (['--steps=3'], 'take all, last, or some of 0,2,4,6'),
        (['--examples=0'], 'examples'),
        (['--statistics=batch'], 'must be one of estimated, running'),
        (['--random.draws=3'], "options of the measure 'random' are given"),
        (['--config.log.every=7'], 'config.log.every is None there, and now 7'),
        (['--what='], 'no measure is named'),
        (['--memory=nan'], 'memory'),
        (['--memory=1e300'], 'memory'),
        (['--what=random', '--random.draws=99999999999'], 'random.draws'),
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
