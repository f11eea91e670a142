"""launch.analyze killed at any moment: no finished record is made again, and the numbers are those
of an analysis that was left in peace.
"""

import os
import pathlib
import random
import shutil
import time
from typing import NamedTuple

import numpy as np
import pytest

from resnet_dyn.analysis import trajectories

pytestmark = pytest.mark.usefixtures('sketched')

MEASURES = ('gammas', 'depth', 'singles')
FLAGS = (f'--what={",".join(MEASURES)}', '--examples=20')


class Kept(NamedTuple):
    """A file as the disk has it: one that is written again, even with the same bytes, differs."""

    inode: int
    written: int
    data: bytes


class Killed(SystemExit):
    """The end of a process, from within: nothing that a launcher does on its way out follows."""


def records_of(workdir):
    """What a reader takes for records: all files of their name."""
    found = {}
    for path in (workdir / 'records').glob('*.npz'):
        about = path.stat()
        found[path.name] = Kept(about.st_ino, about.st_mtime_ns, path.read_bytes())
    return found


def numbers(workdir):
    """The bytes of every array of every record, and of every table."""
    found = {path.name: path.read_bytes() for path in (workdir / 'tables').glob('*')}
    for path in (workdir / 'records').glob('*.npz'):
        with np.load(path) as arrays:
            for name in set(arrays.files) - {'record_json'}:
                found[path.name, name] = arrays[name].dtype.str, arrays[name].tobytes()
    return found


def assert_kept(before, after):
    assert {name: after.get(name) for name in before} == before


def dies_at(patch, moment, deaths):
    """From here on, the step of writing files after `moment` others is the last.

    A step is `write_bytes`, which leaves half a file, or the renaming to its name of one that is
    whole. Adds (step, kind of file) to `deaths`.
    """
    write, replace, left = pathlib.Path.write_bytes, os.replace, iter(range(moment))

    def write_bytes(path, data):
        if next(left, None) is None:
            write(path, bytes(data)[: len(data) // 2])
            deaths.append(('half', 'record' if '.npz' in path.name else 'other'))
            raise Killed
        return write(path, data)

    def replaced(source, target):
        if next(left, None) is None:
            deaths.append(('unnamed', 'record' if '.npz' in target.name else 'other'))
            raise Killed
        return replace(source, target)

    patch.setattr(pathlib.Path, 'write_bytes', write_bytes)
    patch.setattr(os, 'replace', replaced)


def test_an_analysis_that_dies_at_any_write_makes_no_record_twice_and_ends_in_the_same_numbers(
    called, copied_run, tmp_path, monkeypatch
):
    peace = shutil.copytree(copied_run, tmp_path / 'peace')
    assert called('analyze', f'--workdir={peace}', *FLAGS)[0] == 0
    made, measured = [], trajectories._measured

    def counted(request, subject, effort, left_out, name):
        made.append((subject.origin.step, name))
        return measured(request, subject, effort, left_out, name)

    monkeypatch.setattr(trajectories, '_measured', counted)
    status, deaths, before = None, [], {}
    for moment in _moments():
        with monkeypatch.context() as patch:
            dies_at(patch, moment, deaths)
            status, _, err = called('analyze', f'--workdir={copied_run}', *FLAGS)
        assert (status, err) in ((0, ''), (None, ''))
        after = records_of(copied_run)
        assert_kept(before, after)
        before = after
        if status == 0:
            break
    assert numbers(copied_run) == numbers(peace)
    records = len(MEASURES) * 4
    assert len(before) == len(set(made)) == records
    assert len(made) <= records + len(deaths)
    assert {('half', 'record'), ('unnamed', 'record'), ('half', 'other')} <= set(deaths)


def _moments():
    """After so many steps a start dies: at the first ones after 3 probes, then at random."""
    yield from range(3, 9)
    rng = random.Random(0)
    yield from (rng.randrange(3, 40) for _ in range(40))


@pytest.mark.slow
def test_an_analysis_killed_at_20_random_moments_ends_in_the_same_numbers(
    called, start, short, tmp_path
):
    peace, disturbed = tmp_path / 'peace', tmp_path / 'disturbed'
    many = ('--config.checkpoint.every=1', '--config.train.steps=60')
    assert called('train', f'--workdir={peace}', *short, *many)[0] == 0
    shutil.copytree(peace, disturbed)
    began = time.time()
    assert called('analyze', f'--workdir={peace}', *FLAGS)[0] == 0
    written = sorted(kept.written / 1e9 for kept in records_of(peace).values())
    first = written[len(MEASURES) - 1]  # when the first of 61 visits is over, and all is compiled
    start_up, visit = first - began, (written[-1] - first) / 60
    moments, before, grown = random.Random(0), {}, 0
    for _ in range(20):
        with start('analyze', f'--workdir={disturbed}', *FLAGS) as process:
            if moments.random() < 0.8:
                _wait_for_a_visit(process)
                time.sleep(moments.uniform(0, visit))
            else:
                time.sleep(moments.uniform(0, start_up))
            process.kill()
            _, err = process.communicate()
        assert process.returncode in (-9, 0) and 'Traceback' not in err
        after = records_of(disturbed)
        assert_kept(before, after)
        grown += len(after) > len(before)
        before = after
    status, _, err = called('analyze', f'--workdir={disturbed}', *FLAGS)
    assert (status, err) == (0, '')
    assert_kept(before, records_of(disturbed))
    assert numbers(disturbed) == numbers(peace)
    assert grown > 5  # the kills came in the middle of work


def _wait_for_a_visit(process):
    for line in process.stdout:
        if line.startswith('step ') and 'measured' in line:
            return
