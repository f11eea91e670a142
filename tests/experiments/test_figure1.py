"""Figure 1 at toy size, from nothing to the files; and its theory against published values."""

import csv
import math
from typing import Any

import numpy as np
import pytest
import tiny

from experiments import figure1, figures, study, words
from resnet_dyn import errors, records
from resnet_dyn.plots import figure1 as picture

pytestmark = pytest.mark.usefixtures('shared_programs')

LEFT_OUT = {'checkpoint.every', 'log.record', 'log.tensorboard'}
TINY: dict[str, Any] = {path: v for path, v in tiny.VALUES.items() if path not in LEFT_OUT}
TINY |= {'train.steps': 8, 'checkpoint.every': 4}


class Cut(BaseException):
    """What ends a process at once, as far as the code that it meets can tell."""


class Interruption:
    """`stop` and `report` of a figure that is to be stopped, or cut, at a line of a training."""

    def __init__(self, training: int, line: str, cut: bool = False):
        self._where, self._cut = (training, line), cut
        self.lines, self._trainings, self._reached = [], 0, False

    def report(self, line: str) -> None:
        self.lines.append(line)
        self._trainings += ' networks (' in line
        self._reached |= self._trainings == self._where[0] and line.startswith(self._where[1])
        if self._reached and self._cut:
            raise Cut

    def stop(self) -> bool:
        return self._reached

    def run(self, workdir) -> figures.Result:
        return figure1.run(workdir, True, TINY, self.stop, self.report)


@pytest.fixture(scope='module')
def made(tmp_path_factory, sketched):
    """The folder and the result of a fast figure of tiny networks."""
    workdir = tmp_path_factory.mktemp('figure1')
    return workdir, figure1.run(workdir, fast=True, changes=TINY, report=lambda line: None)


def test_the_files_are_there_and_the_record_says_whence_it_is(made):
    workdir, result = made
    assert result.finished
    assert {path.name for path in result.files} == {
        f'figure1_fast.{suffix}' for suffix in ('npz', 'csv', 'png', 'pdf')
    }
    assert all(path.stat().st_size > 0 and path.parent == workdir for path in result.files)
    record, origin = records.load(workdir / 'figure1_fast.npz', figure1.Figure1)
    assert origin['config']['gammas']['model']['depth'] == 4
    assert origin['config']['norms-edge']['model']['norm'] == 'none'
    assert record.gammas_STP.shape == record.spreads_STP.shape == (2, 9, 4)
    assert record.weight_norms_NST.shape == (2, 2, 9)
    assert record.fast


def test_every_gamma_starts_at_one_and_the_depth_at_that_of_its_gains(made):
    record, _ = records.load(made[0] / 'figure1_fast.npz', figure1.Figure1)
    np.testing.assert_allclose(record.gammas_STP[:, 0], 1)
    assert ((record.mean_depths_ST > 1) & (record.mean_depths_ST < 4)).all()
    np.testing.assert_allclose(record.gamma_end_S, record.gammas_STP[:, -1, 1:].mean(-1))


def test_theory_agrees_with_published_values(made):
    record, _ = records.load(made[0] / 'figure1_fast.npz', figure1.Figure1)
    assert (record.eps_NR.argmax(1) + 1).tolist() == [10, 34, 67]
    np.testing.assert_allclose(record.eps_NR.max(1)[:2], [0.4391144721, 0.3459653506], rtol=1e-5)
    np.testing.assert_allclose((record.eps_NR**2).sum(1), 1, rtol=1e-5)
    thetas = np.interp(record.betas_N, record.theta_betas_N, record.thetas_N)
    np.testing.assert_allclose(thetas, [0.3061098415, 0.8103171152, 1.126447694], atol=2e-4)


def test_the_exponent_sums_over_lengths_from_two(made):
    record, _ = records.load(made[0] / 'figure1_fast.npz', figure1.Figure1)
    beta = float(record.theta_betas_N[0])  # 0.01, where r = 1 would change everything
    lengths = range(2, 101)
    squares = np.array([(math.comb(99, r - 1) * beta**r) ** 2 for r in lengths])
    r_R = np.array(lengths)
    x = (squares * r_R * (r_R - 1)).sum() / (squares * r_R).sum()
    np.testing.assert_allclose(record.thetas_N[0], np.log(x) / 2 - (x - 1) / (x + 1), rtol=1e-6)


def test_the_numbers_behind_the_panels_are_in_a_table(made):
    with open(made[0] / 'figure1_fast.csv', newline='') as file:
        lines = list(csv.DictReader(file))
    assert {line['panel'] for line in lines} == set('abcdef')
    first = next(line for line in lines if line['curve'] == '|gamma| of layer 2')
    assert (first['x'], float(first['mean']), first['n']) == ('0', 1.0, '2')
    assert {line['curve'] for line in lines if line['panel'] == 'e'} == {
        'weight norm at rate 0.0003',
        'weight norm at rate 0.001',
    }


def test_findings_are_said_for_every_panel(made):
    text = '\n'.join(made[1].findings)
    for panel in ('(a)', '(b)', '(c)', '(d)', '(e)', '(f)'):
        assert panel in text
    assert 'of 2 seeds' in text


def test_made_again_it_trains_nothing_and_finds_the_same(made):
    workdir, result = made
    before, _ = records.load(workdir / 'figure1_fast.npz')
    table, lines = (workdir / 'figure1_fast.csv').read_bytes(), []
    assert figure1.run(workdir, fast=True, changes=TINY, report=lines.append) == result
    assert sum('finished: nothing to do' in line for line in lines) == 3
    _assert_same(records.load(workdir / 'figure1_fast.npz')[0], before)
    assert (workdir / 'figure1_fast.csv').read_bytes() == table


@pytest.mark.slow
def test_stopped_in_the_second_training_and_cut_in_the_third_it_finds_the_same(made, tmp_path):
    stopped = Interruption(2, 'step 3/8')
    assert stopped.run(tmp_path) == figures.Result(False)
    assert 'stopped at step 3 of 8' in stopped.lines[-1]
    assert not list(tmp_path.glob('figure1*'))

    cut = Interruption(2, 'step 6/8', cut=True)  # of the two that are not finished
    with pytest.raises(Cut):
        cut.run(tmp_path)
    assert any('restored at step 3' in line for line in cut.lines)
    assert not list(tmp_path.glob('figure1*'))

    last = Interruption(0, 'never')
    result = last.run(tmp_path)
    assert result.findings == made[1].findings
    assert sum('finished: nothing to do' in line for line in last.lines) == 2
    before, _ = records.load(made[0] / 'figure1_fast.npz')
    _assert_same(records.load(tmp_path / 'figure1_fast.npz')[0], before)


def _assert_same(record, other):
    for name, value in other._asdict().items():
        np.testing.assert_array_equal(getattr(record, name), value, err_msg=name)


def test_a_figure_that_is_to_stop_trains_nothing(tmp_path):
    result = figure1.run(tmp_path, True, TINY, stop=lambda: True, report=lambda line: None)
    assert not result.finished
    assert not list(tmp_path.glob('figure1*'))


def test_a_training_that_diverged_leaves_no_figure_and_one_network_is_named(
    made, tmp_path, monkeypatch
):
    planned = figure1.trainings(True, TINY)
    done = study.run(planned, made[0], report=lambda line: None)
    monkeypatch.setattr(study, 'run', lambda *_, **__: done._replace(failed={'a': 'all of them'}))
    with pytest.raises(errors.NotFiniteError, match='all of them'):
        figure1.run(tmp_path, True, TINY, report=lambda line: None)
    assert not list(tmp_path.glob('figure1*'))
    some = done._replace(diverged={'norms-edge_fast': 'diverged: network 1'})
    monkeypatch.setattr(study, 'run', lambda *_, **__: some)
    result = figure1.run(tmp_path, True, TINY, report=lambda line: None)
    assert result.diverged == ('norms-edge_fast: diverged: network 1',)


def test_a_network_that_diverged_is_left_out_of_the_means(made):
    record, _ = records.load(made[0] / 'figure1_fast.npz', figure1.Figure1)
    branch_STL = np.ones((2, 9, 3))
    branch_STL[1, 4:] = np.nan
    mean_ST = figure1._mean_depths(branch_STL, np.ones((2, 9, 3)))
    np.testing.assert_allclose(mean_ST[0], 2.5)  # C(3, r - 1): symmetric about 2.5
    np.testing.assert_array_equal(np.isnan(mean_ST[1]), [False] * 4 + [True] * 5)
    norms_NST = record.weight_norms_NST.copy()
    norms_NST[0, 1, -1] = np.nan
    series = figure1._series(record._replace(weight_norms_NST=norms_NST))
    last = next(values for panel, _, x, values in series if panel == 'e' and x == 8)
    assert words.plus_minus(last) == f'{words.plus_minus(norms_NST[0, 0, -1:])} (n = 1)'


def test_fast_and_full_do_not_meet(made):
    full, fast = (study.configs(figure1.trainings(fast)) for fast in (False, True))
    assert {one.seeds for one in full.values()} == {10}
    assert {one.seeds for one in fast.values()} == {3}
    folders = {path.name for path in (made[0] / 'runs').iterdir()}
    assert folders == set(fast) == {'gammas_fast', 'norms-stable_fast', 'norms-edge_fast'}
    assert set(full) == {'gammas', 'norms-stable', 'norms-edge'}


def test_the_trainings_differ_in_norm_and_rate_alone():
    made = study.configs(figure1.trainings())
    assert study.differing(made) == ['model.norm', 'train.learning_rate']
    gammas, stable, edge = made.values()
    assert (gammas.model.norm, stable.model.norm, edge.model.norm) == ('batch', 'none', 'none')
    assert (stable.train.learning_rate, edge.train.learning_rate) == (3e-4, 1e-3)


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ({'model.norm': 'none'}, 'norm=none'),
        ({'model.block': 'plain'}, 'block=plain'),
        ({'data.name': 'digits'}, "paper's task"),
    ],
)
def test_trainings_that_make_no_figure_are_refused(changes, words):
    with pytest.raises(errors.ConfigError, match=words):
        figure1.trainings(changes=changes)


def test_changes_of_gammas_are_made_where_there_are_gammas():
    changes = {'model.gamma': 0.5, 'train.gamma_rate': 0.1}
    changes |= {'train.decay_gammas': 'all', 'train.weight_decay': 1e-4}
    made = study.configs(figure1.trainings(changes=changes))
    assert {name: one.model.gamma for name, one in made.items()} == {
        'gammas': 0.5,
        'norms-stable': 1.0,
        'norms-edge': 1.0,
    }
    assert all(one.train.weight_decay == 1e-4 for one in made.values())


def test_the_setting_of_the_picture_names_the_optimizer_that_trains():
    (gammas, *_) = study.configs(figure1.trainings(changes={'train.optimizer': 'adamw'})).values()
    assert 'AdamW with momenta 0.9 and 0.99, rate' in figure1._words(gammas)
    (gammas, *_) = study.configs(figure1.trainings()).values()
    assert 'SGD with momentum 0.9, rate' in figure1._words(gammas)


def test_one_seed_has_no_deviation_and_theory_has_none_to_speak_of(made):
    record, _ = records.load(made[0] / 'figure1_fast.npz', figure1.Figure1)
    one = record._replace(
        weight_norms_NST=record.weight_norms_NST[:, :1],
        **{name: values[:1] for name, values in record._asdict().items() if '_S' in name},
    )
    finding = picture.captions(one)['e'].finding
    assert '±' not in finding and 'of 1 seeds' in finding
    assert '±' in picture.captions(record)['e'].finding
    stds = {(line[0], line[4]) for line in figure1._table(one)}
    assert ('e', 'nan') in stds and ('e', '0') not in stds and ('a', '0') in stds
