"""The probe batch of the record: every class at its share, however the training set is ordered."""

import numpy as np
import pytest

from resnet_dyn import config
from resnet_dyn.data import gaussians, splits
from resnet_dyn.training import dynamics


def probed(labels):
    """Labels of the probe batch of a split whose inputs are its labels."""
    labels = np.asarray(labels, np.int32)
    return dynamics.probe(splits.Split(labels[:, None], labels))[:, 0]


@pytest.mark.parametrize(
    ('classes', 'size'), [(2, 20_000), (10, 2_560), (50, 12_800), (50, 20_000), (256, 65_536)]
)
def test_the_probe_sees_every_class_of_cyclic_labels(classes, size):
    cfg = config.Data(name='gaussians', classes=classes, dimension=1, train_size=size, test_size=1)
    found = probed(gaussians.load(cfg).train.labels)
    assert len(found) == dynamics.PROBE_SIZE
    counts = np.bincount(found, minlength=classes)
    assert counts.min() >= 256 // classes and counts.max() <= -(-256 // classes)


@pytest.mark.parametrize(
    'labels',
    [
        np.arange(500) // 50,
        np.arange(50_000) // 5_000,
        np.arange(19_999) % 78 % 13,
        np.repeat([2, 1, 0], [900, 90, 10]),
    ],
    ids=['sorted', 'sorted_large', 'odd_cycle', 'unequal'],
)
def test_classes_have_their_share_of_the_probe_to_within_one_example(labels):
    counts, whole = np.bincount(probed(labels)), np.bincount(labels)
    assert len(counts) == len(whole) and counts.min() > 0
    assert np.abs(counts - 256 * whole / len(labels)).max() <= 1


@pytest.mark.parametrize('order', ['sorted', 'cyclic'])
def test_of_more_classes_than_examples_as_many_as_fit_are_seen(order):
    labels = np.arange(5_000)
    labels = labels // 10 if order == 'sorted' else labels % 500
    assert len(set(probed(labels))) == dynamics.PROBE_SIZE


def test_a_small_split_is_its_own_probe_and_a_large_ones_is_fixed():
    np.testing.assert_array_equal(probed(np.arange(9)), np.arange(9))
    np.testing.assert_array_equal(probed(np.arange(999) % 7), probed(np.arange(999) % 7))
    inputs = np.arange(999)[:, None]
    seen = dynamics.probe(splits.Split(inputs, np.arange(999) % 7))[:, 0]
    assert len(set(seen)) == 256 and seen.max() > 900, 'each once, from all over the split'
