"""Streams of images: every example once an epoch however it is read, labels, parts, faults."""

import dataclasses
import itertools
import multiprocessing
import os
import signal

import image_tree
import numpy as np
import pytest

from resnet_dyn import config, errors
from resnet_dyn.data import datasets, decoding, labels, splits, streams

SIZE, BATCH = 22, 4  # 5 steps an epoch, and 2 examples that sit it out


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    """A class an image, so that a label says which image it is."""
    one_each = {f'c{i:02d}': 1 for i in range(SIZE)}
    return image_tree.write(tmp_path_factory.mktemp('tree'), one_each, {'c03': 3, 'c07': 2})


@pytest.fixture
def load(root):
    def load(**more):
        data = {'name': 'image_folder', 'dir': str(root), 'image_size': 16, 'workers': 0, **more}
        return datasets.load(config.part('data', data))

    return load


def some(stream, start, number, rows=streams.ALL, workers=None):
    found = stream.batches(start, BATCH, rows, workers)
    try:
        return list(itertools.islice(found, number))
    finally:
        found.close()


def assert_same(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.inputs, other.inputs, strict=True)
        np.testing.assert_array_equal(one.labels, other.labels, strict=True)


def test_an_epoch_has_each_example_at_most_once_and_orders_differ_by_epoch_and_seed(load):
    found = np.array([batch.labels for batch in some(load().train, 0, 10)]).reshape(2, -1)
    for epoch in found:
        assert len(set(epoch)) == len(epoch) == 20
    other = np.concatenate([batch.labels for batch in some(load(seed=1).train, 0, 5)])
    assert not np.array_equal(found[0], found[1]) and not np.array_equal(found[0], other)


@pytest.mark.slow
def test_a_stream_begun_in_the_middle_goes_on_with_worker_processes_and_names_a_dead_one(load):
    stream = load().train
    whole = some(stream, 0, 8)
    going_on = stream.batches(3, BATCH, workers=2)
    assert_same(list(itertools.islice(going_on, 5)), whole[3:])
    workers = [p for p in multiprocessing.active_children() if 'grain' in p.name]
    assert len(workers) == 2
    for worker in workers:  # what is sent to all processes of a job is for the one that trains
        os.kill(worker.pid, signal.SIGTERM)
        os.kill(worker.pid, signal.SIGINT)
    next(going_on)
    os.kill(workers[0].pid, signal.SIGKILL)
    with pytest.raises(errors.DataError, match=r'worker process .* exit code -9.*config\.data\.w'):
        list(going_on)
    assert not [p for p in multiprocessing.active_children() if 'grain' in p.name]


@pytest.mark.parametrize('processes', [2, 3])
def test_processes_have_rows_of_the_same_batches(load, processes, monkeypatch):
    monkeypatch.setattr(streams, 'PIECE', 3)
    stream = load().train
    cuts = np.linspace(0, BATCH, processes + 1).astype(int)
    parts = [some(stream, 4, 2, slice(*rows)) for rows in itertools.pairwise(cuts)]
    together = [
        splits.Split(*map(np.concatenate, zip(*one, strict=True)))
        for one in zip(*parts, strict=True)
    ]
    assert_same(together, some(stream, 4, 2))


def test_crops_are_drawn_by_example_and_epoch_and_not_where_augment_is_off(load):
    plain, stream = load(augment=False).train, load().train
    rows = np.arange(6)
    assert_same([plain.decode(rows, epoch=0)], [plain.take(rows)])
    assert_same([stream.decode(rows, epoch=1)], [stream.decode(rows, epoch=1)])
    later = stream.decode(rows[2:], epoch=1)
    assert_same([later], [splits.Split(*(a[2:] for a in stream.decode(rows, epoch=1)))])
    first, second = (stream.decode(rows, epoch=e).inputs for e in (0, 1))
    assert all((a != b).any() for a, b in zip(first, second, strict=True))


def test_the_test_examples_come_once_in_their_order_and_the_last_batch_is_filled(load):
    dataset = load()
    found = list(dataset.test.padded(3))
    np.testing.assert_array_equal([b.labels for b in found], [[3, 3, 3], [7, 7, 0]])
    expected = dataset.test.take(slice(None))
    np.testing.assert_array_equal(np.concatenate([b.inputs for b in found])[:5], expected.inputs)
    assert not found[-1].inputs[2].any()
    parts = [list(dataset.test.padded(3, rows)) for rows in (slice(0, 2), slice(2, 3))]
    assert [b.labels.tolist() for b in parts[1]] == [[3], [0]]


def test_inputs_are_an_array_that_decodes_what_it_is_indexed_by(load, root):
    train = load().train
    assert (len(train.inputs), train.inputs.shape) == (SIZE, (SIZE, 16, 16, 3))
    picked = train.inputs[[5, 2]]
    np.testing.assert_array_equal(picked[1], decoding.centre(root / 'train/c02/0.jpg', 16))
    assert train.inputs[:0].shape == (0, 16, 16, 3)
    chosen = splits.subset(train, 6, seed=3)
    np.testing.assert_array_equal(chosen.labels, splits.chosen(np.arange(SIZE), 6, 3))
    np.testing.assert_array_equal(chosen.inputs, train.inputs[chosen.labels])


def test_a_part_and_wrong_labels_are_those_of_a_set_in_memory(load):
    found = load(train_size=9, label_noise=0.5, seed=2).train
    numbers = np.arange(SIZE, dtype=np.int32)
    memory = splits.subset(splits.Split(numbers, numbers), 9, 2)
    np.testing.assert_array_equal(found.ids_N, memory.inputs)
    noisy = labels.with_noise(memory, 0.5, SIZE, 2)
    np.testing.assert_array_equal(found.labels, noisy.labels)
    np.testing.assert_array_equal(found.take(slice(2, 7)).labels, noisy.labels[2:7])
    seen = np.concatenate([batch.labels for batch in some(found, 0, 2)])
    assert set(seen) <= set(noisy.labels.tolist())
    with pytest.raises(errors.DataError, match='train_size=23 is more than the 22 train'):
        load(train_size=23)


def test_a_damaged_image_ends_the_stream_by_its_name(load, root, tmp_path, write_tree):
    spoilt = write_tree(tmp_path / 'spoilt', {'a': 3, 'b': 3}, {'a': 1})
    path = spoilt / 'train/b/1.jpg'
    path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(errors.DataError, match=rf'{path} is no whole image .*new workdir$'):
        some(load(dir=str(spoilt)).train, 0, 2)


def test_records_of_tfds_are_read_with_their_labels(tmp_path, pixels, write_tfds):
    train, validation = pixels(12, (20, 24, 3), seed=1), pixels(5, (20, 24, 3), seed=2)
    parts = {'train': train, 'validation': validation}
    folder = write_tfds(tmp_path, 'imagenet2012', parts, version='5.1.0')
    data = {'name': 'imagenet2012', 'dir': str(tmp_path), 'image_size': 16, 'workers': 0}
    dataset = datasets.load(config.part('data', data))
    assert (dataset.train.size, dataset.test.size, dataset.classes) == (12, 5, 10)
    seen = np.concatenate([b.labels for b in some(dataset.train, 0, 3)])
    assert sorted(seen) == sorted(train[1])
    order = streams.epoch_order(0, 0, 12)
    np.testing.assert_array_equal(seen, train[1][order])
    np.testing.assert_array_equal(dataset.test.labels[:], validation[1])
    noisy = datasets.load(config.part('data', {**data, 'label_noise': 0.5})).train
    expected = labels.with_noise(splits.Split(*train), 0.5, 10, 0).labels
    np.testing.assert_array_equal(noisy.labels[:], expected)
    part = splits.subset(dataset.train, 4, 0)
    assert part.inputs.shape == (4, 16, 16, 3) and len(part.labels) == 4
    assert not dataclasses.replace(dataset.train).source.__getstate__()['_opened']
    (folder / 'imagenet2012-validation.array_record-00000-of-00001').unlink()
    with pytest.raises(errors.DataError, match=r'the copy is not whole\..*downloads/manual'):
        datasets.load(config.part('data', data))


def test_absent_records_say_how_they_are_prepared(tmp_path):
    data = config.part('data', {'name': 'imagenet2012', 'dir': str(tmp_path)})
    with pytest.raises(errors.DataError, match=r'there is no imagenet2012 .*ILSVRC2012_img_train'):
        datasets.load(data)
