"""A run whose workdir another process takes over, before each kind of write: it writes no more."""

import shutil

import jax
import pytest

from resnet_dyn import errors, unsaved
from resnet_dyn.training import (
    checkpoints,
    description,
    items,
    loop,
    metrics,
    program,
    runs,
    soundness,
    summary,
)

pytestmark = pytest.mark.usefixtures('shared_programs', 'without_locks')

PROGRAM = program.Program  # the fixture of shared ones puts a function in its place
CHANGES = {
    'seeds': 2,
    'log.every': 4,
    'log.record': 5,
    'log.evaluate': 10,
    'checkpoint.every': 6,
    'checkpoint.keep': 1,
}
MOMENTS = {  # what would be written next: the call after which the workdir is another's
    'lost lines kept': (checkpoints, 'restore_training'),
    'config.json': (summary, 'opening'),
    'a torn line': (description, 'write'),
    'rubbish': (metrics.JsonLines, '_open'),
    'lines cut back': (checkpoints.Writer, '__init__'),
    'lines': (PROGRAM, 'advance'),
    'dynamics': (PROGRAM, 'record'),
    'evaluations': (PROGRAM, 'evaluate'),
    'a checkpoint': (soundness, 'holds'),
    'a damaged one put aside': (items, 'save'),
    'old ones dropped': (soundness, 'fits'),
}
SKIPPED = {'rubbish': 1, 'lines': 1}  # calls that come before: of the other file, to compile


def train(cfg, workdir):
    """On one device, by the programs of `test_loop`."""
    return loop.train(cfg, workdir, lambda line: None, devices=jax.devices()[:1])


@pytest.fixture(scope='module')
def left(tiny, tmp_path_factory):
    """A run that was killed: lines and rubbish past its newest whole checkpoint, of step 6."""
    workdir = tmp_path_factory.mktemp('left') / 'run'
    train(tiny({**CHANGES, 'checkpoint.keep': None}), workdir)
    folder = workdir / 'checkpoints'
    for step in (18, 20):
        shutil.rmtree(folder / str(step))
    (folder / '12' / 'meta' / 'metadata').write_text('')
    (folder / '.tmp-13').mkdir()
    with open(workdir / runs.METRICS, 'a') as file:
        file.write('{"step": 21')
    return workdir


@pytest.fixture
def workdir(left, tmp_path, monkeypatch):
    """A copy of it, in which a save is waited for, so that one thread at a time writes."""
    save = checkpoints.Writer.save

    def saved(self, *args):
        save(self, *args)
        self.wait()

    monkeypatch.setattr(checkpoints.Writer, 'save', saved)
    return shutil.copytree(left, tmp_path / 'run')


def contents(workdir):
    """All files and folders, but for the lock and what a save has begun under its own name."""
    return {
        path: path.read_bytes() if path.is_file() else None
        for path in workdir.rglob('*')
        if not path.name.startswith('.holder') and '.tmp-12-' not in str(path)
    }


def taken_over(workdir):
    """Another process takes the workdir; what is there then."""
    (workdir / '.holder').write_text('{"pid": 1, "host": "other"}')
    return contents(workdir)


@pytest.mark.slow_but('rubbish', 'evaluations', 'a damaged one put aside')
@pytest.mark.parametrize('what', MOMENTS)
def test_who_was_taken_for_gone_writes_nothing_more(tiny, workdir, monkeypatch, what):
    owner, name = MOMENTS[what]
    function, before, calls = getattr(owner, name), [], []
    if what == 'lost lines kept':
        shutil.rmtree(workdir / 'checkpoints')

    def call(*args, **options):
        found = function(*args, **options)
        calls.append(name)
        if len(calls) == 1 + SKIPPED.get(what, 0):
            before.append(taken_over(workdir))
        return found

    monkeypatch.setattr(owner, name, call)
    with pytest.raises(errors.RunError, match=r'took over .* writes nothing more'):
        train(tiny(CHANGES), workdir)
    assert [contents(workdir)] == before


def test_nor_does_it_save_for_a_signal(tiny, workdir, monkeypatch):
    before = []

    def evaluate(self, networks):
        before.append(taken_over(workdir))
        with pytest.raises(errors.RunError, match='took over'), unsaved.saved():
            pass
        raise KeyboardInterrupt

    monkeypatch.setattr(PROGRAM, 'evaluate', evaluate)
    with pytest.raises(KeyboardInterrupt):
        train(tiny(CHANGES), workdir)
    assert [contents(workdir)] == before


@pytest.mark.slow
def test_one_that_is_left_alone_goes_on_through_all_of_these(tiny, workdir, monkeypatch):
    missing = set(MOMENTS)
    for what, (owner, name) in MOMENTS.items():

        def call(*args, what=what, function=getattr(owner, name), **options):
            missing.discard(what)
            return function(*args, **options)

        monkeypatch.setattr(owner, name, call)
    assert train(tiny(CHANGES), workdir).finished
    assert not missing and checkpoints.steps(workdir) == [0, 20]
    assert (workdir / 'checkpoints' / 'damaged-12-0').is_dir()
