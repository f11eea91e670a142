"""A damaged checkpoint never passes for a sound one, and a killed process loses none."""

import itertools
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
import saved_steps

from resnet_dyn import errors
from resnet_dyn.training import checkpoints, items, manifest

META = {'classes': 3}


def trees_of(step):
    draw = np.random.default_rng(step).standard_normal
    return {
        name: {'stage_0': {'w': draw((2, 5, 8)).astype(np.float32)}, 'v': draw((2, 3))}
        for name in ('params', 'gammas', 'optimizer')
    }


def save(workdir, *steps):
    saved_steps.save(workdir, {step: trees_of(step) for step in steps}, META)


def same(found, expected):
    pairs = jax.tree.map(lambda a, b: a.dtype == b.dtype and (a == b).all(), found, expected)
    return all(jax.tree.leaves(pairs))


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
    """A run with the steps 10 and 20; every test puts back what it changes."""
    folder = tmp_path_factory.mktemp('run')
    save(folder, 10, 20)
    return folder


@pytest.fixture
def copy(workdir, tmp_path):
    """A copy of it, to be harmed."""
    return shutil.copytree(workdir, tmp_path / 'run')


def files(workdir):
    newest = workdir / 'checkpoints' / '20'
    return [path for path in sorted(newest.rglob('*')) if path.is_file()]


def flip(data, where):
    return data[:where] + bytes([data[where] ^ 0xFF]) + data[where + 1 :]


def damages(data):
    for place in (0, len(data) // 2):
        yield f'byte {place} flipped', flip(data, place)
    yield 'last byte lost', data[:-1]
    yield 'emptied', b''
    yield 'missing', None


def each_damage(workdir):
    """Damages one file after the other, in every way, and mends it again."""
    for path in files(workdir):
        data = path.read_bytes()
        for name, other in damages(data):
            if other is None:
                path.unlink()
            else:
                path.write_bytes(other)
            yield path.relative_to(workdir), name
            path.write_bytes(data)


def test_any_damage_of_the_newest_step_ends_in_sound_values_and_is_said(workdir, capfd):
    fallen_back = set()
    for path, damage in itertools.islice(each_damage(workdir), 0, None, 2):  # 2 or 3 a file
        step, trees, meta = checkpoints.restore_training(workdir)
        said = capfd.readouterr().err
        assert same(trees, trees_of(step)), (path, damage)
        assert meta['step'] == step
        assert said.count('\n') == (step == 10), (path, damage, said)
        assert ('lost step 20' in said) == (step == 10), (path, damage, said)
        if step == 10:
            fallen_back.add(path)
    unread = {'_CHECKPOINT_METADATA', 'commit_success.txt'}
    assert {path.name for path in fallen_back} >= {'_METADATA', 'manifest.json', 'metadata'}
    in_items = {path.relative_to(workdir) for path in files(workdir)}
    assert fallen_back >= {path for path in in_items if path.name not in unread}


def test_a_damaged_step_that_was_asked_for_never_falls_back(workdir, capfd):
    refused = 0
    for path, damage in each_damage(workdir):
        try:
            step, variables, _ = checkpoints.restore(workdir, 20, only='params')
        except errors.CheckpointError as error:
            refused += 1
            assert 'step 20' in str(error)
            assert 'Ask for another (10' in str(error)
            continue
        assert step == 20, (path, damage)
        assert same(variables, {'params': trees_of(20)['params']}), (path, damage)
    assert refused > len(files(workdir))
    assert capfd.readouterr().err == ''


def test_a_step_is_whole_only_with_every_file_in_its_size_even_for_what_is_not_read(workdir):
    for path, damage in each_damage(workdir):
        kept = 'flipped' in damage and path.name != manifest.NAME
        found = checkpoints.restore(workdir, only='gammas')[0]
        if not kept and path.name != manifest.NAME:
            assert checkpoints.steps(workdir) == [10], (path, damage)
            assert found == 10, (path, damage)
        elif 'gammas' not in path.parts and 'meta' not in path.parts and kept:
            assert found == 20, (path, damage)


def test_when_no_step_is_sound_every_loss_is_named(workdir):
    undo = {}
    for step in (10, 20):
        path = workdir / 'checkpoints' / str(step) / manifest.NAME
        undo[path] = path.read_bytes()
        path.unlink()
    with pytest.raises(errors.CheckpointError, match=r'step 20 .*; step 10 .*move that'):
        checkpoints.restore(workdir)
    with pytest.raises(errors.CheckpointError, match='step 10'):
        checkpoints.restore_training(workdir)
    for path, data in undo.items():
        path.write_bytes(data)


def test_an_array_other_than_the_one_saved_is_seen_though_every_file_agrees(copy):
    folder = copy / 'checkpoints' / '10'
    (folder / 'params').rename(folder / 'aside')
    (folder / 'gammas').rename(folder / 'params')
    (folder / 'aside').rename(folder / 'gammas')
    (folder / manifest.NAME).unlink()
    manifest.write(folder)
    with pytest.raises(errors.CheckpointError, match='/stage_0/w fails its CRC32'):
        checkpoints.restore(copy, 10)


def test_a_damaged_step_is_put_aside_when_it_is_saved_again(copy, capfd):
    for n in range(2):
        path = files(copy)[-1]
        path.write_bytes(path.read_bytes()[:-1])
        save(copy, 20)
        assert checkpoints.steps(copy) == [10, 20]
        assert same(checkpoints.restore_training(copy)[1], trees_of(20))
        assert f'kept as damaged-20-{n}' in capfd.readouterr().err
        assert (copy / 'checkpoints' / f'damaged-20-{n}').is_dir()


def test_what_unfinished_saves_left_is_ignored_and_removed_by_the_next_writer(copy):
    folder = copy / 'checkpoints'
    rubbish = ['30.orbax-checkpoint-tmp', '.tmp-30', '.tmp-30.orbax-checkpoint-tmp']
    for name in rubbish:
        (folder / name / 'params').mkdir(parents=True)
    (folder / 'notes').mkdir()
    assert checkpoints.steps(copy) == [10, 20]
    assert checkpoints.restore(copy)[0] == 20
    checkpoints.Writer(copy).close()
    assert sorted(path.name for path in folder.iterdir()) == ['10', '20', 'notes']


@pytest.mark.parametrize('point', ['Checkpointer.save', 'manifest.write', 'Path.rename'])
def test_a_save_that_dies_at_any_point_leaves_the_steps_before(copy, monkeypatch, point):
    class Killed(BaseException):
        pass

    path = files(copy)[-1]
    path.write_bytes(path.read_bytes()[:-1])
    owner, name = {
        'Checkpointer.save': (items.ocp.Checkpointer, 'save'),
        'manifest.write': (manifest, 'write'),
        'Path.rename': (pathlib.Path, 'rename'),
    }[point]
    original, calls = getattr(owner, name), []

    def die(*args, **kwargs):
        calls.append(args)
        if point != 'Path.rename' or len(calls) == 2:
            raise Killed
        return original(*args, **kwargs)

    writer = checkpoints.Writer(copy)
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, die)
        writer.save(20, trees_of(20), META)
        with pytest.raises(Killed):
            writer.close()
    assert checkpoints.steps(copy) == [10]
    save(copy, 20)
    assert checkpoints.steps(copy) == [10, 20]


ENDLESS = """
import sys
sys.path.insert(0, {tests!r})
import test_checkpoint_damage as shared
from resnet_dyn.training import checkpoints
workdir = sys.argv[1]
found = checkpoints.restore_training(workdir)
step = found[0] if found else 0
assert not found or shared.same(found[1], shared.trees_of(step))
print('start', step, flush=True)
writer = checkpoints.Writer(workdir, keep=3)
while True:
    step += 1
    writer.save(step, shared.trees_of(step), shared.META)
    writer.wait()
    print('done', step, flush=True)
"""


@pytest.mark.slow
def test_kill_9_in_the_middle_of_saves_loses_nothing_that_was_said_to_be_done(tmp_path):
    rng = np.random.default_rng(0)
    program, last = ENDLESS.format(tests=str(pathlib.Path(__file__).parent)), 0
    for _ in range(2):
        child = subprocess.Popen(
            [sys.executable, '-c', program, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout.readline() == f'start {last}\n'
        for _ in range(3):
            child.stdout.readline()
        time.sleep(rng.uniform(0, 0.1))
        child.send_signal(signal.SIGKILL)
        said = child.stdout.read().split()
        child.wait()
        child.stdout.close()
        step, trees, _ = checkpoints.restore_training(tmp_path)
        assert step >= int(said[-1] if said else last + 3)
        assert same(trees, trees_of(step))
        assert step in checkpoints.steps(tmp_path)
        last = step
