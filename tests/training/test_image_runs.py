"""Runs on a folder of images: stopped within an epoch, evaluated, looked at."""

import itertools

import image_tree
import jax
import numpy as np
import pytest

from resnet_dyn import config
from resnet_dyn.analysis import effort, run_subjects
from resnet_dyn.data import datasets, prefetch, streams
from resnet_dyn.training import checkpoints, loop, metrics

pytestmark = pytest.mark.usefixtures('shared_programs')

BATCH, STEPS = 4, 8  # of 22 examples: 5 steps an epoch


@pytest.fixture(scope='module')
def cfg(tmp_path_factory):
    root = tmp_path_factory.mktemp('images')
    image_tree.write(root, {'ape': 8, 'bee': 14}, {'ape': 5, 'bee': 2})
    return config.parse(
        {
            'seeds': 2,
            'data.name': 'image_folder',
            'data.dir': str(root),
            'data.image_size': 8,
            'data.workers': 0,
            'model.family': 'fully_connected',
            'model.depth': 3,
            'model.width': 4,
            'train.batch_size': BATCH,
            'train.steps': STEPS,
            'log.tensorboard': False,
            'checkpoint.every': 4,
        }
    )


@pytest.fixture(scope='module')
def run(cfg, tmp_path_factory, shared_programs):
    """The workdir of a run that nothing disturbed."""
    workdir = tmp_path_factory.mktemp('run') / 'run'
    assert _train(cfg, workdir).finished
    return workdir


def _train(cfg, workdir, **options):
    return loop.train(cfg, workdir, lambda line: None, devices=jax.devices()[:1], **options)


def _end(workdir):
    return checkpoints.restore_training(workdir)[1]


def test_a_run_stopped_within_an_epoch_sees_each_image_once_and_ends_in_the_same_bits(
    cfg, run, tmp_path, monkeypatch
):
    seen, decode = {}, streams.Examples.decode

    def decoded(examples, positions, epoch=None):
        if epoch is not None:
            for position in positions:
                seen.setdefault(epoch, []).append(int(position))
        return decode(examples, positions, epoch)

    monkeypatch.setattr(streams.Examples, 'decode', decoded)
    monkeypatch.setattr(prefetch, 'ahead', _nothing_ahead)
    asked = itertools.count()
    first = _train(cfg, tmp_path / 'run', stop=lambda: next(asked) >= 3)
    assert 0 < first.step < 5 and not first.finished
    assert _train(cfg, tmp_path / 'run').finished
    assert len(seen[0]) == len(set(seen[0])) == 5 * BATCH
    assert len(seen[1]) == len(set(seen[1])) == 3 * BATCH
    jax.tree.map(np.testing.assert_array_equal, _end(run), _end(tmp_path / 'run'))


def _nothing_ahead(pieces, first, workers):
    """The pieces, none of them made before it is asked for."""
    return (pieces(number) for number in itertools.count(first))


def test_all_validation_images_are_evaluated(cfg, run):
    line = metrics.read(run / 'metrics.jsonl')[-1]
    right = np.array(line['test_accuracy']) * 7
    np.testing.assert_allclose(right, right.round(), atol=1e-5)
    test = datasets.load(cfg.data).test
    assert test.size == 7 and test.labels.tolist() == [0] * 5 + [1] * 2


def test_an_analysis_looks_at_the_middle_of_images_chosen_once(cfg, run):
    found = run_subjects.Run(run, effort.Settings(examples=4)).subject(STEPS)
    again = run_subjects.Run(run, effort.Settings(examples=4)).subject(STEPS)
    assert found.examples.inputs.shape == (4, 8, 8, 3)
    np.testing.assert_array_equal(found.examples.inputs, again.examples.inputs)
    np.testing.assert_array_equal(found.examples.labels, [0, 0, 0, 1])
    mean, std = streams.moments()
    whole = (datasets.load(cfg.data).test.inputs[:] - mean) / std
    for image in np.asarray(found.examples.inputs):
        assert np.abs(whole - image).max(axis=(1, 2, 3)).min() < 1e-5
