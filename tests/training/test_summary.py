"""What a run says of itself at its beginning and its end."""

import dataclasses
import types

import jax
import numpy as np
import pytest

from resnet_dyn import config, fields
from resnet_dyn.models import presets
from resnet_dyn.training import checkpoints, loop, runs, state, summary

SOURCE = {'name': 'gaussians', 'note': '', 'digest': ''}


def test_the_trainable_values_are_those_of_he_et_al():
    model = presets.cifar_resnet(depth=20, block='postact')
    assert state.trainable_values(model, 'trained', (32, 32, 3)) == 269_722


def test_the_opening_line_says_shape_classes_and_parameters(tiny, dataset):
    run = runs.Run('W', tiny({'seeds': 2}), 20, None, False, None)
    line = summary.opening(run, dataset, 269_722, None, '1 cpu device')
    assert 'inputs of 7, 5 classes, 40 training and 10 test examples' in line
    assert (
        '2 networks (fully_connected, depth 3, paper, norm batch; 269,722 parameters each)' in line
    )
    images = dataset._replace(train=dataset.train._replace(inputs=np.zeros((40, 8, 6, 3))))
    line = summary.opening(run, images, 1, 12, '1 cpu device')
    assert 'inputs of 8 x 6 x 3' in line and 'restored at step 12' in line


def _going_on(planned, total, **changes):
    cfg = config.parse({f'train.{name}': value for name, value in changes.items()})
    stored = types.SimpleNamespace(total_steps=planned)
    return runs.Run('W', cfg, total, stored, False, None)


def test_a_run_made_longer_is_warned_of_the_jump_of_its_rate():
    run = _going_on(3000, 3600, schedule='cosine', learning_rate=0.047)
    line = summary.extension(run, 3000)
    longer = 0.047 * (1 + np.cos(np.pi * 3000 / 3600)) / 2
    assert 'planned for 3000 steps and now for 3600' in line
    assert f'from 0 to {longer:.3g}' in line and 'segments' in line
    steps = _going_on(1000, 2000, schedule='steps', learning_rate=0.1)
    assert 'from 0.001 to 0.01' in summary.extension(steps, 1000)


@pytest.mark.parametrize(
    ('planned', 'total', 'schedule'), [(3000, 3600, 'constant'), (3000, 3000, 'cosine')]
)
def test_nothing_is_said_where_the_rate_does_not_jump(planned, total, schedule):
    warmup = {'schedule': schedule, 'warmup': 10}
    assert summary.extension(_going_on(planned, total, **warmup), 1500) == ''
    new = runs.Run('W', config.parse(), total, None, False, None)
    assert summary.extension(new, 0) == ''


def _closing(workdir, cfg, line, diverged=None):
    start = runs.Start(workdir, cfg, None, finished=True)
    lines = [{'step': 20, 'images_per_second': 100.0}, {'step': 20, **line}]
    return list(summary.closing(start, SOURCE, lines, diverged or {}))


@pytest.mark.parametrize(
    ('data', 'words'),
    [
        ({'name': 'text'}, '; 100 sequences/s;'),
        ({'name': 'gaussians'}, '; 100 examples/s;'),
        ({'name': 'digits'}, '; 100 images/s;'),
    ],
)
def test_the_speed_is_of_what_the_data_are(tmp_path, data, words):
    cfg = config.parse()
    cfg = dataclasses.replace(cfg, data=dataclasses.replace(cfg.data, **data))
    (line,) = _closing(tmp_path, cfg, {'test_loss': [0.1], 'test_accuracy': [0.5]})
    assert words in line


@pytest.mark.parametrize(('statistic', 'norm'), [('variance', 'batch'), ('mean_square', 'rms')])
def test_where_mean_and_median_part_both_are_said_and_the_narrowest_unit(
    tmp_path, tiny, statistic, norm
):
    squares_SLC = np.ones((3, 4, 8), np.float32)
    squares_SLC[0, 1, 1], squares_SLC[2, 2, 5] = 1e-9, 2.7e-5
    stats = {
        'stem': {'norm': {statistic: np.ones((3, 8), np.float32)}},
        'stage_0': {'norm_0': {statistic: squares_SLC, 'mean': np.zeros((3, 4, 8), np.float32)}},
    }
    writer = checkpoints.Writer(tmp_path)
    writer.save(20, {'params': {'w': np.ones((3, 1))}, 'batch_stats': stats}, {})
    writer.close()
    cfg = tiny({'seeds': 3, 'model.norm': norm})
    found = {'test_loss': [0.4, None, 1.1], 'test_accuracy': [0.9, None, 0.99]}
    first, last, _ = _closing(
        tmp_path, cfg, {**found, 'test_loss_median': [0.2, None, 0.01]}, {1: 17}
    )
    assert 'mean 1.1, median 0.01 (network 2)' in first
    words = statistic.replace('_', ' ')
    assert f'stage_0 block 2 norm_0 channel 5 (running {words} 2.7e-05)' in first
    assert 'test accuracy 0.9450' in last
    alike = _closing(tmp_path, cfg, {**found, 'test_loss_median': [0.2, None, 0.5]})
    assert len(alike) == 1 and alike[0].startswith('test accuracy')
    assert len(_closing(tmp_path, cfg, found)) == 1, 'a run of an earlier version'


@pytest.mark.slow
def test_a_test_example_that_carries_the_loss_is_seen(tmp_path):
    """The first feature is 0 in training, and 10,000 in two of 70 test examples, of two classes."""
    rng = np.random.default_rng(0)
    arrays = {}
    for split, size in (('train', 260), ('test', 70)):
        labels = np.arange(size) % 4
        images = rng.standard_normal((size, 6)).astype(np.float32)
        images[:, 1:5] += 8 * np.eye(4, dtype=np.float32)[labels]
        images[:, 0] = 0
        arrays |= {f'{split}_images': images, f'{split}_labels': labels}
    arrays['test_images'][:2, 0] = 1e4
    np.savez(tmp_path / 'own.npz', **arrays)
    own = {'data.name': 'npz', 'data.dir': str(tmp_path / 'own.npz'), 'train.steps': 20}
    own |= {'seeds': 2, 'train.batch_size': 32, 'train.schedule': 'constant'}
    own |= {
        'train.weight_decay': 1e-3,
        'model.depth': 3,
        'model.width': 8,
        'log.tensorboard': False,
    }
    said = []
    loop.train(config.parse(own), tmp_path / 'run', said.append, devices=jax.devices()[:1])
    assert said[-2].startswith('test loss: mean ') and 'carry it' in said[-2]
    assert 'the narrowest unit is st' in said[-2] and 'running variance' in said[-2]


def test_networks_that_diverged_are_counted_in_the_last_line(tmp_path, tiny):
    cfg = fields.replace(tiny({'seeds': 3}), {'seed': 5})
    line = {'test_accuracy': [None, 0.5, None]}
    *_, last = _closing(tmp_path, cfg, line, {0: 3, 2: 17})
    assert last == (
        '1 of 3 networks finished; network 0 (seed 5) diverged at step 3; network 2 (seed 7) '
        'diverged at step 17'
    )
