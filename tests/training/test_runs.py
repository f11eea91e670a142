"""A workdir takes the run that it belongs to, refuses any other aloud, and opens in one line."""

import operator
import subprocess
import sys

import jax
import numpy as np
import pytest

from resnet_dyn import config, errors, fields
from resnet_dyn.models import presets, seed_axis
from resnet_dyn.training import checkpoints, description, locks, metrics, runs, state

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


def changed(**changes):
    return fields.replace(
        CONFIG, {name.replace('__', '.'): value for name, value in changes.items()}
    )


def begin(workdir, dataset, cfg=CONFIG, step=0):
    with runs.prepare(runs.look(workdir, cfg), dataset) as run:
        runs.begin(run, dataset, step)
        return run


def contents(folder):
    return {
        path: (path.stat().st_mtime_ns, path.stat().st_size)
        for path in [folder, *folder.rglob('*')]
        if path.name != '.lock'  # it says who has the workdir
    }


def finish(run, dataset, variables):
    """What a run leaves behind when it is done."""
    writer = checkpoints.Writer(run.workdir)
    writer.save(run.total_steps, variables, runs.meta(run, dataset))
    writer.close()
    record = metrics.JsonLines(run.workdir / runs.METRICS)
    record.write(run.total_steps, test_accuracy=[0.5, 0.5])
    record.close()


def test_a_workdir_is_looked_at_locked_and_begun_and_nothing_is_written_before(tmp_path, dataset):
    workdir = tmp_path / 'deep' / 'run'
    start = runs.look(workdir, CONFIG)
    assert start == runs.Start(workdir, seed_axis.settle(CONFIG), None, finished=False)
    assert not workdir.parent.exists()
    with runs.prepare(start, dataset) as run:
        assert [path.name for path in workdir.iterdir()] == ['.lock']
        assert (run.total_steps, run.finished) == (20, False)
        runs.begin(run, dataset, 0)
    assert runs.read_config(workdir) == start.config and runs.look(workdir, CONFIG).stored


def test_the_same_config_goes_on_and_writes_config_json_alone(tmp_path, dataset):
    begin(tmp_path, dataset)
    (tmp_path / runs.METRICS).write_text('{"step": 1}\n')
    before = contents(tmp_path)
    again = begin(tmp_path, dataset, step=5)
    assert again.config == runs.look(tmp_path, CONFIG).config
    changed = {path.name for path, seen in contents(tmp_path).items() if before.get(path) != seen}
    assert changed == {tmp_path.name, 'config.json'}


def test_the_seed_axis_of_the_workdir_is_kept(tmp_path, dataset):
    begin(tmp_path, dataset, changed(train__seed_axis='map'))
    assert begin(tmp_path, dataset).config.train.seed_axis == 'map'
    with pytest.raises(errors.RunError, match=r'config\.train\.seed_axis'):
        runs.look(tmp_path, changed(train__seed_axis='vmap'))
    new = begin(tmp_path / 'checkpoints' / 'other', dataset)
    assert new.config == seed_axis.settle(CONFIG)


def test_without_a_config_it_is_that_of_the_run_or_the_default(tmp_path, dataset):
    other = changed(model__depth=7, train__seed_axis='map', log__every=3)
    begin(tmp_path / 'run', dataset, other)
    assert runs.look(tmp_path / 'run').config == other
    assert runs.look(tmp_path / 'new').config == seed_axis.settle(config.parse())


def test_fields_that_decide_nothing_are_laid_over_the_config_of_the_run(tmp_path, dataset):
    begin(tmp_path, dataset)
    keep = {'checkpoint.keep': 1, 'data.dir': '/new'}
    found = runs.look(tmp_path, None, keep).config
    assert found == seed_axis.settle(changed(checkpoint__keep=1, data__dir='/new'))
    assert runs.look(tmp_path, None, {'train.steps': 30}).config.train.steps == 30
    train = runs.look(tmp_path, None, {'train.epochs': 7.0}).config.train
    assert (train.steps, train.epochs) == (None, 7.0)
    with pytest.raises(errors.RunError, match='longer, not shorter'):
        runs.look(tmp_path, None, {'train.steps': 19})
    new = runs.look(tmp_path / 'new', None, {'train.steps': 3}).config
    assert new == seed_axis.settle(config.parse({'train.steps': 3}))


def test_config_json_is_read_once_and_settled_once_on_resume(tmp_path, dataset, monkeypatch):
    begin(tmp_path, dataset)
    calls = []

    def counted(module, name):
        function = getattr(module, name)
        monkeypatch.setattr(
            module, name, lambda *args: calls.append((name, args)) or function(*args)
        )

    counted(config, '_build')  # what resolves: of flags by parse, of a file by from_dict
    counted(seed_axis, 'settle')
    counted(runs.pathlib.Path, 'read_bytes')
    begin(tmp_path, dataset)
    reads = [args[0].name for name, args in calls if name == 'read_bytes']
    assert [name for name, _ in calls if name != 'read_bytes'] == ['_build', 'settle']
    assert reads.count('config.json') == 1


def test_neutral_fields_and_more_steps_may_change_and_are_written_down(tmp_path, dataset):
    begin(tmp_path, dataset)
    longer = changed(train__steps=30, data__dir='elsewhere', checkpoint__keep=2, log__every=5)
    assert begin(tmp_path, dataset, longer).total_steps == 30
    assert runs.read_config(tmp_path).checkpoint.keep == 2
    said = description.read(tmp_path)
    assert said.total_steps == 30 and said.data['classes'] == 5
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
    with pytest.raises(errors.RunError) as caught:
        runs.look(tmp_path, changed(**changes))
    for pattern in named:
        assert caught.match(pattern)
    assert '\n' not in str(caught.value)
    assert contents(tmp_path) == before


def test_other_data_are_refused(tmp_path, dataset):
    begin(tmp_path, dataset)
    other = dataset._replace(source=dataset.source._replace(digest='b2' * 32))
    with pytest.raises(errors.RunError, match=r'other data.*a1a1.*b2b2.*the code'):
        begin(tmp_path, other)
    images = dataset._replace(source=dataset.source._replace(name='cifar10', digest='b2' * 32))
    with pytest.raises(errors.RunError, match=r'Set config\.data\.dir'):
        begin(tmp_path, images)


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
            runs.look(workdir, CONFIG)
    assert contents(tmp_path) == before


def test_a_run_whose_checkpoints_are_no_folder_is_refused_before_its_data_are_loaded(
    tmp_path, dataset
):
    begin(tmp_path, dataset)
    (tmp_path / 'checkpoints').symlink_to(tmp_path / 'nowhere')
    with pytest.raises(errors.CheckpointError, match='leads to no folder'):
        runs.look(tmp_path, CONFIG)


def test_a_folder_that_cannot_be_written_to_is_refused(tmp_path, dataset, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, 'Permission denied')

    monkeypatch.setattr(locks.os, 'open', refuse)
    with pytest.raises(errors.RunError, match=r'cannot be used .*Permission denied'):
        begin(tmp_path, dataset)


def test_a_start_that_was_killed_before_its_config_was_written_starts_again(tmp_path, dataset):
    for name in ('.lock', '.holder', '.holder-5fc8f5a8d801ee02'):
        (tmp_path / name).touch()
    (tmp_path / '.config.json.tmp').write_text('{"conf')
    begin(tmp_path, dataset)
    assert runs.read_config(tmp_path).model.depth == 4


def test_two_processes_do_not_train_in_one_workdir(tmp_path, dataset, monkeypatch):
    monkeypatch.setattr(locks, 'TRIES', 2)
    start = runs.look(tmp_path, CONFIG)
    with (
        runs.prepare(start, dataset),
        pytest.raises(errors.RunError, match='another process is training'),
    ):
        begin(tmp_path, dataset)
    begin(tmp_path, dataset)
    with pytest.raises(errors.RunError, match=r'another process changed .*config\.json'):
        runs.prepare(start, dataset)
    start = runs.look(tmp_path, CONFIG)
    begin(tmp_path, dataset, step=5)
    with pytest.raises(errors.RunError, match=r'another process changed .*config\.json'):
        runs.prepare(start, dataset)


def test_a_killed_process_lets_go_of_its_workdir(tmp_path, dataset, monkeypatch):
    monkeypatch.setattr(locks, 'TRIES', 1)
    begin(tmp_path, dataset)
    hold = (
        'import fcntl, sys, time; file = open(sys.argv[1]); fcntl.flock(file, fcntl.LOCK_EX); '
        'print(flush=True); time.sleep(60)'
    )
    child = subprocess.Popen(
        [sys.executable, '-c', hold, str(tmp_path / '.lock')], stdout=subprocess.PIPE
    )
    child.stdout.readline()
    with pytest.raises(errors.RunError, match='another process is training'):
        begin(tmp_path, dataset)
    child.kill()
    child.wait()
    child.stdout.close()
    begin(tmp_path, dataset)


def test_a_finished_run_is_found_so_and_nothing_changes(tmp_path, dataset):
    run = begin(tmp_path, dataset)
    start = runs.look(tmp_path, CONFIG)
    finish(run, dataset, {'params': {'w': np.ones((2, 3), np.float32)}})
    before = contents(tmp_path)
    assert runs.look(tmp_path, changed(log__every=3)).finished
    assert not runs.look(tmp_path, changed(train__steps=30)).finished
    with runs.prepare(start, dataset) as run:  # another process ended it meanwhile
        assert run.finished
    assert contents(tmp_path) == before


def test_a_run_without_its_last_line_or_a_sound_last_checkpoint_is_not_finished(tmp_path, dataset):
    run = begin(tmp_path, dataset)
    finish(run, dataset, {'params': {'w': np.ones((2, 3), np.float32)}})
    last = tmp_path / runs.METRICS
    line = last.read_bytes()
    last.write_bytes(line[:-1])
    assert not runs.look(tmp_path).finished
    last.write_bytes(line)
    assert runs.look(tmp_path).finished
    (data, *_) = (tmp_path / 'checkpoints' / '20' / 'params' / 'd').iterdir()
    kept = data.read_bytes()
    data.write_bytes(bytes([kept[0] ^ 1]) + kept[1:])
    assert not runs.look(tmp_path).finished
    data.unlink()
    assert not runs.look(tmp_path).finished


def test_open_run_gives_one_network_ready_to_apply(tmp_path, dataset):
    run = begin(tmp_path, dataset, changed(train__survival=0.5))
    model = presets.from_config(CONFIG.model, 5, survival=0.5)
    variables = jax.device_get(state.initial_variables(model, state.keys(CONFIG), (7,)))
    finish(run, dataset, variables)
    apply = jax.jit(model.apply)
    by_hand = jax.jit(presets.fully_connected(4, width=6, classes=5, survival=0.5).apply)
    for seed in range(2):
        opened_model, opened, meta = runs.open_run(tmp_path, seed=seed)
        assert opened_model == model
        one = jax.tree.map(operator.itemgetter(seed), variables)
        expected = by_hand(one, dataset.test.inputs)
        np.testing.assert_array_equal(apply(opened, dataset.test.inputs), expected)
    assert meta['mean'] == dataset.mean.tolist()
    assert meta['input_shape'] == [7]
    assert meta['provenance']['config']['seed'] == 3
    with pytest.raises(errors.RunError, match=r'seed=2.*0\.\.1'):
        runs.open_run(tmp_path, seed=2)
    with pytest.raises(errors.CheckpointError, match='no step 7'):
        runs.open_run(tmp_path, step=7)


def test_what_is_no_workdir_has_no_config(tmp_path):
    with pytest.raises(errors.RunError, match=r'no config\.json'):
        runs.read_config(tmp_path)
