"""An analysis dealt over processes makes the records of one process, whoever has what."""

import shutil

import jax
import numpy as np
import pytest

from resnet_dyn import processes
from resnet_dyn.analysis import archive, dealing, effort, run_subjects, trajectories
from resnet_dyn.reports import measures

NAMES = ('gammas', 'singles')


def analyse(workdir, network=None):
    """The visits of this process, as launch.analyze makes them."""
    networks = 2 if network is None else 1
    deal = dealing.over_processes(networks)
    settings = effort.Settings(examples=20)
    run = run_subjects.Run(workdir, settings, network, rows=deal.rows)
    requests = {}
    for name in NAMES:
        measure = measures.MEASURES[name]
        requests[name] = trajectories.Request(measure, measure.options())
    followed = trajectories.follow(
        run, requests, effort.Effort(how='map'), None, workdir, network=network, deal=deal
    )
    return list(followed)


def numbers(workdir, network=None):
    found = {}
    for name in NAMES:
        kind = measures.MEASURES[name].record
        for one in archive.read(workdir, name, kind, network):
            step = one.settings['checkpoint']
            found[name, step] = one.record, one.origin['names'], one.origin['left_out']
    return found


@pytest.mark.slow_but('2-None')
@pytest.mark.parametrize(('count', 'network'), [(2, None), (3, None), (3, 1)])
def test_records_are_those_of_one_process(together, copied_run, tmp_path, count, network):
    alone = shutil.copytree(copied_run, tmp_path / 'alone')
    visits = analyse(alone, network)
    lead, *others = together(count, lambda: analyse(copied_run, network))
    assert [visit.step for visit in lead] == [visit.step for visit in visits] == [0, 2, 4, 6]
    assert all(visit.made == NAMES and tuple(visit.found) == NAMES for visit in lead)
    for other in others:
        assert [visit.step for visit in other] == [0, 2, 4, 6]
    ours, theirs = numbers(copied_run, network), numbers(alone, network)
    assert ours.keys() == theirs.keys() and len(ours) == 8
    for key, (record, names, left_out) in ours.items():
        assert (names, left_out) == theirs[key][1:]
        for field, value in record._asdict().items():
            np.testing.assert_array_equal(value, getattr(theirs[key][0], field), field)
    again = together(count, lambda: analyse(copied_run, network))[0]
    assert all(visit.kept == NAMES and not visit.made for visit in again)


def test_the_lead_alone_writes(together, copied_run, monkeypatch):
    writers = []
    save = trajectories.visits_lib.records.save
    monkeypatch.setattr(
        trajectories.visits_lib.records,
        'save',
        lambda *args: writers.append(processes.index()) or save(*args),
    )
    together(2, lambda: analyse(copied_run))
    assert writers == [0] * 8


@pytest.mark.parametrize('file', ['manifest.json', 'params'])
def test_a_damaged_checkpoint_is_passed_over_by_all(together, copied_run, file):
    harmed = copied_run / 'checkpoints' / '4' / file
    files = [path for path in harmed.rglob('*') if path.is_file()] or [harmed]
    for path in files:
        path.write_bytes(bytes(byte ^ 1 for byte in path.read_bytes()))
    for visits in together(2, lambda: analyse(copied_run)):
        assert [visit.step for visit in visits if visit.damage] == [4]
    assert len(numbers(copied_run)) == 6


def test_a_network_that_is_not_finite_is_a_row_of_nan_whoever_has_it(
    together, copied_run, monkeypatch
):
    not_finite = trajectories.subjects.not_finite
    diverged = run_subjects.Run(copied_run, effort.Settings(examples=20)).subject(6).stacks[1]

    def of(stack):
        pairs = zip(jax.tree.leaves(stack), jax.tree.leaves(diverged), strict=True)
        same = all(np.array_equal(ours, theirs) for ours, theirs in pairs)
        return 'it diverged' if same else not_finite(stack)

    monkeypatch.setattr(trajectories.subjects, 'not_finite', of)
    last = together(2, lambda: analyse(copied_run))[0][-1]
    assert last.left_out == {'network 1 (seed 1)': 'it diverged'}
    loss_SL = last.found['singles'].record.loss_SL
    assert np.isfinite(loss_SL[0]).all() and np.isnan(loss_SL[1]).all()
