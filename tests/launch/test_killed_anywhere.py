"""20 SIGTERMs and 20 kill -9 at random moments of a training and of an analysis.

Nothing is lost beyond what was saved last, nothing is refused, and every end is that of a run that
was left in peace. Prints how many fell into what, and how long the process took to leave.
"""

import collections
import contextlib
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time
from typing import NamedTuple

import jax
import numpy as np
import pytest

from resnet_dyn.training import checkpoints, metrics

pytestmark = pytest.mark.slow

TOP = pathlib.Path(__file__).parent.parent.parent
EACH = 20
FIRST = 'has no checkpoint: training starts at step 0'  # of a run ended before it had any
LIMIT = 20.0  # seconds to leave after a SIGTERM, on 2 cores
TRAIN = (
    '--config.seeds=1',
    '--config.data.name=digits',
    '--config.model.family=cifar_resnet',
    '--config.model.depth=8',
    '--config.train.batch_size=32',
    '--config.train.steps=80',
    '--config.checkpoint.every=20',
    '--config.log.every=10',
    '--config.log.record=15',
    '--config.log.evaluate=20',
)
ANALYZE = ('--what=gammas,singles', '--examples=20')
PHASES = {
    'train': ('start', 'load', 'compile', 'train', 'evaluate', 'record', 'save'),
    'analyze': ('start', 'estimate', 'measure', 'draw'),
}


class Event(NamedTuple):
    process: int
    time: float
    phase: str
    what: str
    numbers: tuple[int, ...]


class Job(NamedTuple):
    """A launcher at work in a folder, and the file in which it says what it does."""

    launcher: str
    workdir: pathlib.Path
    phases: pathlib.Path
    flags: tuple[str, ...]

    def start(self):
        self.phases.unlink(missing_ok=True)
        environment = dict(os.environ, PHASES=str(self.phases), JAX_ENABLE_COMPILATION_CACHE='0')
        environment['PYTHONPATH'] = str(pathlib.Path(__file__).parent / 'phases')
        flags = TRAIN if self.launcher == 'train' else ANALYZE
        return subprocess.Popen(
            [
                sys.executable,
                '-m',
                f'launch.{self.launcher}',
                f'--workdir={self.workdir}',
                *flags,
                *self.flags,
            ],
            cwd=TOP,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def events(self):
        if not self.phases.exists():
            return []
        lines = self.phases.read_text().splitlines()
        words = (line.split() for line in lines)
        return [Event(int(w[0]), float(w[1]), w[2], w[3], tuple(map(int, w[4:]))) for w in words]

    def now(self):
        """What goes on: what has begun last and not ended; of a start the end is not known."""
        going, events = [], self.events()
        for event in events:
            if event.what == 'begins':
                going.append(event.phase)
            elif event.phase in going:
                going.remove(event.phase)
        later = any(event.phase != 'start' for event in events)
        return 'between' if not going or (going[-1] == 'start' and later) else going[-1]


class Count(NamedTuple):
    number: int
    phase: str
    seconds: float
    lost: int


def durations(job):
    """The median time that each phase took in a run that was left in peace."""
    began, took = {}, collections.defaultdict(list)
    for event in job.events():
        if event.what == 'begins':
            began[event.phase] = event.time
        else:
            took[event.phase].append(event.time - began[event.phase])
    first = {event.phase: event.time for event in reversed(job.events())}
    took['start'] = [sorted(first.values())[1] - first['start']]
    return {phase: float(np.median(times)) for phase, times in took.items()}


def strike(job, phase, number, rng, took):
    """Starts the job and ends it in a phase; its Count, or None where it was done before."""
    nth, delay = rng.randint(1, 3), rng.uniform(0, took.get(phase, 0.1))
    with job.start() as process:
        while process.poll() is None:
            begun = [e for e in job.events() if (e.phase, e.what) == (phase, 'begins')]
            if len(begun) >= (nth if took.get(phase, 9) < 1 else 1):
                break
            time.sleep(0.005)
        time.sleep(delay)
        hit, sent = job.now(), time.monotonic()
        struck, victim = process.poll() is None, process.pid
        if number == signal.SIGKILL and job.flags:  # any of several, the one that started them too
            victim = rng.choice(sorted({victim, *(e.process for e in job.events())}))
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, number)
        _, err = process.communicate(timeout=120)
        seconds = time.monotonic() - sent
    wanted = {0, 42} if number == signal.SIGTERM else {0, -signal.SIGKILL}
    if hit == 'start':
        wanted.add(-signal.SIGTERM)  # before Python had read a line of ours
    if victim != process.pid and process.returncode == 1:
        assert 'killed by SIGKILL' in err and 'Traceback' not in err, err
    else:
        assert process.returncode in wanted, (hit, process.returncode, err)
        assert all(FIRST in line for line in err.splitlines()), err
    if not struck or process.returncode == 0:
        return None
    return Count(number, hit, seconds, lost(job, number))


def lost(job, number):
    """How many steps that were made, or that were saved where it was killed, are not there."""
    if job.launcher != 'train':
        return 0
    kind = 'train' if number == signal.SIGTERM else 'save'
    done = [e.numbers[-1] for e in job.events() if (e.phase, e.what) == (kind, 'ends')]
    steps = checkpoints.steps(job.workdir) or [0]
    return max(0, max(done, default=0) - steps[-1])


def end(job):
    """What is there when a job is done, but for what depends on time."""
    found = {}
    for name in ('metrics.jsonl', 'dynamics.jsonl'):
        lines = metrics.read(job.workdir / name)
        found[name] = [{k: v for k, v in a.items() if k != 'images_per_second'} for a in lines]
    step, trees, _ = checkpoints.restore_training(job.workdir)
    named = jax.tree.leaves_with_path(trees)
    found |= {(step, jax.tree_util.keystr(path)): leaf.tobytes() for path, leaf in named}
    for path in (job.workdir / 'records').glob('*.npz'):
        with np.load(path) as arrays:
            for name in set(arrays.files) - {'record_json'}:
                found[path.name, name] = arrays[name].tobytes()
    return found


def finish(job):
    with job.start() as process:
        _, err = process.communicate()
    assert process.returncode == 0 and all(FIRST in line for line in err.splitlines()), err
    return end(job)


def assert_same(found, peace):
    assert found.keys() == peace.keys()
    assert not [name for name in peace if found[name] != peace[name]]


@pytest.mark.parametrize('flags', [(), ('--processes=2',)], ids=['one', 'two'])
def test_signals_at_random_moments_lose_nothing(tmp_path, capsys, flags):
    peace = Job('train', tmp_path / 'peace', tmp_path / 'phases', flags)
    ends, took = {'train': finish(peace)}, {'train': durations(peace)}
    shutil.copytree(peace.workdir, tmp_path / 'trained')
    analysed = peace._replace(launcher='analyze')
    ends['analyze'], took['analyze'] = finish(analysed), durations(analysed)
    rng, counts, rounds = random.Random(0), [], 0
    jobs = {'train': peace._replace(workdir=tmp_path / 'run')}
    jobs['analyze'] = analysed._replace(workdir=tmp_path / 'seen')
    shutil.copytree(tmp_path / 'trained', jobs['analyze'].workdir)
    due = [signal.SIGTERM, signal.SIGKILL] * EACH
    while due:
        launcher = rng.choice(('train', 'train', 'analyze'))
        job, phase = jobs[launcher], rng.choice(PHASES[launcher])
        count = strike(job, phase, due[-1], rng, took[launcher])
        if count is not None:
            with capsys.disabled():
                print(launcher, *count, flush=True)
            counts.append(count)
            due.pop()
            continue
        assert_same(finish(job), ends[launcher])
        rounds += 1
        shutil.rmtree(job.workdir)
        if launcher == 'analyze':
            shutil.copytree(tmp_path / 'trained', job.workdir)
    for launcher, job in jobs.items():
        assert_same(finish(job), ends[launcher])
    with capsys.disabled():
        print(f'\n{table(counts)}\nends compared: {rounds + len(jobs)}, none other')
    assert not sum(count.lost for count in counts)
    assert max(count.seconds for count in counts if count.number == signal.SIGTERM) < LIMIT


def table(counts):
    lines = ['phase      SIGTERM  kill -9  lost  longest to leave (s, after a SIGTERM)']
    for phase in sorted({count.phase for count in counts}):
        here = [count for count in counts if count.phase == phase]
        asked = [count.seconds for count in here if count.number == signal.SIGTERM]
        lost = sum(count.lost for count in here)
        longest = f'{max(asked):.1f}' if asked else '-'
        lines.append(f'{phase:10} {len(asked):7} {len(here) - len(asked):8} {lost:5}  {longest}')
    return '\n'.join(lines)
