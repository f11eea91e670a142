"""A study: configs by what differs, one row a run; trainings side by side hear a stop, and fail.

That a study is stopped, killed and goes on is tested by Figure 1, which is one.
"""

import contextlib
import csv
import subprocess
import sys
import threading

import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver

from experiments import side_by_side, study
from launch import flags as config_flags
from resnet_dyn import config, errors
from resnet_dyn.training import loop, metrics

GAMMAS = study.Study(
    base={'seeds': 2, 'train.steps': 8, 'train.batch_size': 16, 'data.train_size': 64},
    variants={
        'first': {},
        'bare': {'model.norm': 'none', 'train.learning_rate': 1e-3},
        'deep': {'model.depth': 12},
    },
)


def test_the_configs_are_the_base_with_what_each_run_changes():
    made = study.configs(GAMMAS)
    assert list(made) == ['first', 'bare', 'deep']
    assert all(one.seeds == 2 and one.train.steps == 8 for one in made.values())
    assert made['deep'] == config.parse({**GAMMAS.base, 'model.depth': 12})


def test_the_fields_that_differ_are_found_filled_in_values_too():
    made = study.configs(GAMMAS)
    assert study.differing(made) == ['model.norm', 'model.depth', 'train.learning_rate']
    families = {'a': {}, 'b': {'model.family': 'cifar_resnet', 'data.name': 'digits'}}
    differ = study.differing(study.configs(study.Study({}, families)))
    assert {'model.family', 'model.block', 'data.name', 'train.weight_decay'} <= set(differ)


def test_a_run_that_cannot_be_is_refused_by_name():
    wrong = study.Study({}, {'good': {}, 'wrong': {'model.norm': 'layer'}})
    with pytest.raises(errors.ConfigError, match=r'^wrong: .*layer'):
        study.configs(wrong)


@pytest.mark.parametrize('variants', [{'a': {}, 'b': {'seeds': 1}}, {'a/b': {}}, {'..': {}}])
def test_runs_have_names_and_configs_of_their_own(variants):
    with pytest.raises(ValueError, match=r'one config|no name of a run'):
        study.configs(study.Study({'seeds': 1}, variants))


@pytest.fixture
def trained(monkeypatch):
    """Trainings that are done at once: a line of metrics in the workdir; the names trained."""
    names = []

    def train(one, workdir, stop, report, devices):
        names.append(workdir.name)
        workdir.mkdir(parents=True, exist_ok=True)
        accuracy = [0.5, None] if one.model.norm == 'none' else [0.5, 0.7]
        with contextlib.closing(metrics.JsonLines(workdir / 'metrics.jsonl')) as lines:
            lines.write(one.train.steps - 1, loss=[9.0, 9.0], of_old=[9.0, 9.0])
            lines.write(one.train.steps, loss=[1.0, 2.0], images_per_second=9.0)
            lines.write(one.train.steps, test_accuracy=accuracy)
        report('trained')
        if one.model.depth > 20:
            raise errors.NotFiniteError('all of its networks diverged')
        diverged = {1: 5} if None in accuracy else {}
        return loop.Result(one.train.steps, True, accuracy, diverged)

    monkeypatch.setattr(loop, 'train', train)
    return names


def test_a_row_a_run_with_what_differs_the_last_metrics_and_what_was_measured(trained, tmp_path):
    found = study.run(GAMMAS, tmp_path, lambda workdir: {'length': len(workdir.name)})
    assert found.finished and trained == ['first', 'bare', 'deep']
    assert found.workdirs['deep'] == tmp_path / 'runs' / 'deep'
    row = found.rows[1]
    differ = ['model.norm', 'model.depth', 'train.learning_rate']
    assert list(row) == ['run', *differ, 'step', 'loss', 'test_accuracy', 'length', 'left out']
    np.testing.assert_array_equal(row.pop('loss'), [1.0, 2.0])
    np.testing.assert_array_equal(row.pop('test_accuracy'), [0.5, np.nan])
    assert list(row.values()) == ['bare', 'none', 10, 1e-3, 8, 4, 'diverged: network 1']


def test_the_table_has_means_over_the_networks_that_are_finite(trained, tmp_path):
    rows = study.run(GAMMAS, tmp_path).rows
    heading, *lines = study.table(rows).splitlines()
    assert heading.split() == [*rows[0], 'left', 'out']
    assert lines[0].split()[:5] == ['first', 'batch', '10', '0.05', '8']
    assert lines[0].endswith('  1.5 ± 0.71  0.6 ± 0.14')
    assert lines[1].endswith('0.5 (n = 1)    diverged: network 1')
    with open(study.write_csv(tmp_path / 'table.csv', rows), newline='') as file:
        first, bare, _ = csv.DictReader(file)
    assert (first['run'], first['model.depth'], bare['model.norm']) == ('first', '10', 'none')
    assert float(first['test_accuracy_std']) == pytest.approx(0.2 / 2**0.5)
    assert (bare['test_accuracy'], bare['test_accuracy_n']) == ('0.5', '1')


def test_a_study_is_left_between_its_runs_and_where_a_measure_was_stopped(trained, tmp_path):
    found = study.run(GAMMAS, tmp_path / 'left', stop=lambda: len(trained) == 2)
    assert (found.finished, trained, len(found.rows)) == (False, ['first', 'bare'], 2)
    measure = {'first': {'a': 1}, 'bare': None}
    found = study.run(GAMMAS, tmp_path / 'stopped', lambda workdir: measure[workdir.name])
    assert (found.finished, len(found.rows)) == (False, 1)


def test_a_run_that_diverged_is_a_row_with_the_reason_and_the_others_go_on(trained, tmp_path):
    wild = GAMMAS.variants | {'wild': {'model.depth': 21}, 'last': {'seed': 1}}
    found = study.run(GAMMAS._replace(variants=wild), tmp_path)
    assert found.finished and trained[-2:] == ['wild', 'last']
    assert found.failed == {'wild': 'all of its networks diverged'}
    assert found.diverged == {'bare': 'diverged: network 1'}
    assert [row.get('left out') for row in found.rows] == [
        None,
        'diverged: network 1',
        None,
        'all of its networks diverged',
        None,
    ]
    assert 'test_accuracy' not in found.rows[3] and 'test_accuracy' in found.rows[4]
    assert study.table(found.rows).count('all of its networks diverged') == 1
    written = study.write_csv(tmp_path / 'table.csv', found.rows).read_text()
    assert written.count('all of its networks diverged') == 1


def test_a_table_has_numbers_as_they_are_and_what_was_left_out_last():
    rows = [
        {'run': 'a', 'rate': 1e20, 'left out': 'all'},
        {'run': 'b', 'rate': 3e-4, 'dir': None, 'loss': np.array([1.0, 3.0])},
    ]
    heading, a, b = study.table(rows).splitlines()
    assert heading.split() == ['run', 'rate', 'dir', 'loss', 'left', 'out']
    assert a.split() == ['a', '1e+20', 'all']
    assert b.split() == ['b', '0.0003', '2', '±', '1.4']


def test_a_run_that_cannot_go_on_is_refused_before_any_is_trained(trained, tmp_path):
    (tmp_path / 'runs').mkdir()
    (tmp_path / 'runs' / 'deep').write_text('a file')
    with pytest.raises(errors.RunError, match='deep is a file'):
        study.run(GAMMAS, tmp_path)
    assert not trained


def test_threads_train_and_measure_so_many_runs_at_a_time_and_rows_keep_their_order(
    trained, tmp_path
):
    met = threading.Barrier(2, timeout=10)

    def measure(workdir):
        if workdir.name != 'deep':
            met.wait()  # for the other of the two, which is here at the same time
        return {'length': len(workdir.name)}

    lines = []
    found = study.run(GAMMAS, tmp_path, measure, report=lines.append, threads=2)
    assert sorted(lines) == ['bare: trained', 'deep: trained', 'first: trained']
    assert found.finished and sorted(trained) == ['bare', 'deep', 'first']
    assert [(row['run'], row['length']) for row in found.rows] == [
        ('first', 5),
        ('bare', 4),
        ('deep', 4),
    ]


def test_what_one_thread_raises_is_raised_and_no_other_run_is_begun(trained, tmp_path):
    def measure(workdir):
        raise errors.RecordError('no space')

    with pytest.raises(errors.RecordError, match='no space'):
        study.run(GAMMAS, tmp_path, measure, threads=2)
    assert 'deep' not in trained


@pytest.mark.parametrize('name', ['first', 'bare', 'deep'])
def test_the_flags_of_a_config_make_that_config(name):
    one = study.configs(GAMMAS)[name]
    with flagsaver.flagsaver():
        flags.FLAGS(['launch', *side_by_side.flags(one)])
        assert config_flags.config() == one


@pytest.fixture
def processes(monkeypatch):
    """processes(code, bare=...): each training is a Python process of the code of its name."""

    def processes(code, **codes):
        started = []

        def start(one, workdir):
            assert sum(process.poll() is None for process in started) < 2
            workdir.parent.mkdir(parents=True, exist_ok=True)
            with open(workdir.with_name(f'{workdir.name}.log'), 'a') as log:
                command = [sys.executable, '-Sc', codes.get(workdir.name, code)]
                started.append(subprocess.Popen(command, stdout=log))
            return started[-1]

        monkeypatch.setattr(side_by_side, '_start', start)
        monkeypatch.setattr(side_by_side, 'PAUSE', 0.02)
        return started

    return processes


WAITS = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (print('saved', flush=True), sys.exit(42)))
print('waits', flush=True)
time.sleep(60)
"""


def _side_by_side(folder, stop=lambda: False):
    lines = []
    study.run(GAMMAS, folder, stop=stop, report=lines.append, jobs=2)
    return lines


def _log(folder, name):
    path = folder / 'runs' / f'{name}.log'
    return path.read_text() if path.exists() else ''


def test_trainings_side_by_side_are_so_many_at_a_time(trained, processes, tmp_path):
    started = processes('print("trained")')
    lines = _side_by_side(tmp_path)
    assert [process.returncode for process in started] == [0, 0, 0]
    assert {'first: trained', 'bare: trained', 'deep: trained'} <= set(lines)
    assert trained == ['first', 'bare', 'deep']  # for their rows: nothing is left to do in each


def test_trainings_side_by_side_save_themselves_on_a_stop(trained, processes, tmp_path):
    started = processes(WAITS)
    _side_by_side(tmp_path, lambda: _log(tmp_path, 'first') == _log(tmp_path, 'bare') == 'waits\n')
    assert [process.returncode for process in started] == [42, 42]
    assert not trained


def test_where_one_of_them_fails_the_others_go_on_and_its_last_line_is_said(
    trained, processes, tmp_path
):
    started = processes('print("trained")', bare='import sys; print("a bug"); sys.exit(1)')
    lines = _side_by_side(tmp_path)
    assert sorted(process.returncode for process in started) == [0, 0, 1]
    assert {'first: trained', 'bare: a bug', 'deep: trained'} <= set(lines)
    assert trained == ['first', 'bare', 'deep']  # in this process bare says why


def test_where_one_of_them_was_stopped_the_others_are_too(trained, processes, tmp_path):
    stops = f"""
import pathlib, sys, time
while 'waits' not in pathlib.Path({str(tmp_path / 'runs' / 'first.log')!r}).read_text():
    time.sleep(0.02)
sys.exit(42)
"""
    started = processes(WAITS, bare=stops)
    _side_by_side(tmp_path)
    assert [process.returncode for process in started] == [42, 42]
    assert not trained
