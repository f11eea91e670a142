"""Two real processes train a network here: killed, stopped, unharmed; others go on with the run.

Starting them and compiling in each takes long: what one of them does when another is killed or
stopped in the middle of the training, and bits, are looked at by `make slow`, and here by
`test_supervisor` and `processes/test_watch`.
"""

import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from resnet_dyn.training import checkpoints

TOP = pathlib.Path(__file__).parent.parent.parent
PATIENCE = 300.0  # seconds for what takes few, on a machine that has other work
RUN = (
    '--config.data.classes=3',
    '--config.data.dimension=4',
    '--config.data.train_size=64',
    '--config.data.test_size=30',
    '--config.model.depth=2',
    '--config.model.width=8',
    '--config.model.norm=none',
    '--config.train.batch_size=16',
    '--config.train.schedule=constant',
    '--config.checkpoint.every=50',
    '--config.log.every=2',
    '--config.log.evaluate=150',
    '--config.log.record=150',
    '--config.log.tensorboard=false',
)
RARELY = '--config.log.every=50'
LENGTH, LONGER = '--config.train.steps=300', '--config.train.steps=450'


class Team:
    """Processes that a supervisor started, and what it says."""

    def __init__(self, workdir, *flags, count=2):
        command = [sys.executable, '-m', 'launch.train', f'--workdir={workdir}', *RUN, *flags]
        self.workdir, self._out = workdir, workdir.with_name(f'{workdir.name}-{time.time()}.out')
        with open(self._out, 'wb') as out:
            self.popen = subprocess.Popen(
                [*command, f'--processes={count}'],
                cwd=TOP,
                stdout=out,
                stderr=out,
                env={**os.environ, 'JAX_NUM_CPU_DEVICES': '1'},
            )

    @property
    def said(self):
        return self._out.read_text()

    def child(self, number):
        """The process of this index that is running now, once it is."""
        self.until(lambda: self._pid(number) is not None)
        return self._pid(number)

    def _pid(self, number):
        me = pathlib.Path(f'/proc/{self.popen.pid}/task/{self.popen.pid}/children')
        for pid in me.read_text().split():
            with contextlib.suppress(OSError):
                command = pathlib.Path(f'/proc/{pid}/cmdline').read_bytes().split(b'\0')
                if f'--process_id={number}'.encode() in command:
                    return int(pid)
        return None

    def until(self, happened):
        deadline = time.monotonic() + PATIENCE
        while not happened():
            assert self.popen.poll() is None and time.monotonic() < deadline, self.said
            time.sleep(0.02)

    def done(self):
        return self.popen.wait(PATIENCE)

    def end(self):
        self.popen.kill()  # its processes do not outlive it
        self.popen.wait()


@pytest.fixture
def team():
    """team(workdir, flags ..): a Team, gone when the test is over."""
    teams = []

    def team(*args, **kwargs):
        teams.append(Team(*args, **kwargs))
        return teams[-1]

    yield team
    for one in teams:
        one.end()


def parameters(workdir, step):
    _, trees, _ = checkpoints.restore(workdir, step)
    return jax.tree.leaves(trees)


@pytest.fixture(scope='module')
def alone(called, shared_programs, tmp_path_factory):
    """The workdir of the run by one process that has two devices."""
    workdir = tmp_path_factory.mktemp('alone') / 'run'
    flags = (f'--workdir={workdir}', '--mesh=data:2', *RUN, LENGTH, RARELY)
    assert called('train', *flags)[::2] == (0, '')
    return workdir


@pytest.fixture(scope='module')
def harmed(alone, tmp_path_factory):
    """The workdir of that run, gone on with by two, one of which was killed; what was said."""
    workdir = shutil.copytree(alone, tmp_path_factory.mktemp('harmed') / 'run')
    for step in ('200', '250', '300'):
        shutil.rmtree(workdir / 'checkpoints' / step)
    one = Team(workdir, LENGTH, RARELY, '--max_restarts=1')
    try:
        os.kill(one.child(1), signal.SIGKILL)
        assert one.done() == 0, one.said
    finally:
        one.end()
    return workdir, one.said


def test_a_run_of_two_of_which_one_is_killed_goes_on_and_is_that_of_two_devices(harmed, alone):
    workdir, said = harmed
    assert '1 network (fully_connected' in said and '2 cpu devices: data 2' in said
    assert 'process 1 of 2 died (killed by SIGKILL), and the others were ended' in said
    assert 'restart 1 of 1' in said and 'restored at step 150' in said
    assert_alike(workdir, alone)
    for ours, theirs in zip(parameters(workdir, 300), parameters(alone, 300), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0.02, atol=2e-3)


def assert_alike(workdir, other):
    """Checkpoints of the same steps, and as many lines."""
    assert sorted(os.listdir(workdir / 'checkpoints')) == sorted(os.listdir(other / 'checkpoints'))
    for name in ('metrics.jsonl', 'dynamics.jsonl'):
        lines = [(path / name).read_text().count('\n') for path in (workdir, other)]
        assert lines[0] == lines[1] > 0


def test_what_two_have_saved_goes_on_with_one(harmed, called, tmp_path):
    one = shutil.copytree(harmed[0], tmp_path / 'one')
    assert goes_on(called, one).startswith('1 network')
    assert len(parameters(one, 450)) == len(parameters(one, 300))


@pytest.fixture(scope='module')
def unharmed(tmp_path_factory):
    workdir = tmp_path_factory.mktemp('unharmed') / 'run'
    one = Team(workdir, LENGTH)
    try:
        assert one.done() == 0, one.said
    finally:
        one.end()
    return workdir


@pytest.mark.slow
def test_a_run_of_two_of_which_one_is_killed_and_one_is_stopped_ends_in_the_same_parameters(
    team, unharmed, tmp_path
):
    workdir = tmp_path / 'run'
    one = team(workdir, LENGTH, '--max_restarts=2', '--stuck_after=5')
    one.until((workdir / 'checkpoints' / '50').exists)
    os.kill(one.child(1), signal.SIGKILL)
    one.until(lambda: 'restart 1 of 2' in one.said)
    one.until(lambda: 'restored at step' in one.said)
    newest = max(map(int, os.listdir(workdir / 'checkpoints')))
    one.until((workdir / 'checkpoints' / str(newest + 50)).exists)
    os.kill(one.child(1), signal.SIGSTOP)
    one.until(lambda: 'restart 2 of 2' in one.said)
    assert 'process 1 of 2 (on ' in one.said and 'gave no sign of life for 5 s' in one.said
    assert one.done() == 0, one.said
    assert_alike(workdir, unharmed)
    for ours, theirs in zip(parameters(workdir, 300), parameters(unharmed, 300), strict=True):
        assert ours.tobytes() == theirs.tobytes()


@pytest.mark.slow
def test_what_two_have_saved_goes_on_with_four_that_are_stopped_and_with_one_after_them(
    team, unharmed, called, tmp_path
):
    four, one = (shutil.copytree(unharmed, tmp_path / name) for name in ('four', 'one'))
    crew = team(four, LONGER, count=4)
    crew.until((four / 'checkpoints' / '350').exists)
    crew.popen.send_signal(signal.SIGTERM)
    assert crew.done() == 42, crew.said
    assert 'restored at step 300; 4 cpu devices: data 4' in crew.said
    assert 'all saved' in crew.said.splitlines()[-1]
    for copy in (four, one):
        goes_on(called, copy)
    for ours, theirs in zip(parameters(four, 450), parameters(one, 450), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0.02, atol=2e-3)


def goes_on(called, workdir):
    """Goes on to the end in this process; the line that says how it began."""
    status, out, err = called('train', f'--workdir={workdir}', '--mesh=data:2', *RUN, LONGER)
    assert (status, err) == (0, '')
    (line,) = (line for line in out.splitlines() if 'restored at step' in line)
    return line
