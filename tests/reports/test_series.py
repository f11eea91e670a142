"""A run read back as series: the records' own numbers, by step and network."""

import json

import numpy as np
import pytest

from resnet_dyn import errors
from resnet_dyn.analysis import effort, run_subjects, trajectories
from resnet_dyn.reports import measures, series

SOME = ('gammas', 'depth')


def analysed(workdir, steps, examples):
    run = run_subjects.Run(workdir, effort.Settings(examples=examples))
    requests = {
        name: trajectories.Request(measures.MEASURES[name], measures.MEASURES[name].options())
        for name in SOME
    }
    return list(trajectories.follow(run, requests, effort.Effort(), steps, workdir))


def test_every_column_stands_at_every_step_that_has_a_record(copied_run):
    visits = analysed(copied_run, [0, 6], 20)
    run = series.read(copied_run)
    for name in SOME:
        for column in measures.MEASURES[name].columns:
            found = run.series[name, column.title]
            assert found.steps_T.tolist() == [0, 6]
            for visit in visits:
                np.testing.assert_array_equal(
                    found.at(visit.step), column.value(visit.found[name].record)
                )
    assert (run.name, run.seeds) == (copied_run.name, (0, 1))
    assert [step for step, *_ in run.records['depth']] == [0, 6]
    with pytest.raises(KeyError, match='no step 4'):
        run.series['depth', 'E[r] coherent'].at(4)


def test_the_dearest_of_several_records_is_taken(copied_run):
    analysed(copied_run, [0], 10)
    (dear,) = analysed(copied_run, [0], 20)
    (step, record, origin), *_ = series.read(copied_run).records['depth']
    assert (step, origin['settings']['examples']) == (0, 20)
    np.testing.assert_array_equal(record.gains_SL, dear.found['depth'].record.gains_SL)


def test_what_training_wrote_is_a_measure_of_its_own(copied_run):
    run = series.read(copied_run)
    lines = [json.loads(line) for line in (copied_run / 'dynamics.jsonl').read_text().splitlines()]
    found = run.series['training', 'mean |gamma|']
    assert found.steps_T.tolist() == [0, 2, 4, 6]
    np.testing.assert_allclose(found.at(4), np.mean(lines[2]['gamma_mean'], -1), rtol=1e-15)
    np.testing.assert_array_equal(
        run.series['training', 'weight norm'].at(6), lines[3]['weight_norm']
    )
    b2_SL = np.array(lines[0]['branch_moment']) / np.array(lines[0]['skip_moment'])
    np.testing.assert_allclose(
        run.series['training', 'E[r] incoherent, on the probe'].at(0),
        1 + (b2_SL / (1 + b2_SL)).sum(-1),  # a mean is a sum of Bernoulli probabilities
        rtol=1e-5,
    )
    assert run.series['training', 'test accuracy'].values_ST.shape[0] == 2


def test_a_network_that_diverged_is_nan_and_the_other_is_not(copied_run):
    file = copied_run / 'dynamics.jsonl'
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    lines[-1]['weight_norm'][1] = None
    lines[-1]['branch_moment'][1] = [None] * 3
    file.write_text(''.join(f'{json.dumps(line)}\n' for line in lines))
    found = series.read(copied_run).series
    for title in ('weight norm', 'E[r] incoherent, on the probe'):
        assert np.isnan(found['training', title].at(6)).tolist() == [False, True]


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(errors.RunError, match=r'no config\.json'):
        series.read(tmp_path)
