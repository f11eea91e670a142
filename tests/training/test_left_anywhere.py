"""A run left at any moment, as a launcher leaves it for a signal: the same bits, each line once."""

import contextlib
import itertools
import shutil

import ends
import jax
import pytest

from resnet_dyn import unsaved
from resnet_dyn.training import checkpoints, loop, metrics, program

pytestmark = pytest.mark.usefixtures('shared_programs')

CHANGES = {
    'train.steps': 7,
    'log.every': 2,
    'log.record': 3,
    'log.evaluate': 4,
    'checkpoint.every': 5,
}


def train(cfg, *args):
    """On one device, by the programs of `test_loop`."""
    return loop.train(cfg, *args, devices=jax.devices()[:1])


PROGRAM = program.Program  # the fixture of shared ones puts a function in its place


class Left(BaseException):
    """The end of a process from within, by a thread that hears for a deaf one."""


class Signal:
    """Comes at a moment: from then on `stop()` is true, and who hears for the run leaves it."""

    def __init__(self, at):
        self.at, self.count, self.made = at, 0, 0

    def stop(self):
        self.count += 1
        return self.count > self.at

    def moment(self):
        self.count += 1
        if self.count > self.at:
            with unsaved.saved() as said:
                if said is not None:
                    raise Left(said)

    def around(self, patch, owner, name):
        """A moment before each call of a function, and one after it."""
        function = getattr(owner, name)

        def call(*args, **options):
            self.moment()
            found = function(*args, **options)
            if name == 'advance':
                self.made = args[-1]
            self.moment()
            return found

        patch.setattr(owner, name, call)


def leave(cfg, workdir, at, said):
    """Trains until the signal of this moment; whether it came before the end.

    No step that was made is lost.
    """
    came = Signal(at)
    with pytest.MonkeyPatch.context() as patch:
        for owner, name in (
            (metrics.JsonLines, 'write'),
            (PROGRAM, 'evaluate'),
            (PROGRAM, 'record'),
            (PROGRAM, 'advance'),
        ):
            came.around(patch, owner, name)
        patch.setattr(loop, 'CHUNK_SECONDS', 0)  # single steps
        with contextlib.suppress(Left):
            train(cfg, workdir, said.append, came.stop)
    assert max(checkpoints.steps(workdir), default=0) >= came.made
    return came.count > at


@pytest.fixture(scope='module')
def peace(tiny, tmp_path_factory):
    workdir = tmp_path_factory.mktemp('peace') / 'run'
    assert train(tiny(CHANGES), workdir, lambda line: None).finished
    return workdir


@pytest.mark.slow
def test_a_run_left_at_any_moment_goes_on_in_the_same_bits(tiny, tmp_path, peace):
    cfg, at, steps = tiny(CHANGES), 0, set()
    while leave(cfg, tmp_path / 'run', at, []):
        saved = checkpoints.steps(tmp_path / 'run')
        steps |= set(saved)
        said = []
        assert train(cfg, tmp_path / 'run', said.append).finished
        found = f'restored at step {saved[-1]}' if saved else 'from step 0'
        assert found in said[0] or 'is finished' in said[0]
        ends.assert_same(tmp_path / 'run', peace)
        shutil.rmtree(tmp_path / 'run')
        at += 1
    assert at > 50 and steps == set(range(8))


@pytest.mark.slow
def test_a_run_left_at_every_start_ends_in_the_same_bits(tiny, tmp_path):
    cfg, starts, due = tiny(CHANGES | {'seeds': 2, 'train.steps': 12}), itertools.count(), set()
    assert train(cfg, tmp_path / 'peace', lambda line: None).finished
    while leave(cfg, tmp_path / 'run', 8 + 5 * next(starts) % 7, []):  # 8 .. 14 moments from here
        step, _, meta = checkpoints.restore(tmp_path / 'run', only=())
        due |= {(step, bool(meta.get(checkpoints.DUE)))}
    assert {whether for _, whether in due} == {True, False}
    ends.assert_same(tmp_path / 'run', tmp_path / 'peace')
