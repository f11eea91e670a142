"""A run from its start to its end: what it writes, how it is stopped, resumed and refused."""

import itertools
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resnet_dyn import config, errors, fields
from resnet_dyn.data import datasets
from resnet_dyn.models import placement, presets, seed_axis
from resnet_dyn.training import (
    checkpoints,
    loop,
    metrics,
    optimizer,
    program,
    recorder,
    state,
    summary,
)

pytestmark = pytest.mark.usefixtures('shared_programs')

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


def _after(calls):
    """A `stop` that is true after so many calls: before compiling, and before each chunk."""
    asked = itertools.count()
    return lambda: next(asked) >= calls


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
        assert len(line['test_loss_median']) == 2
        assert all(0 <= a <= 1 and a == round(70 * a) / 70 for a in line['test_accuracy'])
    rate = optimizer.learning_rate(cfg.train, STEPS)
    for line in trained:
        assert line['epoch'] == line['step'] / 8 and line['images_per_second'] > 0
        assert line['learning_rate'] == pytest.approx(rate(line['step'] - 1))
        assert len(line['loss']) == len(line['train_accuracy']) == 2
    records = metrics.read(workdir / 'dynamics.jsonl')
    assert [line['step'] for line in records] == [0, 5, 10, 15, 20]
    assert np.shape([line['branch_moment'] for line in records]) == (5, 2, 2)
    assert checkpoints.steps(workdir) == [0, 6, 12, 18, 20]


def test_neither_cadences_nor_stops_change_a_bit(reference, tmp_path):
    workdir, cfg = reference
    other = {'log.every': 1, 'log.record': 3, 'log.evaluate': 7, 'checkpoint.every': 20}
    cfg = fields.replace(cfg, other)
    for calls in (3, 4):
        stopped = _train(cfg, tmp_path, stop=_after(calls))
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


@pytest.mark.slow_but('13')
@pytest.mark.parametrize('at', [5, 10, 13])
def test_the_line_after_a_resume_is_that_of_the_uninterrupted_run_to_the_last_bit(
    reference, copy, at, monkeypatch
):
    workdir, cfg = copy
    shutil.rmtree(workdir)
    monkeypatch.setattr(loop, 'CHUNK_SECONDS', 0)  # single steps
    every = {'log.every': 4, 'checkpoint.every': 5, 'log.record': 5}
    assert _train(fields.replace(cfg, every), workdir, stop=_after(at + 1)).step == at
    assert at % 4, 'a resume within a line'
    with open(workdir / 'metrics.jsonl', 'a') as file:  # of a killed process that got further
        file.write('{"step": 16, "loss": [0, 0]}\n')
    _train(cfg, workdir)
    assert _lines(workdir) == _lines(reference[0])


def test_the_speed_after_a_resume_is_that_of_all_steps_of_its_line(
    reference, tmp_path, monkeypatch
):
    cfg = reference[1]
    monkeypatch.setattr(loop, 'CHUNK_SECONDS', 0)  # single steps
    _train(cfg, tmp_path, stop=_after(4))
    step, trees, meta = checkpoints.restore_training(tmp_path)
    assert meta['totals']['steps'] == step and meta['totals']['seconds'] > 0
    slow = {**meta['totals'], 'seconds': 1e6}
    writer = checkpoints.Writer(tmp_path)
    shutil.rmtree(tmp_path / 'checkpoints' / str(step))
    writer.save(step, trees, {**meta, 'totals': slow})
    writer.close()
    _train(cfg, tmp_path)
    (line, *_) = metrics.read(tmp_path / 'metrics.jsonl')
    assert line['images_per_second'] == pytest.approx(2 * 32 * 4 / 1e6, rel=1e-3)


def test_a_checkpoint_of_an_earlier_version_goes_on_without_what_its_next_line_adds_up(
    reference, copy
):
    workdir, cfg = copy
    for step in (18, 20):
        shutil.rmtree(workdir / 'checkpoints' / str(step))
    step, trees, meta = checkpoints.restore_training(workdir)
    shutil.rmtree(workdir / 'checkpoints' / str(step))
    writer = checkpoints.Writer(workdir)
    old = {name: value for name, value in meta.items() if name != 'totals'}
    writer.save(step, trees, old)
    writer.close()
    result = _train(cfg, workdir)
    assert result.finished and result.diverged == {}
    _assert_same_end(workdir, reference[0])


def test_a_stop_before_the_first_step_leaves_step_0_and_a_run_from_it_is_the_same(
    reference, tmp_path
):
    workdir, cfg = reference
    result = _train(cfg, tmp_path, stop=lambda: True)
    assert result == loop.Result(0, False, [], {})
    assert checkpoints.steps(tmp_path) == [0]
    said = []
    assert _train(cfg, tmp_path, said.append).finished
    assert 'restored at step 0' in said[0]
    _assert_same_end(tmp_path, workdir)
    for name in ('metrics.jsonl', 'dynamics.jsonl'):
        assert _lines(tmp_path, name) == _lines(workdir, name)


def test_the_checkpoint_of_step_0_is_the_networks_of_the_seeds(reference):
    workdir, cfg = reference
    _, variables, meta = checkpoints.restore(workdir, 0)
    model = presets.from_config(cfg.model, 4)
    for s in range(2):
        key = jax.random.fold_in(jax.random.key(cfg.seed + s), state.INIT)
        expected = dict(jax.jit(model.init)(key, np.zeros((1, 6), np.float32)))
        jax.tree.map(
            lambda a, b, s=s: np.testing.assert_allclose(a[s], b, rtol=1e-6), variables, expected
        )
    assert meta['provenance']['config']['seeds'] == 2


def test_a_finished_run_says_so_and_changes_nothing(copy):
    workdir, cfg = copy
    before = _snapshot(workdir)
    said = []
    result = _train(fields.replace(cfg, {'log.every': 1}), workdir, said.append)
    assert result.finished and result.test_accuracy == _lines(workdir)[-1]['test_accuracy']
    assert 'finished' in said[0] and _snapshot(workdir) == before


def test_a_finished_run_says_so_though_its_data_are_gone(copy, monkeypatch):
    workdir, cfg = copy

    def gone(data):
        raise errors.DataError('no such file')

    monkeypatch.setattr(datasets, 'load', gone)
    said = []
    assert _train(cfg, workdir, said.append).finished
    assert 'finished' in said[0] and 'test accuracy' in said[-1] and 'gaussians' in said[-1]
    with pytest.raises(errors.DataError):
        _train(fields.replace(cfg, {'train.steps': 21}), workdir)


def test_without_a_config_the_runs_own_goes_on(reference, tmp_path):
    workdir, cfg = reference
    _train(cfg, tmp_path, stop=_after(2))
    said = []
    assert _train(None, tmp_path, said.append).finished
    assert 'no field of the config is given' in said[0] and 'restored' in said[1]
    _assert_same_end(tmp_path, workdir)


def _snapshot(workdir):
    return {path: path.stat().st_mtime_ns for path in [workdir, *workdir.rglob('*')]}


def test_a_finished_run_goes_on_to_more_steps(copy, monkeypatch):
    workdir, cfg = copy
    monkeypatch.setattr(summary, 'extension', lambda run, step: f'longer from {step} on')
    before = _lines(workdir)
    said = []
    result = _train(fields.replace(cfg, {'train.steps': 24}), workdir, said.append)
    assert result.finished and checkpoints.steps(workdir)[-2:] == [20, 24]
    after = _lines(workdir)
    assert after[: len(before)] == before and [line['step'] for line in after[-2:]] == [24, 24]
    assert said.count('longer from 20 on') == 1
    segments = json.loads((workdir / 'config.json').read_text())['segments']
    assert [entry['steps'] for entry in segments] == [[0, 20], [20, 24]]


def test_a_last_step_without_its_lines_is_evaluated_again(reference, copy):
    workdir, cfg = copy
    (workdir / 'metrics.jsonl').unlink()
    assert _train(cfg, workdir).finished
    assert _lines(workdir) == _lines(reference[0])[-1:]
    assert _lines(workdir, 'dynamics.jsonl') == _lines(reference[0], 'dynamics.jsonl')


def test_a_run_of_no_steps_is_evaluated_and_saved(tiny, tmp_path):
    cfg = tiny({**CHANGES, 'train.steps': 0})
    said = []
    result = _train(cfg, tmp_path, said.append)
    assert result.finished and len(result.test_accuracy) == 2
    assert 'nothing is trained' in said[0]
    assert checkpoints.steps(tmp_path) == [0]
    said = []
    assert _train(cfg, tmp_path, said.append) == result
    assert 'after step 0;' in said[-1] and 'examples/s' not in said[-1]


HOT = {'model.norm': 'none', 'seeds': 3, 'log.every': 1, 'checkpoint.every': 1}
HOT |= {'log.evaluate': 10, 'log.record': 10}


@pytest.fixture
def scaled(monkeypatch):
    """scaled(1, 30, 1): the parameters of each network start so many times as large."""
    draw = state.initial_variables

    def scaled(*factors):
        def drawn(*args):
            return jax.tree.map(
                lambda leaf: (leaf.T * jnp.float32(factors)[*[None] * (leaf.ndim - 1)]).T,
                draw(*args),
            )

        monkeypatch.setattr(state, 'initial_variables', drawn)

    return scaled


def test_a_network_that_diverges_is_nan_from_there_and_the_others_go_on(tiny, tmp_path, scaled):
    scaled(1, 30, 1)
    cfg = tiny({**HOT, 'checkpoint.every': 4})
    (none, bad, nor_here), loss_TS, final = _by_single_steps(cfg)
    assert none is nor_here is None and 2 < bad < STEPS - 5
    said = []
    assert not _train(cfg, tmp_path / 'run', said.append, stop=_after(1)).finished
    result = _train(cfg, tmp_path / 'run', said.append)
    assert result.finished and result.diverged == {1: bad} and np.isnan(result.test_accuracy[1])
    (warning,) = (line for line in said if line.startswith('WARNING'))
    assert f'network 1 (seed 1) diverged: its loss became NaN or Inf at step {bad};' in warning
    assert f'the last finite one is {loss_TS[bad - 2, 1]:.4g}' in warning
    assert 'others go on' in warning and 'config.train.learning_rate (it is 0.05)' in warning
    last = f'2 of 3 networks finished; network 1 (seed 1) diverged at step {bad}'
    assert said[-1] == last and '(mean ± std of 2 of 3 seeds)' in said[-2]
    for line in _lines(tmp_path / 'run'):
        for name in ('loss', 'train_accuracy', 'test_loss', 'test_accuracy', 'test_loss_median'):
            a, b, c = line.get(name, (0, None if line['step'] >= bad else 0, 0))
            assert (b is None) == (line['step'] >= bad) and None not in (a, c)
    _, found, _ = checkpoints.restore(tmp_path / 'run', STEPS)
    for leaf, expected in zip(jax.tree.leaves(found), jax.tree.leaves(final), strict=True):
        assert np.isnan(leaf[1]).all()
        np.testing.assert_array_equal(leaf[[0, 2]], expected[[0, 2]])
    said.clear()
    assert _train(cfg, tmp_path / 'run', said.append).diverged == {1: bad} and said[-1] == last
    _resume_after(bad, cfg, tmp_path / 'run', tmp_path / 'again')


def _resume_after(bad, cfg, whole, parts):
    """Started again from a checkpoint after network 1 had diverged at step `bad`."""
    shutil.copytree(whole, parts)
    since = [step for step in checkpoints.steps(parts) if step >= bad]
    for step in since[1:]:
        shutil.rmtree(parts / 'checkpoints' / str(step))
    assert since[0] < STEPS
    said = []
    assert _train(cfg, parts, said.append).diverged == {1: bad}
    (warning,) = (line for line in said if line.startswith('WARNING'))
    assert warning == f'WARNING: network 1 (seed 1) diverged at step {bad}'
    _assert_same_end(parts, whole)
    assert _lines(parts) == _lines(whole)


def test_where_all_networks_diverge_training_stops_and_names_the_last(tiny, tmp_path, scaled):
    scaled(100, 30, 500)
    cfg = tiny(HOT)
    first_bad, loss_TS, _ = _by_single_steps(cfg)
    s = int(np.argmax(first_bad))
    bad = first_bad[s]
    with pytest.raises(errors.NotFiniteError) as caught:
        _train(cfg, tmp_path)
    text = str(caught.value)
    assert f'network {s} (seed {s}) diverged: its loss became NaN or Inf at step {bad};' in text
    assert f'the last finite one is {loss_TS[bad - 2, s]:.4g}' in text
    assert f'the last line, at step {bad - 1},' in text
    assert 'all 3 networks of the run have diverged' in text and 'in another workdir' in text
    assert checkpoints.steps(tmp_path) == list(range(bad))
    with pytest.raises(errors.NotFiniteError, match=f'at step {bad};'):
        _train(cfg, tmp_path)


def test_test_losses_that_are_not_finite_stop_the_run_before_their_step_is_saved(tiny, tmp_path):
    cfg = tiny({**HOT, 'train.learning_rate': 1e30, 'train.steps': 1})
    with pytest.raises(errors.NotFiniteError, match='its test loss at step 1 is not finite'):
        _train(cfg, tmp_path)
    assert checkpoints.steps(tmp_path) == [0]


def _by_single_steps(cfg):
    """The first step of a bad loss of each network, or None; all losses; the variables at the end.

    Nothing is taken out.
    """
    dataset = datasets.load(cfg.data)
    model = presets.from_config(cfg.model, dataset.classes)
    mesh = placement.mesh(1, 1, jax.devices()[:1])
    programs = program.Program(seed_axis.settle(cfg), model, dataset, STEPS, mesh)
    networks, loss_TS = programs.begin(), []
    for t in range(STEPS):
        networks = programs.advance(programs.clear(networks), t, t + 1)
        loss_TS.append(np.asarray(networks.totals.loss))
    bad_TS = ~np.isfinite(loss_TS)
    first_bad = [int(bad_T.argmax()) + 1 if bad_T.any() else None for bad_T in bad_TS.T]
    return first_bad, np.array(loss_TS), jax.device_get(networks.state.variables)


def test_a_batch_larger_than_the_data_is_refused_before_anything_is_made(tmp_path):
    images, labels = np.random.default_rng(0).random((20, 6), 'f'), np.arange(20) % 4
    splits = {
        f'{split}_{what}': array
        for split in ('train', 'test')
        for what, array in (('images', images), ('labels', labels))
    }
    np.savez(tmp_path / 'own.npz', **splits)
    own = {'data.name': 'npz', 'data.dir': str(tmp_path / 'own.npz'), 'train.batch_size': 32}
    with pytest.raises(errors.ConfigError, match='batch_size=32 is larger than the 20 training'):
        _train(config.parse(own), tmp_path / 'run')
    assert not (tmp_path / 'run').exists()


def test_the_end_gives_the_spread_over_seeds_and_the_origin_of_the_data(copy, monkeypatch):
    workdir, cfg = copy
    shutil.rmtree(workdir / 'checkpoints' / '20')
    load = datasets.load

    def noted(data):
        found = load(data)
        return found._replace(source=found.source._replace(note='JPEG copy, not the originals'))

    monkeypatch.setattr(datasets, 'load', noted)
    said = []
    accuracy = _train(cfg, workdir, said.append).test_accuracy
    mean, spread = np.mean(accuracy), np.std(accuracy, ddof=1)
    assert f'{mean:.4f} ± {spread:.4f} (mean ± std of 2 seeds)' in said[-1]
    assert 'gaussians (JPEG copy, not the originals)' in said[-1] and 'examples/s' in said[-1]


def test_a_chunk_ends_where_the_first_thing_is_due():
    every = recorder.Cadence(log=10, record=4, evaluate=100, checkpoint=25)
    assert [every.next_stop(step) for step in (0, 4, 8, 24, 96)] == [4, 8, 10, 25, 100]
    early = every._replace(early=(1, 2, 4, 8, 16))
    assert [early.next_stop(step) for step in (0, 1, 2, 12, 24)] == [1, 2, 4, 16, 25]


def test_unset_cadences_are_shares_of_the_run():
    cfg = config.parse({'log.every': 7})
    assert recorder.cadence(cfg, 1000) == recorder.Cadence(7, 20, 100, 100)
    assert recorder.cadence(cfg, 3) == recorder.Cadence(7, 1, 1, 1)


@pytest.mark.parametrize(
    ('every', 'total', 'expected'),
    [(100, 600, (1, 2, 4, 8, 16, 32, 64)), (8, 600, (1, 2, 4)), (1, 9, ()), (None, 60, (1, 2, 4))],
)
def test_early_checkpoints_are_the_powers_of_two_below_the_first_regular_one(
    every, total, expected
):
    cfg = config.parse({'checkpoint.every': every, 'checkpoint.early': True})
    assert recorder.cadence(cfg, total).early == expected


def test_early_checkpoints_are_kept_change_no_bit_and_a_run_goes_on_from_one(
    reference, tmp_path, monkeypatch
):
    workdir, cfg = reference
    cfg = fields.replace(cfg, {'checkpoint.early': True, 'checkpoint.keep': 1})
    monkeypatch.setattr(loop, 'CHUNK_SECONDS', 0)  # single steps
    assert _train(cfg, tmp_path, stop=_after(4)).step == 3
    assert checkpoints.steps(tmp_path) == [0, 1, 2, 3]
    shutil.rmtree(tmp_path / 'checkpoints' / '3')
    assert _train(cfg, tmp_path).finished
    assert checkpoints.steps(tmp_path) == [0, 1, 2, 4, 20]
    _assert_same_end(tmp_path, workdir)
    assert _lines(tmp_path) == _lines(workdir)
    assert _lines(tmp_path, 'dynamics.jsonl') == _lines(workdir, 'dynamics.jsonl')


@pytest.mark.slow
def test_early_checkpoints_stay_where_a_run_goes_on_without_any(reference, tmp_path, monkeypatch):
    _, cfg = reference
    monkeypatch.setattr(loop, 'CHUNK_SECONDS', 0)  # single steps
    early = fields.replace(cfg, {'checkpoint.early': True, 'checkpoint.keep': 1})
    assert _train(early, tmp_path, stop=_after(4)).step == 3
    later = fields.replace(early, {'checkpoint.early': False, 'checkpoint.every': 5})
    assert _train(later, tmp_path).finished
    assert checkpoints.steps(tmp_path) == [0, 1, 2, 20]
