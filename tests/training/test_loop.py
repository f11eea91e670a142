"""A run from its start to its end: what it writes, how it is stopped, resumed and refused."""

import itertools
import shutil

import jax
import numpy as np
import pytest

from resnet_dyn import config, errors, fields
from resnet_dyn.data import datasets
from resnet_dyn.models import presets, seed_axis
from resnet_dyn.training import checkpoints, loop, metrics, optimizer, program, recorder

STEPS = 20
CHANGES = {
    'seeds': 2,
    'train.steps': STEPS,
    'log.every': 4,
    'log.record': 5,
    'log.evaluate': 10,
    'checkpoint.every': 6,
}


@pytest.fixture(scope='module')
def reference(tiny, tmp_path_factory):
    """The workdir of a run that nothing disturbed, and its config."""
    workdir, cfg = tmp_path_factory.mktemp('reference') / 'run', tiny(CHANGES)
    assert _train(cfg, workdir).finished
    return workdir, cfg


@pytest.fixture
def copy(reference, tmp_path):
    """A copy of the reference's workdir, to be harmed, and the config."""
    return shutil.copytree(reference[0], tmp_path / 'copy'), reference[1]


def _train(cfg, workdir, report=lambda line: None, **options):
    return loop.train(cfg, workdir, report, devices=jax.devices()[:1], **options)


def _after(chunks):
    """A `stop` that is true after so many chunks."""
    asked = itertools.count()
    return lambda: next(asked) >= chunks


def _final(workdir):
    step, trees, _ = checkpoints.restore_training(workdir)
    return step, trees


def _assert_same_end(workdir, other):
    jax.tree.map(np.testing.assert_array_equal, _final(workdir), _final(other))


def _lines(workdir, name='metrics.jsonl'):
    """The lines of a run without what depends on the time it took."""
    lines = metrics.read(workdir / name)
    return [{k: v for k, v in line.items() if k != 'images_per_second'} for line in lines]


def test_a_run_leaves_training_lines_evaluations_records_and_checkpoints(reference):
    workdir, cfg = reference
    lines = metrics.read(workdir / 'metrics.jsonl')
    trained = [line for line in lines if 'loss' in line]
    evaluated = [line for line in lines if 'test_accuracy' in line]
    assert [line['step'] for line in trained] == [4, 8, 12, 16, 20]
    assert [line['step'] for line in evaluated] == [10, 20]
    assert evaluated[-1] is lines[-1]
    for line in evaluated:
        assert len(line['test_accuracy']) == len(line['test_loss']) == 2
        assert all(0 <= a <= 1 and a == round(70 * a) / 70 for a in line['test_accuracy'])
    rate = optimizer.learning_rate(cfg.train, STEPS)
    for line in trained:
        assert line['epoch'] == line['step'] / 8 and line['images_per_second'] > 0
        assert line['learning_rate'] == pytest.approx(rate(line['step'] - 1))
        assert len(line['loss']) == len(line['train_accuracy']) == 2
    records = metrics.read(workdir / 'dynamics.jsonl')
    assert [line['step'] for line in records] == [0, 5, 10, 15, 20]
    assert np.shape([line['branch_moment'] for line in records]) == (5, 2, 2)
    assert checkpoints.steps(workdir) == [6, 12, 18, 20]


def test_neither_cadences_nor_stops_change_a_bit(reference, tmp_path):
    workdir, cfg = reference
    other = {'log.every': 1, 'log.record': 3, 'log.evaluate': 7, 'checkpoint.every': 20}
    cfg = fields.replace(cfg, other)
    for chunks in (2, 3):
        stopped = _train(cfg, tmp_path, stop=_after(chunks))
        assert not stopped.finished and checkpoints.steps(tmp_path)[-1] == stopped.step < STEPS
    result = _train(cfg, tmp_path)
    assert result.finished and result.step == STEPS
    _assert_same_end(tmp_path, workdir)
    assert result.test_accuracy == _lines(workdir)[-1]['test_accuracy']
    each = np.array([line['loss'] for line in _lines(tmp_path) if 'loss' in line])
    means = [line['loss'] for line in _lines(workdir) if 'loss' in line]
    np.testing.assert_allclose(each.reshape(5, 4, 2).mean(1), means, rtol=1e-6)


def test_a_run_that_lost_its_end_writes_it_again(reference, copy):
    workdir, cfg = copy
    for step in ('18', '20'):
        shutil.rmtree(workdir / 'checkpoints' / step)
    with open(workdir / 'metrics.jsonl', 'a') as file:
        file.write('{"step": 20, "test_acc')
    said = []
    assert _train(cfg, workdir, said.append).finished
    assert any('restored at step 12' in line for line in said)
    _assert_same_end(workdir, reference[0])
    for name in ('metrics.jsonl', 'dynamics.jsonl'):
        assert _lines(workdir, name) == _lines(reference[0], name)


def test_a_run_stopped_before_its_first_checkpoint_starts_over(reference, copy):
    workdir, cfg = copy
    shutil.rmtree(workdir / 'checkpoints')
    assert _train(cfg, workdir).finished
    _assert_same_end(workdir, reference[0])
    assert _lines(workdir, 'dynamics.jsonl') == _lines(reference[0], 'dynamics.jsonl')


def test_the_lines_of_a_run_whose_checkpoints_are_gone_are_kept_and_that_is_said(copy):
    workdir, cfg = copy
    old = (workdir / 'metrics.jsonl').read_bytes()
    shutil.rmtree(workdir / 'checkpoints')
    said = []
    assert _train(cfg, workdir, said.append).finished
    assert said[0].startswith('WARNING') and 'step 20 and no checkpoint' in said[0]
    assert (workdir / 'metrics.jsonl.lost-1').read_bytes() == old


def test_a_stop_before_the_first_step_leaves_no_checkpoint(reference, tmp_path):
    result = _train(reference[1], tmp_path, stop=lambda: True)
    assert result == loop.Result(0, False, [])
    assert checkpoints.steps(tmp_path) == []


def test_a_finished_run_says_so_and_changes_nothing(copy):
    workdir, cfg = copy
    before = _snapshot(workdir)
    said = []
    result = _train(fields.replace(cfg, {'log.every': 1}), workdir, said.append)
    assert result.finished and result.test_accuracy == _lines(workdir)[-1]['test_accuracy']
    assert 'finished' in said[0] and _snapshot(workdir) == before


def _snapshot(workdir):
    return {path: path.stat().st_mtime_ns for path in [workdir, *workdir.rglob('*')]}


def test_a_finished_run_goes_on_to_more_steps(copy):
    workdir, cfg = copy
    before = _lines(workdir)
    result = _train(fields.replace(cfg, {'train.steps': 24}), workdir)
    assert result.finished and checkpoints.steps(workdir)[-2:] == [20, 24]
    after = _lines(workdir)
    assert after[: len(before)] == before and [line['step'] for line in after[-2:]] == [24, 24]


def test_a_last_step_without_its_lines_is_evaluated_again(reference, copy):
    workdir, cfg = copy
    (workdir / 'metrics.jsonl').unlink()
    assert _train(cfg, workdir).finished
    assert _lines(workdir) == _lines(reference[0])[-1:]
    assert _lines(workdir, 'dynamics.jsonl') == _lines(reference[0], 'dynamics.jsonl')


def test_a_run_of_no_steps_is_evaluated_and_saved(tiny, tmp_path):
    cfg = tiny({**CHANGES, 'train.steps': 0})
    result = _train(cfg, tmp_path)
    assert result.finished and len(result.test_accuracy) == 2
    assert checkpoints.steps(tmp_path) == [0]
    assert _train(cfg, tmp_path) == result


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_step(tiny, tmp_path):
    changes = {'model.norm': 'none', 'train.learning_rate': 30.0, 'seeds': 2, 'log.every': 1}
    cfg = tiny({**changes, 'checkpoint.every': 1, 'log.evaluate': 1000})
    s, bad, last_finite = _first_bad(cfg)
    assert 1 < bad < STEPS
    with pytest.raises(errors.NotFiniteError) as caught:
        _train(cfg, tmp_path)
    text = str(caught.value)
    assert f'network {s} (seed {s}) became NaN or Inf at step {bad};' in text
    assert f'the last finite one is {last_finite:.4g}' in text
    assert f'the last line, at step {bad - 1},' in text
    assert checkpoints.steps(tmp_path)[-1] == bad - 1
    with pytest.raises(errors.NotFiniteError, match=f'at step {bad}; none was finite'):
        _train(cfg, tmp_path)


def test_a_test_loss_that_is_not_finite_stops_the_run_before_its_step_is_saved(tiny, tmp_path):
    changes = {'model.norm': 'none', 'train.learning_rate': 1e30, 'train.steps': 1, 'seeds': 2}
    with pytest.raises(errors.NotFiniteError, match='the test loss at step 1 is'):
        _train(tiny(changes), tmp_path)
    assert checkpoints.steps(tmp_path) == []


def _first_bad(cfg):
    """The first network whose loss is not finite, the step, its loss before; by single steps."""
    cfg = seed_axis.settle(cfg)
    dataset = datasets.load(cfg.data)
    model = presets.from_config(cfg.model, dataset.classes)
    mesh = seed_axis.mesh(2, jax.devices()[:1])
    programs = program.Program(cfg, model, dataset, STEPS, mesh)
    networks, before = programs.begin(), None
    for t in range(STEPS):
        networks = programs.advance(programs.clear(networks), t, t + 1)
        loss_S = np.asarray(networks.totals.loss)
        if not np.isfinite(loss_S).all():
            s = int(np.isfinite(loss_S).argmin())
            return s, t + 1, before[s]
        before = loss_S
    raise AssertionError('all losses are finite')


def test_a_batch_larger_than_the_data_is_refused_before_anything_is_made(tiny, tmp_path):
    images, labels = np.random.default_rng(0).random((20, 6), 'f'), np.arange(20) % 4
    splits = {
        f'{split}_{what}': array
        for split in ('train', 'test')
        for what, array in (('images', images), ('labels', labels))
    }
    np.savez(tmp_path / 'own.npz', **splits)
    own = {'data.name': 'npz', 'data.dir': str(tmp_path / 'own.npz'), 'data.train_size': None}
    with pytest.raises(errors.ConfigError, match='batch_size=32 is larger than the 20 training'):
        _train(tiny({**own, 'data.test_size': None}), tmp_path / 'run')
    assert not (tmp_path / 'run').exists()


def test_the_end_gives_the_spread_over_seeds_and_the_origin_of_the_data(copy, monkeypatch):
    workdir, cfg = copy
    load = datasets.load

    def noted(data):
        found = load(data)
        return found._replace(source=found.source._replace(note='JPEG copy, not the originals'))

    monkeypatch.setattr(datasets, 'load', noted)
    said = []
    accuracy = _train(cfg, workdir, said.append).test_accuracy
    mean, spread = np.mean(accuracy), np.std(accuracy, ddof=1)
    assert f'{mean:.4f} ± {spread:.4f} (mean ± std of 2 seeds)' in said[-1]
    assert 'gaussians (JPEG copy, not the originals)' in said[-1] and 'images/s' in said[-1]


def test_a_chunk_ends_where_the_first_thing_is_due():
    every = recorder.Cadence(log=10, record=4, evaluate=100, checkpoint=25)
    assert loop.next_stop(0, 1000, every, limit=50) == 4
    assert loop.next_stop(8, 1000, every, limit=50) == 10
    assert loop.next_stop(24, 1000, every, limit=50) == 25
    assert loop.next_stop(96, 99, every, limit=50) == 99
    assert loop.next_stop(12, 1000, every, limit=1) == 13


def test_unset_cadences_are_shares_of_the_run():
    cfg = config.parse({'log.every': 7})
    assert recorder.cadence(cfg, 1000) == recorder.Cadence(7, 20, 100, 100)
    assert recorder.cadence(cfg, 3) == recorder.Cadence(7, 1, 1, 1)
