"""A checkpoint is taken as the step and of the run that it is; what does not fit is lost, aloud."""

import json
import shutil

import numpy as np
import pytest
import saved_steps

from resnet_dyn import errors
from resnet_dyn.training import checkpoints, items, manifest, runs

RUN = {'seed': 0, 'seeds': 2, 'model.width': 8, 'train.learning_rate': 0.1, 'data.digest': 'ab12'}


def trees_of(step, networks=2):
    return {
        'params': {'w': np.full((networks, 3), step, np.float32)},
        'optimizer': {'1.0.trace.w': np.ones((networks, 3)), '1.1.count': np.full(networks, step)},
    }


def save(workdir, *steps, meta=None, keep=None, networks=2):
    trees = {step: trees_of(step, networks) for step in steps}
    saved_steps.save(workdir, trees, {'run': RUN} if meta is None else meta, keep)


@pytest.fixture(scope='module')
def saved(tmp_path_factory):
    """A run with the steps 4 and 8."""
    folder = tmp_path_factory.mktemp('saved')
    save(folder, 4, 8)
    return folder


@pytest.fixture
def workdir(saved, tmp_path):
    """A copy of it."""
    return shutil.copytree(saved, tmp_path / 'run')


def rename(workdir, old, new):
    folder = workdir / 'checkpoints'
    (folder / str(old)).rename(folder / str(new))


def assert_lost(workdir, capfd, step, why, taken):
    """`step` is lost for `why`: to training, to who reads the newest and to who asks for it."""
    for restore in (
        lambda: checkpoints.restore_training(workdir, RUN),
        lambda: checkpoints.restore(workdir, expected=RUN),
    ):
        found, trees, _ = restore()
        assert found == taken
        assert (trees['params']['w'] == taken).all()
        said = capfd.readouterr().err
        assert f'lost step {step} ({why}' in said and f'Step {taken} is taken instead' in said
    with pytest.raises(errors.CheckpointError, match=f'step {step} .* is lost: {why}'):
        checkpoints.restore(workdir, step, expected=RUN)
    assert not checkpoints.sound(workdir, step, RUN)


def test_a_folder_renamed_is_not_the_step_of_its_new_name(workdir, capfd):
    rename(workdir, 8, 30)
    why = 'its folder says step 30, and what is in it is of step 8'
    assert_lost(workdir, capfd, 30, why, taken=4)
    with pytest.raises(errors.CheckpointError, match=why):
        checkpoints.restore(workdir, 30)  # an analysis expects nothing of the run


def test_an_optimizer_that_has_counted_other_steps_is_not_taken(tmp_path, capfd):
    save(tmp_path, 4)
    writer = checkpoints.Writer(tmp_path)
    writer.save(8, trees_of(8) | {'optimizer': trees_of(7)['optimizer']}, {'run': RUN})
    writer.close()
    assert checkpoints.restore_training(tmp_path, RUN)[0] == 4
    assert 'its optimizer has counted [7] steps, not 8' in capfd.readouterr().err


@pytest.mark.parametrize(
    'changed, why',
    [
        ({'seed': 5}, 'it is of another run: seed is 5 there and 0 here'),
        ({'seeds': 3}, 'it is of another run: seeds is 3 there and 2 here'),
        ({'model.width': 16}, 'it is of another run: model.width is 16 there and 8 here'),
        ({'data.digest': 'cd'}, "it is of another run: data.digest is 'cd' there and 'ab12' here"),
    ],
)
def test_a_checkpoint_of_another_run_is_not_taken(workdir, tmp_path, capfd, changed, why):
    shutil.rmtree(workdir / 'checkpoints' / '8')
    save(tmp_path / 'other', 8, meta={'run': RUN | changed}, networks=changed.get('seeds', 2))
    shutil.copytree(tmp_path / 'other/checkpoints/8', workdir / 'checkpoints/8')
    assert_lost(workdir, capfd, 8, why, taken=4)


def test_of_a_checkpoint_from_before_runs_were_named_what_it_says_is_compared(tmp_path, capfd):
    old = {
        'source': {'digest': 'ab12'},
        'provenance': {
            'config': {'seed': 0, 'seeds': 2, 'model': {'width': 8, 'gone': 1}, 'train': {}}
        },
    }
    save(tmp_path, 4, meta=old)
    assert checkpoints.restore_training(tmp_path, RUN)[0] == 4
    other = json.loads(json.dumps(old))
    other['provenance']['config']['model']['width'] = 16
    save(tmp_path, 8, meta=other)
    save(tmp_path, 9, meta=old | {'source': {'digest': 'cd'}})
    save(tmp_path, 10, meta=old | {'provenance': None})
    assert checkpoints.restore_training(tmp_path, RUN)[0] == 10
    shutil.rmtree(tmp_path / 'checkpoints/10')
    assert checkpoints.restore_training(tmp_path, RUN)[0] == 4
    said = capfd.readouterr().err
    assert 'model.width is 16 there' in said and "data.digest is 'cd' there" in said


def test_keep_drops_no_checkpoint_of_this_run_in_favour_of_a_later_one_that_is_not(workdir):
    rename(workdir, 8, 30)
    save(workdir, 8, keep=1)
    assert checkpoints.folders(workdir) == [8, 30]
    assert checkpoints.sound(workdir, 8, RUN)


def test_keep_counts_no_folder_that_is_of_another_step_or_run(tmp_path):
    save(tmp_path, 4, 6)
    rename(tmp_path, 4, 7)
    save(tmp_path, 8, keep=2)
    assert checkpoints.steps(tmp_path) == [6, 7, 8]
    save(tmp_path, 9, keep=1, meta={'run': RUN | {'seeds': 3}})
    assert checkpoints.steps(tmp_path) == [6, 7, 8, 9]


def test_where_all_are_of_another_run_the_mend_is_config_json_and_the_list_is_short(tmp_path):
    save(tmp_path, *range(1, 9))
    with pytest.raises(errors.CheckpointError) as caught:
        checkpoints.restore_training(tmp_path, RUN | {'seeds': 3})
    text = str(caught.value)
    assert 'step 6 (' in text and 'step 5' not in text and 'and 5 more. Either config.json' in text
    assert 'starts again' not in text


def test_names_that_are_nearly_steps_are_said_once(tmp_path, capfd):
    save(tmp_path, 4, 8, 9)
    rename(tmp_path, 8, '08')
    rename(tmp_path, 9, '-9')
    (tmp_path / 'checkpoints' / 'damaged-3-0').mkdir()
    assert checkpoints.restore_training(tmp_path, RUN)[0] == 4
    said = capfd.readouterr().err
    assert said.count('warning') == 1 and "has '-9'; '08', which" in said


@pytest.mark.parametrize('link', [False, True])
def test_checkpoints_that_are_no_folder_are_refused_by_every_reader(tmp_path, link):
    path = tmp_path / 'checkpoints'
    path.symlink_to(tmp_path / 'nowhere') if link else path.touch()
    for read in (checkpoints.folders, checkpoints.steps, checkpoints.restore):
        with pytest.raises(errors.CheckpointError, match='leads to no folder'):
            read(tmp_path)


@pytest.mark.parametrize(
    'wrong',
    [
        {'run': 'x'},
        {'run': ['x']},
        {'run': None, 'source': 'text'},
        {'run': None, 'provenance': {'config': 'x'}},
        {'model': 3},
        {'classes': 'three'},
        {'totals': 'x'},
        {'totals': {}},
        {'totals': {'diverged_at': 3, 'loss': [], 'accuracy': [], 'last_finite': []}},
        {'totals': {'diverged_at': [None], 'loss': [1], 'accuracy': [1], 'last_finite': [1, 2]}},
        {'leaves': {}},
        {'leaves': {'nowhere/w': {}}},
    ],
)
def test_meta_of_a_wrong_form_is_lost(workdir, capfd, wrong):
    folder = workdir / 'checkpoints' / '8'
    meta = json.loads((folder / items.META_FILE).read_text())
    (folder / items.META_FILE).write_text(json.dumps(meta | wrong))
    (folder / manifest.NAME).unlink()
    manifest.write(folder)
    assert checkpoints.restore_training(workdir, RUN)[0] == 4
    said = capfd.readouterr().err
    assert 'lost step 8 (its meta is not what' in said or '(nowhere is missing' in said


def test_meta_that_no_run_wrote_is_lost_though_its_bytes_agree(workdir, capfd):
    folder = workdir / 'checkpoints' / '8'
    for text in ('{}', '[]', '{"step": 8}', '{"step": 8, "leaves": 3}', '{"step": 8', '\xff'):
        (folder / items.META_FILE).write_text(text, encoding='latin-1')
        (folder / manifest.NAME).unlink()
        manifest.write(folder)
        assert checkpoints.restore_training(workdir, RUN)[0] == 4, text
        assert 'lost step 8' in capfd.readouterr().err


@pytest.mark.parametrize(
    'changes',
    [{'seed': 1}, {'seeds': 3}, {'model.width': 9}, {'data.classes': 5}, {'model.norm': 'none'}],
)
def test_runs_that_differ_in_what_decides_their_steps_have_other_identities(tiny, changes):
    here = runs.identity(tiny(), 'x')
    assert here != runs.identity(tiny(changes), 'x')
    assert here != runs.identity(tiny(), 'y')
    assert json.loads(json.dumps(here)) == here


def test_what_does_not_change_a_step_is_no_part_of_the_identity(tiny):
    neutral = {'train.steps': 40, 'log.every': 3, 'checkpoint.keep': 2, 'data.dir': '/elsewhere'}
    assert runs.identity(tiny(neutral), 'x') == runs.identity(tiny(), 'x')
