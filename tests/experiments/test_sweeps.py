"""The runs of a sweep brought to their ends by processes: once each, whoever dies.

The processes are scripts that leave a finished run, a copy: what is tested is who starts what.
"""

import csv
import fcntl
import json
import os
import shutil
import signal
import time

import numpy as np
import pytest

from experiments.sweeps import boards, members, pool, shares, standing, tables
from resnet_dyn import config, fields
from resnet_dyn.training import runs

ROWS = [{'log.every': every} for every in (1, 2, 3)]  # neutral: one finished run is all of them
WAITS = 'while [ ! -e {gate} ]; do sleep 0.02; done; '
DONE = 'mkdir -p {workdir}; cp -r {run}/. {workdir}; '
FAILS = 'echo it cannot be; exit 7'
SAVES = 'trap "echo saved; exit 42" TERM; echo began; while true; do sleep 0.02; done'


class Sweep:
    """A sweep in a folder, whose processes are scripts."""

    def __init__(self, run, folder):
        self.run, self.folder, self.gate = run, folder, folder / 'gate'
        values = dict(fields.flatten(config.to_dict(runs.read_config(run))))
        base = {path: value for path, value in values.items() if value is not None}
        self.members = members.make(folder / 'W', base, ROWS)
        self.scripts = dict.fromkeys((one.name for one in self.members), DONE)
        self.events, self.pools, self.orphans = [], [], []

    def pool(self, jobs=2, retry=False):
        """A pool as the launcher makes it."""
        cores = frozenset(os.sched_getaffinity(0))
        divided = [shares.Share(cores, {'SLOT': str(slot)}, f'slot {slot}') for slot in range(jobs)]
        made = pool.Pool(
            self.members, self._command, dict(os.environ), divided, retry, self.events.append
        )
        self.pools.append(made)
        return made

    def _command(self, one):
        text = self.scripts[one.name].format(workdir=one.workdir, run=self.run, gate=self.gate)
        return ['sh', '-c', f'echo {one.name} $SLOT >> {self.folder}/starts; {text}']

    @property
    def starts(self):
        """The names of the runs that were started, and their slots, in order."""
        file = self.folder / 'starts'
        return [tuple(line.split()) for line in file.read_text().splitlines()]

    def dies(self, made):
        """What the kernel does where the process of a pool is killed."""
        for process in made._running.values():
            os.close(process.log)
            self.orphans.append(process.popen)
        self.pools.remove(made)

    def states(self, made):
        return [made.standings[one.name].state for one in self.members]


@pytest.fixture
def sweep(tiny_run, tmp_path):
    made = Sweep(tiny_run, tmp_path)
    yield made
    running = (process.popen for one in made.pools for process in one._running.values())
    for process in (*running, *made.orphans):
        process.kill()
        process.wait()


def until(made, is_so=lambda: False, seconds=20):
    """Looks until nothing is left, or it is so."""
    limit = time.monotonic() + seconds
    while made.step() and not is_so():
        assert time.monotonic() < limit
        time.sleep(0.01)


def test_every_run_is_done_once_and_what_is_done_is_left(sweep):
    made = sweep.pool()
    assert sweep.states(made) == ['waiting'] * 3
    until(made)
    assert sweep.states(made) == ['done'] * 3
    assert [name for name, _ in sorted(sweep.starts)] == [one.name for one in sweep.members]
    assert {slot for _, slot in sweep.starts} == {'0', '1'}
    again = sweep.pool()
    assert sweep.states(again) == ['done'] * 3 and not again.step() and len(sweep.starts) == 3


def test_no_more_run_at_a_time_than_there_are_jobs(sweep):
    sweep.scripts = dict.fromkeys(sweep.scripts, WAITS + DONE)
    made = sweep.pool(jobs=2)
    made.step()
    made.step()
    assert sweep.states(made) == ['running', 'running', 'waiting']
    sweep.gate.touch()
    until(made)
    assert sweep.states(made) == ['done'] * 3


def test_a_run_goes_on_when_its_sweep_is_killed_and_is_not_started_again(sweep):
    first, *others = (one.name for one in sweep.members)
    sweep.scripts[first] = WAITS + DONE
    for _ in range(2):
        killed = sweep.pool(jobs=1)
        killed.step()
        assert sweep.states(killed)[0] == 'running'
        sweep.dies(killed)
    made = sweep.pool(jobs=1)
    assert sweep.states(made)[0] == 'running'
    made.step()
    assert sweep.states(made) == ['running', 'waiting', 'waiting']  # it has the one place
    assert made.standings[first].why == 'by a process started before'
    sweep.gate.touch()
    until(made)
    assert sweep.states(made) == ['done'] * 3
    assert [name for name, _ in sweep.starts] == [first, *others]


def test_two_sweeps_side_by_side_do_each_run_once(sweep):
    sweep.scripts = dict.fromkeys(sweep.scripts, f'sleep 0.05; {DONE}')
    one, other = sweep.pool(jobs=1), sweep.pool(jobs=1)
    limit = time.monotonic() + 20
    while one.step() | other.step():
        assert time.monotonic() < limit
    assert sweep.states(one) == sweep.states(other) == ['done'] * 3
    assert sorted(name for name, _ in sweep.starts) == [one.name for one in sweep.members]


def test_a_run_that_somebody_trains_by_hand_is_waited_for(sweep):
    first = sweep.members[0]
    first.workdir.mkdir(parents=True)
    with open(first.workdir / '.lock', 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = sweep.pool(jobs=3)
        until(made, lambda: sweep.states(made) == ['running', 'done', 'done'])
        assert len(sweep.starts) == 2
    until(made)
    assert sweep.states(made) == ['done'] * 3


def test_a_run_that_was_refused_because_another_has_it_has_not_failed(sweep):
    first = sweep.members[0]
    sweep.scripts[first.name] = WAITS + FAILS
    made = sweep.pool(jobs=1)
    made.step()
    first.workdir.mkdir(parents=True)
    with open(first.workdir / '.lock', 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        sweep.gate.touch()
        until(made, lambda: made.standings[first.name].why == 'by a process started before')
        sweep.scripts[first.name] = DONE
    until(made)
    assert sweep.states(made) == ['done'] * 3


def test_a_run_that_fails_is_kept_as_such_until_a_retry(sweep):
    first, second, _ = sweep.members
    sweep.scripts[first.name] = FAILS
    sweep.scripts[second.name] = 'exit 0'  # and yet it is not finished
    until(sweep.pool())
    for retry, starts in ((False, 3), (True, 5)):
        made = sweep.pool(retry=retry)
        until(made)
        assert sweep.states(made) == ['failed', 'failed', 'done'] and len(sweep.starts) == starts
    said = '\n'.join(boards.failures(sweep.members, made.standings))
    assert f'{first.name} failed (exit status 7); the end of {first.log}:' in said
    assert '    it cannot be' in said and 'exit status 7\n' not in said and 'slot' not in said
    sweep.scripts[first.name] = DONE
    mended = sweep.pool(retry=True)
    until(mended)
    assert sweep.states(mended) == ['done', 'failed', 'done']


def test_a_failure_that_a_killed_sweep_did_not_see_is_tried_again(sweep):
    first = sweep.members[0].name
    sweep.scripts[first] = WAITS + FAILS
    killed = sweep.pool(jobs=1)
    killed.step()
    sweep.dies(killed)
    sweep.gate.touch()
    made = sweep.pool(jobs=1)
    until(made)
    assert sweep.states(made) == ['failed', 'done', 'done']
    assert [name for name, _ in sweep.starts][:2] == [first, first]


def test_a_stop_is_passed_on_also_to_what_another_sweep_started(sweep):
    sweep.scripts = dict.fromkeys(sweep.scripts, SAVES)
    killed = sweep.pool(jobs=1)
    killed.step()
    sweep.dies(killed)
    made = sweep.pool(jobs=2)

    def said(word):  # not the log's first line, which is the command with all its words
        return all(word in one.log.read_text().splitlines() for one in sweep.members[:2])

    until(made, lambda: said('began'))
    assert sweep.states(made) == ['running', 'running', 'waiting']
    assert made.stop() == []
    until(made)
    assert len(sweep.starts) == 2
    assert said('saved')
    made = sweep.pool()
    assert sweep.states(made) == ['waiting'] * 3  # none of them failed


def test_a_process_that_is_killed_has_failed(sweep):
    sweep.scripts = dict.fromkeys(sweep.scripts, 'kill -9 $$')
    made = sweep.pool()
    until(made)
    assert {found.why for found in made.standings.values()} == {f'exit status {-signal.SIGKILL}'}


def test_a_run_that_cannot_be_read_fails_alone(sweep):
    first = sweep.members[0]
    shutil.copytree(sweep.run, first.workdir)
    (first.workdir / 'config.json').write_text('{}')
    made = sweep.pool()
    until(made)
    assert sweep.states(made) == ['failed', 'done', 'done']
    assert 'is damaged' in made.standings[first.name].why


def test_the_table_has_a_row_a_run_with_config_metrics_and_what_was_measured(sweep):
    sweep.scripts[sweep.members[1].name] = FAILS
    made = sweep.pool()
    until(made)
    first = sweep.members[0]
    folder = first.workdir.parent
    tables.write(folder, sweep.members, made.standings)
    with open(folder / 'table.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    assert [row['run'] for row in rows] == [one.name for one in sweep.members]
    assert [row['state'] for row in rows] == ['done', 'failed', 'done']
    assert rows[0]['config.model.depth'] == '4' and rows[1]['config.log.every'] == '2'
    assert rows[1]['why'] == 'exit status 7' and rows[1]['test_accuracy'] == ''
    lines = [json.loads(line) for line in (folder / 'table.jsonl').read_text().splitlines()]
    last = json.loads((first.workdir / 'metrics.jsonl').read_text().splitlines()[-1])
    assert (lines[0]['step'], rows[0]['step']) == (6, '6')
    assert lines[0]['test_accuracy_networks'] == last['test_accuracy']
    assert lines[0]['test_accuracy_n'] == 2
    assert float(rows[0]['test_accuracy']) == pytest.approx(np.mean(last['test_accuracy']))
    assert lines[0]['test_accuracy_std'] == pytest.approx(np.std(last['test_accuracy'], ddof=1))
    assert 'config.data.dir' in lines[0] and lines[0]['config.data.dir'] is None


def test_progress_is_read_from_the_lines_of_a_run(sweep):
    one = sweep.members[0]
    assert standing.progress(one) == (None, None, None)
    shutil.copytree(sweep.run, one.workdir)
    far = standing.progress(one)
    assert (far.step, far.total) == (6, 6)
    with open(one.workdir / 'metrics.jsonl', 'a') as file:
        file.write('{"step": 7, "loss": [1.0, 3.0, null]}\n{"step": 8, "test_loss": [0.5]}\n{"ste')
    assert standing.progress(one) == (8, 6, 2.0)
