"""Depth over training at toy size, from nothing to the tables; its plans of trainings and looks."""

import csv
import shutil

import numpy as np
import pytest
import tiny

from experiments import depth_over_training, study
from experiments.dynamics import looks, rules, trainings
from resnet_dyn import errors
from resnet_dyn.reports import claims, series

TINY = {path: value for path, value in tiny.VALUES.items() if path != 'log.tensorboard'}
CHEAP = ('gammas', 'depth')

pytestmark = pytest.mark.usefixtures('shared_programs')


@pytest.mark.parametrize('task', trainings.TASKS)
def test_every_training_can_be_and_shares_seeds_and_length_with_main(task):
    made = study.configs(trainings.study_of(task))
    main = made[f'{task}-main']
    assert main.seeds == {'gaussians': 20, 'digits': 10, 'cifar10': 3}[task]
    for name, one in made.items():
        assert name.startswith(f'{task}-') and one.checkpoint.early
        assert (one.seed, one.seeds) == (main.seed, main.seeds)
        assert (one.train.steps, one.train.epochs) == (main.train.steps, main.train.epochs)


@pytest.mark.parametrize('task', trainings.TASKS)
def test_a_fast_look_is_main_frozen_and_none(task):
    made = study.configs(trainings.study_of(task, fast=True))
    main, frozen, none = made.values()
    assert [claims.is_main(name) for name in made] == [True, False, False]
    assert (frozen.train.gammas, none.model.norm, main.seeds) == ('frozen', 'none', 3)


def test_changes_are_made_to_all_and_what_makes_a_control_stays_its_own():
    changes = {'train.learning_rate': 0.07, 'train.steps': 3}
    made = study.configs(trainings.study_of('gaussians', changes=changes))
    assert made['gaussians-main'].train.learning_rate == 0.07
    assert made['gaussians-rate-0.2'].train.learning_rate == 0.2
    assert {one.train.steps for one in made.values()} == {3}


def test_main_and_frozen_are_looked_at_often_the_others_at_a_few_steps():
    steps = (0, 1, 2, 4, 8, 16, 20, 40, 60)
    main, ends = looks.planned('gaussians-main', steps)
    assert main.steps == steps and (ends.what, ends.steps) == (('interactions',), (0, 60))
    (frozen,) = looks.planned('gaussians-frozen', steps)
    assert frozen.steps == steps and set(frozen.what) < set(main.what)
    (other,) = looks.planned('gaussians-rate-0.2', steps)
    assert other.steps == (0, 8, 60)
    assert looks.few((0, 7)) == (0, 7) and looks.few((0,)) == (0,)


@pytest.fixture(scope='module')
def cheap():
    """Two trainings of a task, and looks that cost little."""
    with pytest.MonkeyPatch.context() as patch:
        variants = {'main': {}, 'frozen': {'train.gammas': 'frozen'}}
        patch.setitem(trainings._VARIANTS, 'gaussians', variants)
        for name in ('EVERY', 'SOME'):
            patch.setattr(looks, name, CHEAP)
        patch.setattr(looks, 'ENDS', ('depth',))
        yield


@pytest.fixture(scope='module')
def made(cheap, tmp_path_factory):
    """The folder, the result and the lines of depth over training of tiny networks."""
    workdir, lines = tmp_path_factory.mktemp('dynamics'), []
    result = depth_over_training.run(workdir, ['gaussians'], False, TINY, report=lines.append)
    return workdir, result, lines


def _rows(path):
    with open(path, newline='') as file:
        return list(csv.DictReader(file))


def test_runs_verdicts_and_tables_are_there(made):
    workdir, result, _ = made
    assert result.finished and not result.diverged
    assert [path.name for path in result.runs] == ['gaussians-main', 'gaussians-frozen']
    assert [path.name for path in result.files] == [
        'claims.csv',
        'controls.csv',
        'trajectories.csv',
        'correlations.csv',
        'runs.csv',
    ]
    assert all(path.parent == workdir and path.is_file() for path in result.files)
    assert [one.claim for one in result.verdicts] == list(depth_over_training.CLAIMS)
    outcomes = {one.claim.name: one.outcome for one in result.verdicts}
    assert outcomes['weights-grow-without-norm'] == claims.NOT_MEASURED


def test_the_tables_hold_the_intervals_of_the_records(made):
    workdir, result, _ = made
    main, frozen = map(series.read, result.runs)
    number = next(one for one in rules.DEPTHS if one.title.endswith('incoherent'))
    steps, k_ST = number.of(main)
    assert steps.tolist() == [0, 1, 2, 4, 6]
    own = np.mean(k_ST[:, -1] - k_ST[:, 0])
    claimed = _rows(workdir / 'claims.csv')
    (grown,) = [
        row for row in claimed if row['claim'] == 'depth-grows' and 'incoherent' in row['title']
    ]
    np.testing.assert_allclose(float(grown['estimate']), own, rtol=1e-6)
    assert grown['n'] == '2'
    (control,) = [
        row
        for row in _rows(workdir / 'controls.csv')
        if row['claim'] == 'depth-grows' and 'incoherent' in row['number']
    ]
    other = np.mean(rules.change(frozen, number))
    np.testing.assert_allclose(float(control['estimate']), other, rtol=1e-6)
    np.testing.assert_allclose(float(control['difference_estimate']), own - other, rtol=1e-5)
    path = [
        row
        for row in _rows(workdir / 'trajectories.csv')
        if (row['run'], row['number']) == ('gaussians-main', 'E[r] incoherent')
    ]
    assert [row['step'] for row in path] == ['0', '1', '2', '4', '6']
    np.testing.assert_allclose([float(row['estimate']) for row in path], k_ST.mean(0) + 1, 1e-6)


def test_gammas_that_are_frozen_have_no_correlation_with_depth(made):
    rows = {(row['run'], row['number']): row for row in _rows(made[0] / 'correlations.csv')}
    title = 'k predicted from power gains, incoherent'
    main, frozen = (rows[f'gaussians-{name}', title] for name in ('main', 'frozen'))
    assert (main['n'], frozen['n'], main['steps']) == ('2', '0', '5')
    assert -1 <= float(main['low']) <= float(main['estimate']) <= float(main['high']) <= 1


def test_started_again_it_trains_and_measures_nothing_and_finds_the_same(made):
    workdir, result, _ = made
    before, lines = [path.read_bytes() for path in result.files], []
    depth_over_training.run(workdir, ['gaussians'], False, TINY, report=lines.append)
    assert [path.read_bytes() for path in result.files] == before
    assert not any(' at steps ' in line for line in lines)


def test_stopped_among_its_looks_it_goes_on_where_it_was(made, cheap, tmp_path):
    workdir, _, said = made
    asked, unmeasured = [], shutil.ignore_patterns('records')
    shutil.copytree(workdir / 'runs', tmp_path / 'runs', ignore=unmeasured)

    def stop():
        asked.append(len(list(tmp_path.glob('runs/gaussians-main/records/*.npz'))))
        return asked[-1] >= 3

    stopped = depth_over_training.run(tmp_path, ['gaussians'], False, TINY, stop, said.append)
    assert not stopped.finished and not (tmp_path / 'claims.csv').exists()
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob('runs/*/records/*.npz')}
    assert 3 <= len(kept) < 10
    again = depth_over_training.run(tmp_path, ['gaussians'], False, TINY, report=said.append)
    assert again.finished
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    for name in ('claims.csv', 'controls.csv', 'correlations.csv'):
        assert (tmp_path / name).read_bytes() == (workdir / name).read_bytes()


def test_a_task_that_is_none_is_refused_with_the_nearest(tmp_path):
    with pytest.raises(errors.ConfigError, match=r"no task 'digit'.*digits"):
        depth_over_training.run(tmp_path / 'none', ['digit'])
    with pytest.raises(errors.ConfigError, match=r'no task is named: take some of gaussians'):
        depth_over_training.run(tmp_path / 'none', [])
    assert not (tmp_path / 'none').exists()


def test_a_task_that_is_named_twice_is_run_once(monkeypatch, tmp_path):
    tasks = []

    def run(study_, *args, **kwargs):
        tasks.append(sorted(study_.variants))
        return study.Result(True, (), {}, {}, {})

    monkeypatch.setattr(study, 'run', run)
    depth_over_training.run(tmp_path, ['digits', 'digits'])
    assert len(tasks) == 1
