"""Fuzzed starts of launch.train: whatever is given or has been done to a workdir, one of

    done      exit status 0, 3 or 42, and the run is whole: it ends in the bits of the untouched run
    refused   exit status 1 with one paragraph that says why, and nothing on disk is changed
    failed    exit status 1 with one paragraph, after a start: what was there is there still

and never a traceback, a file harmed beside those that were given, or a hang. The cases are drawn
from a fixed seed, so that one can be run again by its number.
"""

import collections
import hashlib
import json
import os
import pathlib
import shutil
import signal
import string
import threading
import traceback
import zipfile
from typing import NamedTuple

import jax
import numpy as np
import pytest
import tiny

from resnet_dyn import config, fields
from resnet_dyn.training import checkpoints, metrics

pytestmark = pytest.mark.usefixtures('shared_programs')

SEED, QUICK, MANY = 20, 6, 1000
STOP, HANG = 4.0, 60.0  # seconds after which a start is told to stop, and called a hang
OWN = {'train.steps': 4, 'log.every': 2, 'log.evaluate': 4}
TINY = {path: str(value).lower() for path, value in (tiny.VALUES | OWN).items()}
WORDS = [
    *('', ' ', '0', '1', '2', '3', '4', '5', '-1', '0.5', '1e-3', '1e400', '-0.0', 'nan', 'inf'),
    *('true', 'false', 'None', 'null', '[]', '{}', '3.5', ' 3', '3 ', '1_0', '0x10', '٣', '²', 'é'),
    *(str(2**31 - 1), str(2**31), str(2**63), str(10**30), 'a' * 300, '\n', '%s', '{0}', '\udcff'),
    *('batch', 'none', 'rms', 'plain', 'preact', 'paper', 'digits', 'npz', 'gaussians', 'cosine'),
]
JUNK = [None, True, -1, 0, 3, 2.5, 1e308, 10**30, '', '3', 'nan', [], [1], {}, {'a': 1}, '\x00']
TOKENS = ['--', '-', '--=3', '--config.', '--config', 'x=1', '--nosuch', '--no', '-x', '--config.x']


class Case(NamedTuple):
    """A start and what it may change; `done` to what is said of it when it goes wrong."""

    kind: str
    workdir: pathlib.Path
    flags: list[str]
    done: str
    same_end: bool = True  # a start that is done ends as the untouched run


@pytest.fixture(scope='module')
def finished(called, tmp_path_factory):
    """The tiny run when it is done."""
    workdir = tmp_path_factory.mktemp('fuzz') / 'finished'
    status, _, err = called('train', f'--workdir={workdir}', *flags_of(TINY))
    assert (status, err) == (0, '')
    return workdir


def test_some_fuzzed_starts_end_well(called, finished, tmp_path):
    _, wrong = fuzz(called, finished, tmp_path, range(QUICK))
    assert not wrong, '\n\n'.join(wrong)


@pytest.mark.slow
def test_a_thousand_fuzzed_starts_end_well(called, finished, tmp_path, capsys):
    outcomes, wrong = fuzz(called, finished, tmp_path, range(MANY))
    with capsys.disabled():
        print()
        for (kind, outcome), count in sorted(outcomes.items()):
            print(f'{kind:12} {outcome:8} {count:4}')
    assert not wrong, '\n\n'.join(wrong)


def fuzz(called, finished, place, numbers):
    """(outcomes of the cases of these numbers, counted by kind; a text for each gone wrong)."""
    outcomes, wrong = collections.Counter(), []
    end = checkpoints.restore_training(finished)[1]
    for number in numbers:
        rng, here = np.random.default_rng([SEED, number]), place / str(number)
        (here / 'beside').mkdir(parents=True)
        (here / 'beside' / 'file').write_text('mine')
        case = KINDS[number % len(KINDS)](rng, here, finished)
        try:
            outcome = start(called, case, here, end)
        except Exception as error:
            said = ''.join(traceback.format_exception(error)[-3:])
            wrong.append(f'{number}, {case.kind}: {case.done}; {case.flags}\n{said}')
            outcome = 'WRONG'
        outcomes[case.kind, outcome] += 1
        shutil.rmtree(here)
        if number % 100 == 99:
            jax.clear_caches()
    return outcomes, wrong


def start(called, case, here, end):
    """Starts a case; returns the outcome, or raises what is wrong with it."""
    before, there = contents(here), case.workdir.exists()
    status, out, err = limited(lambda: called('train', f'--workdir={case.workdir}', *case.flags))
    after = contents(here)
    assert 'Traceback' not in out + err, err
    inside = str(case.workdir.relative_to(here)) if case.workdir != here else ''
    beside = {path for path in before | after if not path.startswith(inside)}
    assert [path for path in beside if before.get(path) != after.get(path)] == [], 'harmed'
    if status == 1:
        *warnings, last = err.splitlines()
        assert last.startswith('python -m launch.train: '), err
        assert all(line.startswith('warning: ') for line in warnings), err
        if there:  # what a run had is there still: under its name, put aside, or said to be lost
            assert set(before.values()) <= set(after.values()), 'lost'
        return 'refused' if before == after else 'failed'
    assert status in (0, 3, 42), (status, err)
    step, trees, _ = checkpoints.restore_training(case.workdir)
    assert all(line['step'] <= step for line in metrics.read(case.workdir / 'metrics.jsonl'))
    if case.same_end and status == 0 and step == 4:
        jax.tree.map(np.testing.assert_array_equal, trees, end)
    return 'done'


def limited(call):
    """call(), told to stop after a while, and interrupted if that does not help."""

    def hung(*_):
        raise TimeoutError(f'it did not end within {HANG} s')

    stop = threading.Timer(STOP, os.kill, (os.getpid(), signal.SIGINT))
    before = signal.signal(signal.SIGALRM, hung)
    signal.setitimer(signal.ITIMER_REAL, HANG)
    stop.start()
    try:
        return call()
    finally:
        stop.cancel()
        stop.join()
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def contents(folder):
    """What is in a folder, by relative path; the lock of a run is left out."""
    found = {}
    for path in folder.rglob('*'):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = os.readlink(path)
        elif path.is_file() and path.name != '.lock':
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def flags_of(values):
    return [f'--config.{path}={value}' for path, value in values.items()]


def pick(rng, options):
    return options[rng.integers(len(options))]


def with_flags(rng, here, finished):
    """One or two flags changed, misspelt or made up, in a new workdir or that of a finished run."""
    values, extra = dict(TINY), []
    for _ in range(rng.integers(1, 3)):
        leaf = pick(rng, list(fields.leaves(config.Config)))
        path = leaf.path
        values[path] = pick(rng, WORDS) if rng.random() < 0.4 else sensible(rng, leaf)
        if rng.random() < 0.1:
            values[path[:-1]] = values.pop(path)
        if rng.random() < 0.1:
            extra.append(pick(rng, TOKENS))
    workdir = here / 'run'
    if rng.random() < 0.3:
        shutil.copytree(finished, workdir)
    flags = flags_of(values) + extra
    return Case('flags', workdir, flags, '', same_end=False)


def sensible(rng, leaf):
    """A value that a field may have, whether or not it goes with the others."""
    if leaf.metadata['choices'] is not None:
        return pick(rng, leaf.metadata['choices'])
    if leaf.type is bool:
        return pick(rng, ['true', 'false'])
    if leaf.type is int:
        return str(rng.integers(1, 9))
    return pick(rng, ['0.5', '1', '0.01', '1e-4', '3'])


def with_a_config(rng, here, finished):
    """config.json of a finished run edited or damaged; started with its flags, longer, or none."""
    workdir = here / 'run'
    shutil.copytree(finished, workdir)
    path = workdir / 'config.json'
    text = path.read_bytes()
    how = rng.integers(3)
    if how == 0:
        done, text = damaged(rng, text)
    elif how == 1:
        tree = json.loads(text)
        done = edited(rng, tree)
        text = json.dumps(tree).encode()
    else:
        text = pick(rng, [b'[' * 100_000, b'{}', b'[]', b'null', b'3', b'\xff', b'{"config": 1}'])
        done = f'replaced by {text[:20]}'
    path.write_bytes(text)
    flags = pick(rng, [flags_of(TINY), flags_of(TINY | {'train.steps': '6'}), []])
    return Case('config.json', workdir, flags, done, same_end=False)


def with_arrays(rng, here, finished):
    """An archive of inputs and labels that is damaged, or holds other arrays than it should."""
    arrays = {}
    for split in ('train', 'test'):
        arrays[f'{split}_images'] = rng.standard_normal((60, 4)).astype(np.float32)
        arrays[f'{split}_labels'] = np.arange(60) % 3
    done, name = 'as it should be', pick(rng, list(arrays))
    with np.errstate(all='ignore'):
        odd = [
            arrays[name].astype(pick(rng, ['f8', 'i1', 'c8', 'U4', 'S3', '?', 'f2'])),
            arrays[name][: rng.integers(60)],
            arrays[name].reshape(-1, 2),
            arrays[name] * np.array(pick(rng, [np.nan, np.inf, -1, 1e30])),
            np.array(3),
            np.zeros((0, 4)),
        ]
    if rng.random() < 0.6:
        arrays[name] = odd[rng.integers(len(odd))]
        done = f'{name}: {arrays[name].dtype} {arrays[name].shape}'
    if rng.random() < 0.2:
        arrays[pick(rng, ['x', 'train', 'a/b', 'train_images.npy'])] = arrays.pop(name)
        done += ', renamed'
    file = here / 'beside' / 'data.npz'
    pick(rng, [np.savez, np.savez_compressed])(file, **arrays)
    if rng.random() < 0.5:
        done, data = damaged(rng, file.read_bytes())
        file.write_bytes(data)
    elif rng.random() < 0.2:
        with zipfile.ZipFile(file, 'a') as archive:
            archive.writestr('notes.txt', 'no array')
    values = {path: value for path, value in TINY.items() if not path.startswith('data.')}
    values |= {'data.name': 'npz', 'data.dir': str(file)}
    return Case('npz', here / 'run', flags_of(values), done, same_end=False)


def with_checkpoints(rng, here, finished):
    """Files of a finished run damaged, lost, exchanged, renamed, or strangers among them."""
    workdir = here / 'run'
    shutil.copytree(finished, workdir)
    folder = workdir / 'checkpoints'
    done = []
    for _ in range(rng.integers(1, 4)):
        files = sorted(path for path in workdir.rglob('*') if path.is_file())
        files = [path for path in files if path.name not in ('config.json', '.lock')]
        steps = sorted(p for p in folder.iterdir() if p.is_dir() and not p.is_symlink())
        what, path = rng.integers(7), pick(rng, files)
        if what <= 1:
            said, data = damaged(rng, path.read_bytes())
            path.write_bytes(data)
            done.append(f'{path.relative_to(workdir)} {said}')
        elif what == 2:
            path.unlink()
            done.append(f'{path.relative_to(workdir)} gone')
        elif what == 3 and steps:
            other = folder / pick(
                rng, ['4', '2', '1', '30', '007', 'x', '-1', '4.5', '٣', str(10**30)]
            )
            if not other.exists():
                old = pick(rng, steps)
                old.rename(other)
                done.append(f'{old.name} renamed {other.name}')
        elif what == 4 and steps:
            shutil.rmtree(one := pick(rng, steps))
            done.append(f'{one.name} gone')
        elif what == 5:
            stranger = folder / pick(rng, ['9', '.tmp-3', '.tmp-old-2', 'notes', '3'])
            if not stranger.exists():
                stranger.symlink_to(here / 'beside')
                done.append(f'a link {stranger.name}')
        else:
            a, b = pick(rng, files), pick(rng, files)
            if a.exists() and b.exists():
                b.write_bytes(a.read_bytes())
                done.append(f'{b.relative_to(workdir)} replaced by {a.relative_to(workdir)}')
    flags = pick(rng, [flags_of(TINY), flags_of(TINY | {'checkpoint.keep': '1'}), []])
    return Case('checkpoints', workdir, flags, '; '.join(done))


def with_a_name(rng, here, finished):
    """A workdir of a name that shells, libraries and people may take for something else."""
    letters = [
        *string.punctuation.replace('/', ''),
        ' ',
        'a',
        '1',
        'é',
        '漢',
        '\n',
        '\t',
        '\\',
        '\udcff',
    ]
    words = [
        '[16,16]',
        '[!a]',
        '**',
        '~',
        '$HOME',
        '%41',
        'gs:',
        's3:',
        'file:',
        'a\\b',
        '...',
        '-x',
    ]
    parts = []
    for _ in range(rng.integers(1, 3)):
        size = pick(rng, [1, 2, 5, 20, 120])
        parts.append(
            pick(rng, [pick(rng, words), ''.join(pick(rng, letters) for _ in range(size))])
        )
    parts = [part for part in parts if part not in ('.', '..')] or ['a']
    workdir = here / 'runs' / pathlib.Path(*parts)
    return Case('workdir', workdir, flags_of(TINY), '')


KINDS = [with_flags, with_a_config, with_checkpoints, with_arrays, with_checkpoints, with_a_name]


def damaged(rng, data):
    """(what was done, the bytes) of a file with a bit flipped, cut, grown, or of other bytes."""
    place = int(rng.integers(len(data))) if data else 0
    how = rng.integers(5)
    if how <= 1 and data:
        flipped = bytes([data[place] ^ (1 << int(rng.integers(8)))])
        return f'a bit of byte {place} flipped', data[:place] + flipped + data[place + 1 :]
    if how == 2:
        return f'cut to {place} bytes', data[:place]
    if how == 3:
        return f'a hole at {place}', data[:place] + b'\0' * 16 + data[place + 16 :]
    return 'other bytes after its end', data + rng.bytes(20)


def edited(rng, tree):
    """Changes one entry of a tree of JSON; returns what was done."""
    path = []
    while isinstance(tree, dict) and tree:
        path.append(pick(rng, sorted(tree)))
        if not isinstance(tree[path[-1]], dict) or rng.random() < 0.2:
            break
        tree = tree[path[-1]]
    how = rng.integers(3)
    if how == 0:
        del tree[path[-1]]
        return f'{".".join(path)} removed'
    if how == 1:
        tree[path[-1] + 'x'] = tree.pop(path[-1])
        return f'{".".join(path)} misspelt'
    tree[path[-1]] = pick(rng, JUNK)
    return f'{".".join(path)} = {tree[path[-1]]!r}'
