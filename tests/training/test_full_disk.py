"""A disk that is full wherever a run writes: one error that names it, and nothing in its place."""

import errno
import json
import os

import jax
import pytest

from resnet_dyn import errors
from resnet_dyn.training import checkpoints, items, loop, metrics, runs

pytestmark = pytest.mark.usefixtures('shared_programs')

FULL = OSError(errno.ENOSPC, 'No space left on device')


def full(monkeypatch, owner, name, when=lambda *_: True):
    original = getattr(owner, name)

    def call(*args, **kwargs):
        if when(*args):
            raise FULL
        return original(*args, **kwargs)

    monkeypatch.setattr(owner, name, call)


def train(cfg, workdir):
    """On one device, by the programs of `test_loop`."""
    return loop.train(cfg, workdir, lambda line: None, devices=jax.devices()[:1])


def is_of(name):
    return lambda file, _: os.path.basename(file.name) == name


PLACES = {
    'config.json': (json, 'dump'),
    'metrics.jsonl': (metrics, '_write_all', is_of(runs.METRICS)),
    'dynamics.jsonl': (metrics, '_write_all', is_of(runs.DYNAMICS)),
    'checkpoints': (items, 'save'),
}


@pytest.mark.parametrize('place', PLACES)
def test_a_full_disk_ends_a_run_with_one_error_that_says_so(
    tmp_path, tiny, monkeypatch, capfd, place
):
    cfg, workdir = tiny({'seeds': 2, 'log.every': 5}), tmp_path / 'run'
    with monkeypatch.context() as patch:
        full(patch, *PLACES[place])
        full(patch, checkpoints.Writer, 'close')  # and on closing nothing works any more
        with pytest.raises(errors.UserError, match='No space left on device') as raised:
            train(cfg, workdir)
    assert str(workdir) in str(raised.value) and '\n' not in str(raised.value)
    assert 'Traceback' not in capfd.readouterr().err
    assert not (workdir / '.config.json.tmp').exists()
    if place == 'checkpoints':
        assert train(cfg, workdir).finished


def test_what_fails_on_closing_is_an_error_where_there_is_no_other(tmp_path, tiny, monkeypatch):
    full(monkeypatch, checkpoints.Writer, 'close')
    with pytest.raises(OSError, match='No space left on device'):
        train(tiny({'seeds': 2}), tmp_path / 'run')


def test_a_view_on_a_full_disk_does_not_touch_the_run(tmp_path, tiny, monkeypatch, capfd):
    events = metrics.TensorBoard._run

    def run(self):
        with monkeypatch.context() as patch:
            full(patch, metrics, '_framed')
            events(self)

    monkeypatch.setattr(metrics.TensorBoard, '_run', run)
    result = train(tiny({'seeds': 2, 'log.tensorboard': True}), tmp_path / 'run')
    assert result.finished
    assert capfd.readouterr().err.count('end here') == 1
