"""A workdir takes the run that it belongs to, refuses any other aloud, and opens in one line."""

import json
import operator
import subprocess
import sys

import jax
import numpy as np
import pytest

from resnet_dyn import config, errors, fields
from resnet_dyn.data import datasets
from resnet_dyn.models import presets, seed_axis
from resnet_dyn.training import checkpoints, metrics, runs

CONFIG = config.parse(
    {
        'seed': 3,
        'seeds': 2,
        'model.depth': 4,
        'model.width': 6,
        'train.steps': 20,
        'train.batch_size': 8,
        'data.train_size': 40,
        'data.classes': 5,
    }
)


@pytest.fixture
def dataset():
    rng = np.random.default_rng(0)

    def split(size):
        inputs = rng.standard_normal((size, 7)).astype(np.float32)
        return datasets.Split(inputs, rng.integers(0, 5, size).astype(np.int32))

    ones = np.ones(7, np.float32)
    source = datasets.Source('gaussians', 'a1' * 32, '')
    return datasets.Dataset(split(40), split(10), 0.1 * ones, ones, 5, source)


def changed(**changes):
    return fields.replace(
        CONFIG, {name.replace('__', '.'): value for name, value in changes.items()}
    )


def begin(workdir, dataset, cfg=CONFIG):
    with runs.prepare(workdir, cfg, dataset) as run:
        return run


def contents(folder):
    return {
        path: (path.stat().st_mtime_ns, path.stat().st_size)
        for path in [folder, *folder.rglob('*')]
    }


def finish(run, dataset, variables):
    """What a run leaves behind when it is done."""
    writer = checkpoints.Writer(run.workdir)
    writer.save(run.total_steps, variables, runs.meta(run, dataset))
    writer.close()
    record = metrics.JsonLines(run.workdir / runs.METRICS)
    record.write(run.total_steps, test_accuracy=[0.5, 0.5])
    record.close()


def test_a_new_workdir_gets_a_config_json_that_says_all(tmp_path, dataset):
    run = begin(tmp_path / 'deep' / 'run', dataset)
    assert (run.total_steps, run.finished) == (20, False)
    said = json.loads((run.workdir / 'config.json').read_text())
    assert said['config'] == config.to_dict(run.config)
    assert said['config']['train']['carry'] in ('vmap', 'map')
    assert said['config']['model']['block'] == 'paper'
    assert said['code']['version']
    assert said['device']['platform'] == 'cpu'
    assert 'pytest' in said['command']
    assert said['data']['source']['digest'] == dataset.source.digest
    assert runs.read_config(run.workdir) == run.config


def test_the_same_config_goes_on_and_writes_nothing(tmp_path, dataset):
    begin(tmp_path, dataset)
    before = contents(tmp_path)
    assert begin(tmp_path, dataset) == begin(tmp_path, dataset)
    assert contents(tmp_path) == before


def test_the_carry_of_the_workdir_is_kept(tmp_path, dataset, monkeypatch):
    begin(tmp_path, dataset, changed(train__seed_axis='map'))
    assert begin(tmp_path, dataset).config.train.seed_axis == 'map'
    with pytest.raises(errors.RunError, match=r'config\.train\.carry'):
        runs.check(tmp_path, changed(train__seed_axis='vmap'))
    new = begin(tmp_path / 'checkpoints' / 'other', dataset)
    assert new.config == seed_axis.settle(CONFIG)


def test_neutral_fields_and_more_steps_may_change_and_are_written_down(tmp_path, dataset):
    begin(tmp_path, dataset)
    longer = changed(train__steps=30, data__dir='elsewhere', checkpoint__keep=2, log__every=5)
    assert begin(tmp_path, dataset, longer).total_steps == 30
    assert runs.read_config(tmp_path).checkpoint.keep == 2
    said = json.loads((tmp_path / 'config.json').read_text())
    assert said['total_steps'] == 30
    assert said['data']['classes'] == 5
    in_epochs = changed(train__steps=None, train__epochs=7.0)
    assert begin(tmp_path, dataset, in_epochs).total_steps == 35


@pytest.mark.parametrize(
    ('changes', 'named'),
    [
        ({'model__depth': 5}, [r'config\.model\.depth: the workdir has 4, now 5']),
        ({'seed': 4, 'train__momentum': 0.5}, [r'config\.seed', r'config\.train\.momentum']),
        ({'train__steps': 19}, ['20 steps long, and now 19', r'config\.train\.steps=20']),
        ({'train__steps': None, 'train__epochs': 3.0}, ['20 steps long, and now 15']),
    ],
)
def test_another_config_is_refused_by_name_and_nothing_is_touched(
    tmp_path, dataset, changes, named
):
    begin(tmp_path, dataset)
    before = contents(tmp_path)
    for start in (runs.check, lambda *args: runs.prepare(*args, dataset)):
        with pytest.raises(errors.RunError) as caught:
            start(tmp_path, changed(**changes))
        for pattern in named:
            assert caught.match(pattern)
        assert '\n' not in str(caught.value)
    assert contents(tmp_path) == before


def test_other_data_are_refused(tmp_path, dataset):
    begin(tmp_path, dataset)
    other = dataset._replace(source=dataset.source._replace(digest='b2' * 32))
    with pytest.raises(errors.RunError, match=r'other data.*a1a1.*b2b2'):
        runs.prepare(tmp_path, CONFIG, other)


def test_a_folder_that_is_no_workdir_is_refused(tmp_path, dataset):
    (tmp_path / 'file').write_text('mine')
    (tmp_path / 'folder').mkdir()
    (tmp_path / 'folder' / 'thesis.tex').write_text('mine')
    before = contents(tmp_path)
    for workdir, reason in [
        (tmp_path / 'file', 'is a file'),
        (tmp_path / 'file' / 'below', 'is a file'),
        (tmp_path / 'folder', 'is not empty'),
    ]:
        with pytest.raises(errors.RunError, match=reason):
            runs.prepare(workdir, CONFIG, dataset)
    assert contents(tmp_path) == before


def test_a_folder_that_cannot_be_written_to_is_refused(tmp_path, dataset, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, 'Permission denied')

    monkeypatch.setattr(runs.os, 'open', refuse)
    with pytest.raises(errors.RunError, match=r'cannot be used .*Permission denied'):
        runs.prepare(tmp_path, CONFIG, dataset)


@pytest.mark.parametrize('damage', [b'', b'{"config": {', b'[]', b'{"config": {"sed": 1}}'])
def test_a_damaged_config_json_is_refused_and_kept(tmp_path, dataset, damage):
    begin(tmp_path, dataset)
    (tmp_path / 'config.json').write_bytes(damage)
    for use in (
        lambda: runs.prepare(tmp_path, CONFIG, dataset),
        lambda: runs.read_config(tmp_path),
    ):
        with pytest.raises(errors.RunError, match='damaged'):
            use()
    assert (tmp_path / 'config.json').read_bytes() == damage


def test_a_start_that_was_killed_before_its_config_was_written_starts_again(tmp_path, dataset):
    (tmp_path / '.lock').touch()
    (tmp_path / '.config.json.tmp').write_text('{"conf')
    begin(tmp_path, dataset)
    assert runs.read_config(tmp_path).model.depth == 4


def test_two_processes_do_not_train_in_one_workdir(tmp_path, dataset, monkeypatch):
    monkeypatch.setattr(runs, '_LOCK_TRIES', 2)
    with (
        runs.prepare(tmp_path, CONFIG, dataset),
        pytest.raises(errors.RunError, match='another process is training'),
    ):
        runs.prepare(tmp_path, CONFIG, dataset)
    begin(tmp_path, dataset)


def test_a_killed_process_lets_go_of_its_workdir(tmp_path, dataset, monkeypatch):
    monkeypatch.setattr(runs, '_LOCK_TRIES', 1)
    begin(tmp_path, dataset)
    hold = (
        'import fcntl, sys, time; file = open(sys.argv[1]); fcntl.flock(file, fcntl.LOCK_EX); '
        'print(flush=True); time.sleep(60)'
    )
    child = subprocess.Popen(
        [sys.executable, '-c', hold, str(tmp_path / '.lock')], stdout=subprocess.PIPE
    )
    child.stdout.readline()
    with pytest.raises(errors.RunError, match='another process'):
        runs.prepare(tmp_path, CONFIG, dataset)
    child.kill()
    child.wait()
    child.stdout.close()
    begin(tmp_path, dataset)


def test_a_finished_run_says_so_and_changes_nothing(tmp_path, dataset):
    run = begin(tmp_path, dataset)
    finish(run, dataset, {'params': {'w': np.ones((2, 3), np.float32)}})
    before = contents(tmp_path)
    again = begin(tmp_path, dataset, changed(log__every=3))
    assert (again.finished, again.lock) == (True, None)
    assert contents(tmp_path) == before
    assert not begin(tmp_path, dataset, changed(train__steps=30)).finished


def test_a_run_without_its_last_line_or_a_sound_last_checkpoint_is_not_finished(tmp_path, dataset):
    run = begin(tmp_path, dataset)
    finish(run, dataset, {'params': {'w': np.ones((2, 3), np.float32)}})
    last = tmp_path / runs.METRICS
    line = last.read_bytes()
    last.write_bytes(line[:-1])
    assert not begin(tmp_path, dataset).finished
    last.write_bytes(line)
    assert begin(tmp_path, dataset).finished
    (data, *_) = (tmp_path / 'checkpoints' / '20' / 'params' / 'd').iterdir()
    kept = data.read_bytes()
    data.write_bytes(bytes([kept[0] ^ 1]) + kept[1:])
    assert not begin(tmp_path, dataset).finished
    data.unlink()
    assert not begin(tmp_path, dataset).finished


def test_the_initial_networks_are_those_of_runs_of_their_seeds_alone(tmp_path, dataset):
    begin(tmp_path, dataset)
    together = runs.initial(tmp_path)
    for s in range(2):
        alone = changed(seed=CONFIG.seed + s, seeds=1)
        begin(tmp_path / 'pictures' / str(s), dataset, alone)
        for one, both in zip(
            jax.tree.leaves(runs.initial(tmp_path / 'pictures' / str(s))),
            jax.tree.leaves(together),
            strict=True,
        ):
            np.testing.assert_array_equal(one[0], both[s])


def test_open_run_gives_one_network_ready_to_apply(tmp_path, dataset):
    run = begin(tmp_path, dataset)
    variables = runs.initial(tmp_path)
    finish(run, dataset, variables)
    reference = presets.fully_connected(depth=4, width=6, classes=5)
    for seed in range(2):
        model, opened, meta = runs.open_run(tmp_path, seed=seed)
        one = jax.tree.map(operator.itemgetter(seed), variables)
        expected = reference.apply(one, dataset.test.inputs)
        np.testing.assert_array_equal(model.apply(opened, dataset.test.inputs), expected)
    assert meta['mean'] == dataset.mean.tolist()
    assert meta['input_shape'] == [7]
    assert meta['provenance']['config']['seed'] == 3
    with pytest.raises(errors.RunError, match=r'seed=2.*0\.\.1'):
        runs.open_run(tmp_path, seed=2)
    with pytest.raises(errors.CheckpointError, match='no step 7'):
        runs.open_run(tmp_path, step=7)


def test_what_is_no_workdir_has_no_config_and_no_initial_networks(tmp_path):
    for read in (runs.read_config, runs.initial):
        with pytest.raises(errors.RunError, match=r'no config\.json'):
            read(tmp_path)
