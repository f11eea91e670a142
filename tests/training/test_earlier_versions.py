"""A workdir of an earlier version of the config is opened, goes on, and is analysed."""

import json

import pytest

from resnet_dyn.analysis import effort, run_subjects
from resnet_dyn.training import checkpoints, items, loop, manifest, runs

ADDED = ('gammas', 'gamma_rate', 'survival', 'label_noise', 'early', 'heads', 'positions', 'clip')


@pytest.fixture
def earlier_run(copied_run):
    """The tiny run as it was before gammas could be frozen and decayed in part."""
    _rewrite(copied_run / 'config.json')
    for step in checkpoints.folders(copied_run):
        folder = copied_run / 'checkpoints' / str(step)
        _rewrite(folder / items.META_FILE)
        (folder / manifest.NAME).unlink()
        manifest.write(folder)
    return copied_run


def _rewrite(path):
    path.write_text(json.dumps(_before(json.loads(path.read_text()))))


def _before(values):
    """The tree of JSON without what was added, and with the decay of gammas yes or no."""
    if not isinstance(values, dict):
        return [_before(item) for item in values] if isinstance(values, list) else values
    kept = {k: _before(v) for k, v in values.items() if k.rpartition('.')[2] not in ADDED}
    return kept | {k: False for k in kept if k.rpartition('.')[2] == 'decay_gammas'}


def test_a_run_of_an_earlier_version_is_read_analysed_and_goes_on(earlier_run, capfd):
    known = runs.read(earlier_run)
    assert known.config.train.decay_gammas == 'none' and known.config.train.gammas == 'trained'
    assert all(checkpoints.sound(earlier_run, step, known.identity) for step in (0, 2, 4, 6))
    assert runs.look(earlier_run).finished
    subject = run_subjects.Run(earlier_run, effort.Settings(examples=30)).subject(6)
    assert len(subject.stacks) == 2
    result = loop.train(None, earlier_run, lambda line: None, changes={'train.steps': 8})
    assert result.finished and checkpoints.steps(earlier_run) == [0, 2, 4, 6, 8]
    assert 'lost' not in capfd.readouterr().err


def test_a_checkpoint_of_another_decay_is_another_runs_in_any_version(earlier_run):
    path = earlier_run / 'config.json'
    everything = json.loads(path.read_text())
    everything['config']['train']['decay_gammas'] = True
    path.write_text(json.dumps(everything))
    expected = runs.read(earlier_run).identity
    assert expected['train.decay_gammas'] == 'all'
    assert not checkpoints.sound(earlier_run, 6, expected)
