"""launch.sweep killed -9 again and again, with and without its runs: each run is done exactly once.

A run says itself how often it was begun: a segment of its config.json for every start, and the
lines of every step, of which none may be there twice.
"""

import csv
import json
import os
import pathlib
import random
import re
import signal
import time

import pytest

FILE = """
[grid]
"config.seed" = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]
"config.train.learning_rate" = [0.05, 0.01]
"""
THREE = '[grid]\n"config.seed" = [0, 1, 2]\n'


@pytest.mark.slow
def test_24_runs_whose_sweep_is_killed_twice_are_done_once_each(start, short, tmp_path):
    workdir, command = sweep(tmp_path, FILE, short, 400, 100)  # they live on a while
    moments = random.Random(0)
    for done in (5, 13):
        with start('sweep', *command) as process:
            until(lambda done=done: number_of_logs(workdir) > done)
            time.sleep(moments.uniform(0, 1))
            process.kill()
        assert process.returncode == -signal.SIGKILL
        assert number_of_logs(workdir) < 24
    with start('sweep', *command) as process:
        out, err = process.communicate()
    assert (process.returncode, err) == (0, '')
    assert out.splitlines()[-1] == '24 of 24 runs are done'
    assert_done_once(workdir, 24)
    with start('sweep', *command) as process:
        out, _ = process.communicate()
    assert process.returncode == 0 and 'running' not in out


@pytest.mark.slow
def test_runs_that_are_killed_with_their_sweep_go_on_from_their_checkpoints(start, short, tmp_path):
    workdir, command = sweep(tmp_path, THREE, short, 600, 20)
    with start('sweep', *command) as process:
        until(lambda: len(list(workdir.glob('*/checkpoints/20'))) == 2)
        process.kill()
    for pid in jobs(workdir):
        os.kill(pid, signal.SIGKILL)
    with start('sweep', *command) as process:
        out, err = process.communicate()
    assert (process.returncode, err) == (0, ''), out
    assert_done_once(workdir, 3, starts=(2, 2, 1))


@pytest.mark.slow
def test_a_signal_is_passed_on_and_all_runs_save_themselves(start, short, tmp_path):
    workdir, command = sweep(tmp_path, THREE, short, 3000, 1000)
    with start('sweep', *command) as process:
        until(lambda: len(list(workdir.glob('*/checkpoints/0'))) == 2)
        process.terminate()
        out, err = process.communicate()
    assert (process.returncode, err) == (42, ''), out
    assert out.splitlines()[-1].startswith('0 of 3 runs are done; 3 stopped with all saved')
    with start('sweep', *command) as process:
        out, err = process.communicate()
    assert (process.returncode, err) == (0, ''), out
    assert_done_once(workdir, 3, starts=(2, 2, 1))


def sweep(tmp_path, text, short, steps, every):
    """The workdir of a sweep of this file, two runs at a time, and the flags of its command.

    Its runs have so many steps, and a checkpoint every so many.
    """
    (tmp_path / 'sweep.toml').write_text(text)
    workdir = tmp_path / 'W'
    ours = (f'--workdir={workdir}', f'--sweep={tmp_path / "sweep.toml"}', '--jobs=2')
    length = (f'--config.train.steps={steps}', f'--config.checkpoint.every={every}')
    return workdir, (*ours, *short, *length)


def until(is_so, seconds=300):
    limit = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < limit
        time.sleep(0.05)


def number_of_logs(workdir):
    return len(list(workdir.glob('logs/*.log')))


def jobs(workdir):
    """The processes whose stdout is a log of the sweep."""
    logs, found = {str(log) for log in workdir.glob('logs/*.log')}, []
    for process in pathlib.Path('/proc').glob('[0-9]*'):
        try:
            if os.readlink(process / 'fd' / '1') in logs:
                found.append(int(process.name))
        except OSError:
            pass
    return found


def assert_done_once(workdir, number, starts=None):
    """Every run has each of its lines once, and was begun as often as it says."""
    folders = sorted(path.parent for path in workdir.glob('*/config.json'))
    assert len(folders) == number
    segments = []
    for folder in folders:
        about = json.loads((folder / 'config.json').read_text())
        segments.append(len(about['segments']))
        lines = [json.loads(line) for line in (folder / 'metrics.jsonl').read_text().splitlines()]
        trained = [line['step'] for line in lines if 'loss' in line]
        assert trained == sorted(set(trained)) and trained[-1] == about['total_steps']
        log = (workdir / 'logs' / f'{folder.name}.log').read_text()
        assert 'another process' not in log and 'Traceback' not in log
        assert len(re.findall(r'^\[.* slot \d+\] ', log, re.M)) == segments[-1]
    assert tuple(segments) == (starts or (1,) * number)
    with open(workdir / 'table.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    assert [row['run'] for row in rows if row['state'] == 'done'] == [row['run'] for row in rows]
    assert {row['run'] for row in rows} == {folder.name for folder in folders}
    assert all(float(row['test_accuracy']) and row['test_accuracy_n'] == '2' for row in rows)
