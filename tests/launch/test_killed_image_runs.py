"""Runs on images whose process is killed or stopped while its workers decode: none is left."""

import os
import pathlib
import signal
import time

import image_tree
import jax
import numpy as np
import pytest

from resnet_dyn.training import checkpoints, metrics

pytestmark = pytest.mark.slow

STEPS = 2000


@pytest.fixture(scope='module')
def flags(tmp_path_factory):
    root = tmp_path_factory.mktemp('images')
    image_tree.write(root, {'ape': 20, 'bee': 23}, {'ape': 5, 'bee': 2})
    return (
        '--config.data.name=image_folder',
        f'--config.data.dir={root}',
        '--config.data.image_size=8',
        '--config.model.depth=3',
        '--config.model.width=4',
        '--config.train.batch_size=4',
        f'--config.train.steps={STEPS}',
        '--config.log.every=20',
        '--config.checkpoint.every=500',
    )


def _children(pid):
    """The processes below one, by what /proc says."""
    found = []
    for stat in pathlib.Path('/proc').glob('[0-9]*/stat'):
        try:
            fields = stat.read_text().rpartition(')')[2].split()
        except OSError:  # it ended meanwhile
            continue
        if int(fields[1]) == pid:
            found.append(int(stat.parent.name))
    return found


def _wait(condition, seconds):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, 'it took too long'
        time.sleep(0.05)


def test_a_killed_and_a_stopped_run_leave_no_worker_and_end_in_the_same_bits(
    launched, start, flags, tmp_path
):
    if not pathlib.Path('/proc/self/stat').exists():
        pytest.skip('there is no /proc to look for processes in')
    status, _, err = launched('train', f'--workdir={tmp_path}/peace', *flags, _workers(1))
    assert status == 0, err
    workdir = tmp_path / 'run'
    for number, (kill, expected) in enumerate(((signal.SIGKILL, -9), (signal.SIGTERM, 42))):
        with start('train', f'--workdir={workdir}', *flags, _workers(2 - number)) as process:
            _wait(lambda: _step(workdir) > 100 + 700 * number, 120)  # noqa: B023
            below = _children(process.pid)
            assert len(below) >= 2 - number
            process.send_signal(kill)
            _, err = process.communicate(timeout=60)
        assert process.returncode == expected, err
        _wait(lambda: not any(os.path.exists(f'/proc/{pid}') for pid in below), 20)  # noqa: B023
        assert 'Traceback' not in err, err
    status, _, err = launched('train', f'--workdir={workdir}', *flags, _workers(0))
    assert status == 0, err
    ends = (checkpoints.restore_training(path)[1] for path in (workdir, tmp_path / 'peace'))
    jax.tree.map(np.testing.assert_array_equal, *ends)


def _workers(number):
    return f'--config.data.workers={number}'


def _step(workdir):
    lines = metrics.read(workdir / 'metrics.jsonl')
    return lines[-1]['step'] if lines else 0
