"""launch.report: what it writes, measures, says and refuses."""

import importlib.util
import shutil

import pytest

from launch import main
from resnet_dyn.reports.html import page as html_page

pytestmark = pytest.mark.usefixtures('sketched')
FEW = '--examples=20'


def measured(folder):
    """(measure, step) of all records of a run."""
    stems = (path.stem.split('-') for path in (folder / 'records').glob('*.npz'))
    return sorted({(name, int(step)) for name, step, _ in stems})


@pytest.fixture
def two(tiny_run, tmp_path):
    """Two runs without records."""
    names = ('first', 'second')
    leave = shutil.ignore_patterns('records', 'pictures', 'tables')
    return [shutil.copytree(tiny_run, tmp_path / name, ignore=leave) for name in names]


def test_runs_without_records_are_measured_and_reported_and_a_bad_one_is_said(
    called, two, tmp_path, monkeypatch
):
    first, second = two
    shutil.rmtree(second / 'checkpoints')
    (second / 'metrics.jsonl').unlink()
    (second / 'dynamics.jsonl').unlink()
    out = tmp_path / 'out'
    command = ('report', str(first), f'--workdir={out}', FEW, str(second))  # words between flags
    status, said, err = called(*command)
    assert (status, err) == (3, '')
    steps = (0, 2, 4, 6)
    assert measured(first) == [(w, s) for w in ('depth', 'gammas', 'singles') for s in steps]
    assert 'first: 4 checkpoints (steps 0 to 6), 2 networks of 3 blocks' in said
    assert 'second: ' in said.partition('left out:')[2]
    page = (out / 'report.html').read_text()
    assert 'launch.train' in page and 'no checkpoint to analyse' in page
    assert (out / 'report.csv').read_text().startswith('run,measure,number,step')
    monkeypatch.setattr(html_page, 'render', lambda *given: '')  # what is measured is looked at
    _, again, _ = called(*command, '--what=depth')
    assert 'there already: depth' in again and 'measured depth' not in again
    before = measured(first)
    called(*command, '--what=none')
    assert measured(first) == before


def test_what_cannot_be_reported_is_refused_before_anything_is_done(called, two, tmp_path):
    out = f'--workdir={tmp_path / "out"}'
    for words, said in (
        ((), 'no run is named'),
        ((str(tmp_path / 'nowhere'),), 'there is no folder'),
        ((str(two[0]), '--what=dept'), "did you mean 'depth'?"),
        ((str(two[0]), '--whatt=depth'), 'whatt'),
    ):
        status, _, err = called('report', out, *words)
        assert status == 1 and said in err and err.count('\n') == 1
    assert not (tmp_path / 'out').exists() and measured(two[0]) == []


def test_where_no_run_is_one_that_is_said(called, tmp_path):
    status, _, err = called('report', f'--workdir={tmp_path / "out"}', str(tmp_path))
    assert status == 1 and 'there is no run to report' in err and 'config.json' in err


def test_without_the_extra_its_name_is_said(called, two, tmp_path, monkeypatch):
    there = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, 'find_spec', lambda name: None if name == 'altair' else there(name)
    )
    status, _, err = called('report', f'--workdir={tmp_path / "out"}', str(two[0]))
    assert status == 1 and "pip install 'resnet_dyn[report]'" in err


def test_a_signal_stops_the_measuring_with_what_is_there(loaded, two):
    with loaded('report') as module:
        module.define()
        module.flags.FLAGS([''])
        from launch import progress

        with pytest.raises(progress.Stopped):
            module._measure('first', two[0], ('gammas',), lambda: True)
    assert main.STOPPED == 42
