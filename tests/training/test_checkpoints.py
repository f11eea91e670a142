"""Checkpoints come back as they were saved, collection by collection, and old ones make room."""

import ctypes
import os
import struct
import sys
from concurrent import futures

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
import saved_steps
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from resnet_dyn import errors
from resnet_dyn.training import checkpoints

META = {'classes': 3, 'mean': [0.1], 'model': {'family': 'fully_connected'}}


def trees_of(step, networks=2):
    """Values that only this step has."""
    draw = np.random.default_rng(step).standard_normal
    return {
        'params': {
            'stem': {'kernel': draw((networks, 3, 4)).astype(np.float32)},
            'stage_0': {'layer_0': {'kernel': draw((networks, 5, 8, 8)).astype(np.float32)}},
        },
        'gammas': {'stage_0': {'norm_0': draw((networks, 5, 4)).astype(np.float32)}},
        'batch_stats': {'stage_0': {'mean': draw((networks, 5, 4)).astype(np.float32)}},
        'optimizer': {'0.trace.stem.kernel': draw((networks, 3, 4)).astype(np.float32)},
    }


def save(workdir, *steps, keep=None):
    saved_steps.save(workdir, {step: trees_of(step) for step in steps}, META, keep)


def assert_equal(found, expected):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for here, there in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert type(here) is np.ndarray
        assert here.dtype == there.dtype
        np.testing.assert_array_equal(here, there)


def without_optimizer(trees):
    return {name: tree for name, tree in trees.items() if name != 'optimizer'}


def contents(folder):
    return {
        path: (path.stat().st_mtime_ns, path.stat().st_size)
        for path in [folder, *folder.rglob('*')]
    }


def test_runs_of_one_process_are_saved_side_by_side(tmp_path):
    """Without a lock orbax fails here at once: it numbers its operations by process."""
    with futures.ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda name: save(tmp_path / name, *range(3)), 'ab'))
    for name in 'ab':
        assert checkpoints.steps(tmp_path / name) == [0, 1, 2]


def test_the_newest_step_comes_back_without_the_optimizer(tmp_path):
    save(tmp_path, 10, 20)
    assert checkpoints.steps(tmp_path) == [10, 20]
    step, variables, meta = checkpoints.restore(tmp_path)
    assert step == 20
    assert_equal(variables, without_optimizer(trees_of(20)))
    assert meta.items() >= {**META, 'step': 20}.items()


def test_a_step_that_was_asked_for_comes_back_and_another_is_refused_with_the_list(tmp_path):
    save(tmp_path, 10, 20)
    step, variables, _ = checkpoints.restore(tmp_path, 10)
    assert step == 10
    assert_equal(variables, without_optimizer(trees_of(10)))
    with pytest.raises(errors.CheckpointError, match='no step 15: it has 10, 20'):
        checkpoints.restore(tmp_path, 15)


def test_training_gets_the_optimizer_too_and_none_where_nothing_was_saved(tmp_path, capfd):
    assert checkpoints.restore_training(tmp_path) is None
    assert capfd.readouterr().err == ''
    checkpoints.Writer(tmp_path).close()
    assert checkpoints.restore_training(tmp_path) is None
    assert 'has no checkpoint: training starts at step 0' in capfd.readouterr().err
    save(tmp_path, 10)
    step, trees, _ = checkpoints.restore_training(tmp_path)
    assert step == 10
    assert_equal(trees, trees_of(10))


@pytest.mark.parametrize(
    'dtype', [np.float32, np.float64, np.float16, ml_dtypes.bfloat16, np.int32, np.uint8, bool]
)
def test_every_dtype_comes_back_bit_for_bit(tmp_path, dtype):
    tree = {'a': np.arange(6).reshape(2, 3).astype(dtype), 'b': {'c': np.ones(2, dtype)}}
    writer = checkpoints.Writer(tmp_path)
    writer.save(1, {'params': tree}, META)
    writer.close()
    assert_equal(checkpoints.restore(tmp_path)[1], {'params': tree})


def test_arrays_of_several_devices_are_saved_whole(tmp_path):
    devices = np.array(jax.devices())
    over_seeds = NamedSharding(Mesh(devices, ('seed',)), PartitionSpec('seed'))
    gammas_SL = jax.device_put(np.arange(12.0, dtype=np.float32).reshape(4, 3), over_seeds)
    writer = checkpoints.Writer(tmp_path)
    writer.save(1, {'gammas': {'g': gammas_SL}}, META)
    writer.close()
    assert_equal(checkpoints.restore(tmp_path)[1], {'gammas': {'g': np.asarray(gammas_SL)}})


def test_buffers_may_be_reused_as_soon_as_save_returns(tmp_path):
    advance = jax.jit(lambda x: x + 1, donate_argnums=0)
    writer = checkpoints.Writer(tmp_path)
    weights, host = jnp.zeros((2, 64)), np.zeros((2, 64), np.float32)
    for step in range(3):
        writer.save(step, {'params': {'device': weights, 'host': host}}, META)
        weights, host = advance(weights), np.add(host, 1, out=host)
    writer.close()
    for step in range(3):
        expected = np.full((2, 64), step, np.float32)
        found = checkpoints.restore(tmp_path, step)[1]
        assert_equal(found, {'params': {'device': expected, 'host': expected}})


def test_an_optimizer_state_is_saved_by_the_names_of_its_fields(tmp_path):
    weights = {'w': jnp.ones((2, 3))}
    optimizer = optax.adam(0.1).init(weights)
    writer = checkpoints.Writer(tmp_path)
    writer.save(1, {'params': weights, 'optimizer': optimizer, 'gammas': {}}, META)
    writer.close()
    _, trees, _ = checkpoints.restore_training(tmp_path)
    assert set(trees) == {'params', 'optimizer'}
    assert set(trees['optimizer']['0']) == {'count', 'mu', 'nu'}


def test_only_reads_what_it_names(tmp_path):
    save(tmp_path, 10)
    _, variables, meta = checkpoints.restore(tmp_path, only='gammas')
    assert_equal(variables, {'gammas': trees_of(10)['gammas']})
    assert meta['classes'] == 3
    _, variables, _ = checkpoints.restore(tmp_path, only=('params', 'optimizer'))
    assert_equal(variables, {name: trees_of(10)[name] for name in ('params', 'optimizer')})
    step, variables, meta = checkpoints.restore(tmp_path, only=())
    assert (step, variables, meta['classes']) == (10, {}, 3)


def test_only_refuses_a_collection_that_is_not_there(tmp_path):
    writer = checkpoints.Writer(tmp_path)
    writer.save(10, {'params': trees_of(10)['params']}, META)
    writer.close()
    with pytest.raises(errors.CheckpointError, match="no collection 'gammas': it has params"):
        checkpoints.restore(tmp_path, only='gammas')


@pytest.mark.skipif(sys.platform != 'linux', reason='inotify is of Linux')
def test_only_gammas_opens_no_file_of_the_other_collections(tmp_path):
    save(tmp_path, 10)
    opened = files_opened(
        tmp_path / 'checkpoints' / '10', lambda: checkpoints.restore(tmp_path, only='gammas')
    )
    assert {path.parts[0] for path in opened} == {'gammas', 'meta', 'manifest.json'}


def files_opened(folder, action):
    """The files below `folder` that this process opens in `action`, C++ threads included."""
    libc = ctypes.CDLL(None, use_errno=True)
    open_event, non_blocking = 0x20, os.O_NONBLOCK
    watcher = libc.inotify_init1(non_blocking)
    assert watcher >= 0
    folders = {
        libc.inotify_add_watch(watcher, str(path).encode(), open_event): path
        for path in [folder, *folder.rglob('*')]
        if path.is_dir()
    }
    action()
    events, opened = os.read(watcher, 1 << 20), set()
    os.close(watcher)
    while events:
        watch, _, _, length = struct.unpack_from('iIII', events)
        name = events[16 : 16 + length].rstrip(b'\0').decode()
        events = events[16 + length :]
        path = folders[watch] / name
        if path.is_file():
            opened.add(path.relative_to(folder))
    return opened


def test_reading_changes_nothing_on_disk(tmp_path):
    checkpoints.steps(tmp_path)
    with pytest.raises(errors.CheckpointError):
        checkpoints.restore(tmp_path)
    assert list(tmp_path.iterdir()) == []
    save(tmp_path, 10, 20)
    before = contents(tmp_path)
    checkpoints.steps(tmp_path)
    checkpoints.restore(tmp_path)
    checkpoints.restore_training(tmp_path)
    assert contents(tmp_path) == before


def test_no_folder_and_an_empty_one_are_refused_with_what_to_do(tmp_path):
    with pytest.raises(errors.CheckpointError, match='is no folder: give the workdir'):
        checkpoints.restore(tmp_path / 'nowhere')
    (tmp_path / 'checkpoints').mkdir()
    with pytest.raises(errors.CheckpointError, match=r'no checkpoint.*launch\.train'):
        checkpoints.restore(tmp_path)
    assert checkpoints.steps(tmp_path) == checkpoints.steps(tmp_path / 'nowhere') == []


def test_keep_keeps_the_last_whole_steps(tmp_path):
    save(tmp_path, 1, 2, 3, keep=2)
    assert checkpoints.steps(tmp_path) == [2, 3]
    next((tmp_path / 'checkpoints' / '3').glob('params/d/*')).unlink()
    save(tmp_path, 4, keep=2)
    assert checkpoints.steps(tmp_path) == [2, 4]
    assert sorted(os.listdir(tmp_path / 'checkpoints')) == ['2', '3', '4']


def test_keep_never_drops_step_0(tmp_path):
    save(tmp_path, 0, 1, 2, 3, keep=2)
    assert checkpoints.steps(tmp_path) == [0, 2, 3]
    save(tmp_path, 4, keep=1)
    assert checkpoints.steps(tmp_path) == [0, 4]


def test_keep_counts_and_drops_none_that_is_spared(tmp_path):
    writer = checkpoints.Writer(tmp_path, keep=2, spared=(1, 2, 8))
    for step in (1, 2, 3, 4, 5):
        writer.save(step, trees_of(step), META)
    writer.close()
    assert checkpoints.steps(tmp_path) == [1, 2, 4, 5]


def test_a_workdir_may_be_named_relative_to_where_we_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    writer = checkpoints.Writer('run')
    monkeypatch.chdir('/')
    writer.save(1, trees_of(1), META)
    writer.close()
    assert checkpoints.steps(tmp_path / 'run') == [1]


def test_saving_the_same_arrays_again_changes_nothing(tmp_path, capfd):
    save(tmp_path, 10)
    before = contents(tmp_path / 'checkpoints')
    save(tmp_path, 10)
    assert contents(tmp_path / 'checkpoints') == before
    assert capfd.readouterr().err == ''


def test_other_arrays_of_the_same_step_put_the_first_ones_aside(tmp_path, capfd):
    save(tmp_path, 10)
    writer = checkpoints.Writer(tmp_path)
    writer.save(10, trees_of(11), META)
    writer.close()
    assert_equal(checkpoints.restore(tmp_path)[1], without_optimizer(trees_of(11)))
    assert checkpoints.steps(tmp_path) == [10]
    assert 'kept as damaged-10-0' in capfd.readouterr().err


def test_a_save_that_fails_in_the_background_is_raised_by_wait(tmp_path):
    writer = checkpoints.Writer(tmp_path)
    writer.save(1, {'params': {'empty': np.zeros((2, 0), np.float32)}}, META)
    with pytest.raises(errors.CheckpointError, match='step 1 could not be written'):
        writer.wait()
    writer.save(2, trees_of(2), META)
    writer.close()
    assert checkpoints.steps(tmp_path) == [2]


def test_orbax_alone_opens_the_trees_of_a_checkpoint(tmp_path):
    save(tmp_path, 3)
    for name, tree in trees_of(3).items():
        found = ocp.StandardCheckpointer().restore(tmp_path / 'checkpoints' / '3' / name)
        jax.tree.map(np.testing.assert_array_equal, found, tree)
