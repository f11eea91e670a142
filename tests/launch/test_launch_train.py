"""launch.train as a user meets it: help, bad starts, damaged workdirs, signals and kills."""

import os
import pathlib
import random
import shutil
import signal
import time

import jax
import numpy as np
import pytest

from launch import main
from resnet_dyn import config
from resnet_dyn.training import checkpoints, loop, metrics

pytestmark = pytest.mark.usefixtures('shared_programs')

LONG = (  # flags after those of the short run
    '--config.train.steps=500',
    '--config.checkpoint.every=50',
    '--config.checkpoint.keep=3',
    '--config.log.every=25',
    '--config.log.evaluate=250',
    '--config.log.record=250',
    '--config.log.tensorboard=true',
)


@pytest.fixture
def copy(finished, tmp_path):
    """A copy of the short run's workdir, to be harmed."""
    return shutil.copytree(finished, tmp_path / 'copy')


def _assert_refused(result, *words):
    status, _, err = result
    assert status == 1, err
    assert 'Traceback' not in err and err.count('\n') == 1 and err.startswith('python -m launch.')
    for word in words:
        assert word in err


def _contents(folder):
    return {path: path.read_bytes() for path in folder.rglob('*') if path.is_file()}


def test_help_names_every_field_and_is_no_failure(launched):
    status, out, err = launched('train', '--help')
    assert (status, err) == (0, '')
    for leaf in config.leaves():
        assert f'config.{leaf.path}:' in out
    assert '--workdir' in out and 'python -m launch.train' in out


def test_bad_flags_are_refused_in_a_paragraph(launched, called, tmp_path):
    workdir = f'--workdir={tmp_path / "run"}'
    resnet = '--config.model.family=cifar_resnet'
    _assert_refused(launched('train', workdir, '--config.model.dept=20'), 'config.model.depth')
    for flags, words in (
        ((workdir, '--config.data.name=imagenette'), ['imagenette', 'gaussians', 'cifar10']),
        ((workdir, '--config.train.batch_size=50000'), ['50000', '20000']),
        ((workdir, '--config.train.batch_size=1'), ['batch_size=1', 'config.model.norm=none']),
        ((workdir, '--noconfig.train.nesterov=true'), ['nesterov']),
        ((workdir, resnet, '--config.model.depth=21'), ['21', '20 and 26']),
        ((workdir, resnet), ['needs images', 'fully_connected']),
        ((workdir, 'config.seeds=3'), ['config.seeds=3', '--name=value']),
        ((), ['--workdir']),
        (('--workdir= ',), ["--workdir=' ' is blank"]),
        ((f'--workdir={tmp_path / ("x" * 300)}',), ['give it a shorter name']),
    ):
        _assert_refused(called('train', *flags), *words)
    assert not any(tmp_path.iterdir())


def test_vectors_for_a_net_of_convolutions_are_refused_before_anything_is_written(called, tmp_path):
    rng = np.random.default_rng(0)
    arrays = {}
    for split, size in (('train', 64), ('test', 30)):
        arrays[f'{split}_images'] = rng.standard_normal((size, 4)).astype(np.float32)
        arrays[f'{split}_labels'] = np.arange(size) % 3
    np.savez(tmp_path / 'own.npz', **arrays)
    flags = [f'--workdir={tmp_path / "run"}', '--config.data.name=npz', '--config.seeds=2']
    flags += [f'--config.data.dir={tmp_path / "own.npz"}', '--config.log.tensorboard=false']
    flags += ['--config.train.batch_size=16', '--config.train.steps=2']
    flags += ['--config.train.schedule=constant']
    refused = called('train', *flags, '--config.model.family=cifar_resnet')
    _assert_refused(refused, 'cifar_resnet', '(4,)', 'fully_connected')
    assert not (tmp_path / 'run').exists()
    small = ('--config.model.depth=4', '--config.model.width=8')
    status, out, err = called('train', *flags, *small)
    assert (status, err) == (0, '') and 'inputs of 4, 3 classes, 64 training' in out


def test_a_config_json_that_was_edited_is_refused_by_its_field(called, short, copy):
    text = (copy / 'config.json').read_text()
    (copy / 'config.json').write_text(text.replace('"seeds": 2', '"seeds": "2"'))
    before = _contents(copy)
    for flags in (short, ()):
        refused = called('train', f'--workdir={copy}', *flags)
        _assert_refused(refused, str(copy / 'config.json'), "seeds='2'", 'whole number')
    assert _contents(copy) == before


def test_the_workdir_alone_goes_on_with_the_run_in_it_which_is_read_once(
    called, finished, copy, monkeypatch
):
    for step in (15, 20):
        shutil.rmtree(copy / 'checkpoints' / str(step))
    parsed, read = [], []
    build, read_bytes = config._build, pathlib.Path.read_bytes
    monkeypatch.setattr(config, '_build', lambda *args: parsed.append(1) or build(*args))
    monkeypatch.setattr(
        pathlib.Path, 'read_bytes', lambda path: read.append(path.name) or read_bytes(path)
    )
    status, out, err = called('train', f'--workdir={copy}')
    assert (status, err) == (0, '') and 'restored at step 10' in out
    assert 'no field of the config is given' in out.splitlines()[0]
    assert (len(parsed), read.count('config.json')) == (1, 1)
    _assert_same_end(copy, finished)


def test_flags_that_decide_nothing_go_on_with_the_run_and_an_absent_run_is_said(
    called, copy, tmp_path, monkeypatch
):
    kept = ('--config.checkpoint.keep=1', '--config.log.every=3')
    status, out, err = called('train', f'--workdir={copy}', *kept)
    assert (status, err) == (0, '') and 'is finished: nothing to do' in out
    assert 'no field of the config but config.checkpoint.keep, config.log.every is given' in out
    monkeypatch.setattr(loop.datasets, 'load', lambda data: 1 / 0)
    new, said = tmp_path / 'typo', []
    with pytest.raises(ZeroDivisionError):
        loop.train(None, new, said.append)
    assert said == [f"no run in {new}: the default run (the paper's) is trained"]


def test_a_refusal_of_another_config_says_how_to_take_that_of_the_run(called, copy):
    refused = called('train', f'--workdir={copy}', '--config.seeds=2')
    _assert_refused(refused, 'config.model.depth', 'leave all fields of the config out')


@pytest.mark.parametrize(
    ('result', 'expected'),
    [
        (loop.Result(20, True, [0.5, 0.5], {}), 0),
        (loop.Result(20, True, [float('nan'), 0.5], {0: 17}), 3),
        (loop.Result(18, False, [float('nan'), 0.5], {0: 17}), 42),
    ],
)
def test_the_exit_status_tells_done_from_diverged_and_stopped(
    called, tmp_path, monkeypatch, result, expected
):
    monkeypatch.setattr(loop, 'train', lambda *args, **options: result)
    assert called('train', f'--workdir={tmp_path}') == (expected, '', '')


def test_a_workdir_that_will_not_do_is_refused_and_left_alone(called, short, copy, tmp_path):
    file = tmp_path / 'file'
    file.write_text('mine')
    _assert_refused(called('train', f'--workdir={file}', *short), str(file), 'folder')
    assert file.read_text() == 'mine'
    before = _contents(copy)
    other = called('train', f'--workdir={copy}', *short, '--config.seed=5', '--config.seeds=3')
    _assert_refused(other, 'config.seed:', 'config.seeds:', 'another workdir')
    assert _contents(copy) == before


def test_an_absent_data_set_is_refused_with_the_folder_looked_in(called, tmp_path):
    flags = ('--config.data.name=cifar10', '--config.model.family=cifar_resnet')
    folders = (f'--config.data.dir={tmp_path}', f'--config.data.cache={tmp_path / "cache"}')
    result = called('train', f'--workdir={tmp_path / "run"}', *flags, *folders)
    _assert_refused(result, str(tmp_path))
    assert not (tmp_path / 'run').exists()


def test_a_finished_run_started_again_says_so(called, short, copy):
    before = _contents(copy)
    status, out, err = called('train', f'--workdir={copy}', *short)
    assert (status, err) == (0, '') and 'finished' in out and _contents(copy) == before


def test_damaged_checkpoints_are_said_aloud_and_trained_again(called, short, finished, copy):
    for step, harm in ((20, _truncated), (15, _one_bit_flipped)):
        files = (path for path in (copy / 'checkpoints' / str(step)).rglob('*') if path.is_file())
        largest = max(files, key=lambda path: path.stat().st_size)
        largest.write_bytes(harm(largest.read_bytes()))
    status, out, err = called('train', f'--workdir={copy}', *short)
    assert status == 0 and 'restored at step 10' in out
    assert err.startswith('warning: ') and 'lost step 20' in err and 'step 15' in err
    _assert_same_end(copy, finished)


def _truncated(data):
    return data[: len(data) // 2]


def _one_bit_flipped(data):
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def test_checkpoints_of_other_steps_or_runs_are_said_aloud_and_trained_again(
    called, short, finished, copy
):
    folder = copy / 'checkpoints'
    _, trees, meta = checkpoints.restore_training(copy)
    shutil.rmtree(folder / '20')
    writer = checkpoints.Writer(copy)
    three = jax.tree.map(lambda leaf: np.concatenate([leaf, leaf[:1]]), trees)
    writer.save(20, three, meta | {'run': meta['run'] | {'seeds': 3}})
    writer.close()
    shutil.rmtree(folder / '15')
    (folder / '5').rename(folder / '15')
    status, out, err = called('train', f'--workdir={copy}', *short)
    assert status == 0 and 'restored at step 10' in out
    assert 'lost step 20 (it is of another run: seeds is 3 there and 2 here)' in err
    assert 'step 15 (its folder says step 15, and what is in it is of step 5)' in err
    _assert_same_end(copy, finished)


def test_an_empty_checkpoint_folder_is_said_aloud_and_training_starts_over(
    called, short, finished, copy
):
    shutil.rmtree(copy / 'checkpoints')
    (copy / 'checkpoints').mkdir()
    status, _, err = called('train', f'--workdir={copy}', *short)
    assert status == 0 and err.startswith('warning: ') and 'step 0' in err
    _assert_same_end(copy, finished)


def test_a_run_that_is_stopped_and_killed_ends_as_if_it_was_not(
    start, called, short, tmp_path, monkeypatch
):
    say = main.say

    def stop(*flags):
        """Hears a signal at its first step, within this process."""
        steps = []

        def heard(line):
            say(line)
            if line.startswith('step '):
                steps.append(line)
                if len(steps) == 1:
                    os.kill(os.getpid(), signal.SIGTERM)

        with monkeypatch.context() as patch:
            patch.setattr(main, 'say', heard)
            return called('train', *flags)

    flags = (*short, *LONG, '--config.checkpoint.every=100')
    _interrupt(start, called, stop, flags, tmp_path, kills=1)


@pytest.mark.slow
def test_a_run_killed_at_20_random_moments_ends_as_if_it_was_not(start, called, short, tmp_path):
    def stop(*flags):
        with start('train', *flags) as process:
            _wait_for_a_line(process)
            process.terminate()
            out, err = process.communicate()
        return process.returncode, out, err

    flags = (*short, *LONG, '--config.train.steps=1500')
    _interrupt(start, called, stop, flags, tmp_path, kills=20)


def _interrupt(start, called, stop, flags, tmp_path, kills):
    """A run told to stop once, killed -9 so often, and let finish, against one left in peace."""
    peace, disturbed = tmp_path / 'peace', tmp_path / 'disturbed'
    began = time.perf_counter()
    assert called('train', f'--workdir={peace}', *flags)[0] == 0
    length = time.perf_counter() - began
    moments = random.Random(1)  # whose first kill comes after some steps
    status, out, _ = stop(f'--workdir={disturbed}', *flags)
    assert status == 42 and 'all saved' in out
    assert checkpoints.steps(disturbed)
    for _ in range(kills):
        with start('train', f'--workdir={disturbed}', *flags) as process:
            if moments.random() < 0.8:
                _wait_for_a_line(process)
                time.sleep(moments.uniform(0, length / 20))
            else:
                time.sleep(moments.uniform(0, length / 2))
            process.kill()
            _, err = process.communicate()
        assert process.returncode in (-9, 0) and 'Traceback' not in err
    status, _, err = called('train', f'--workdir={disturbed}', *flags)
    assert (status, err) == (0, '')
    _assert_same_end(disturbed, peace)
    for name, values in (('metrics.jsonl', 'test_accuracy'), ('dynamics.jsonl', 'weight_norm')):
        found, expected = (
            [line for line in metrics.read(workdir / name) if values in line]
            for workdir in (disturbed, peace)
        )
        assert found == expected


def _wait_for_a_line(process):
    for line in process.stdout:
        if line.startswith('step '):
            return


def _assert_same_end(workdir, other):
    found, expected = (checkpoints.restore_training(w)[:2] for w in (workdir, other))
    jax.tree.map(np.testing.assert_array_equal, found, expected)
