"""Wrong labels: as many as asked for, of all other classes, fixed by the seed, to train on."""

import numpy as np
import pytest
from scipy import stats

from resnet_dyn import config, fields
from resnet_dyn.data import datasets, labels, splits

N, CLASSES = 6001, 4


def _noisy(share, seed=0, size=N):
    right = np.arange(size, dtype=np.int32) % CLASSES
    split = splits.Split(np.zeros((size, 1), np.float32), right)
    return right, labels.with_noise(split, share, CLASSES, seed).labels


@pytest.mark.parametrize('share', [0.0, 0.1, 0.5, 0.99])
def test_just_the_share_of_the_labels_is_wrong(share):
    right, noisy = _noisy(share)
    assert np.count_nonzero(right != noisy) == round(share * N)
    assert noisy.dtype == np.int32 and noisy.min() == 0 and noisy.max() == CLASSES - 1


def test_a_wrong_label_is_any_of_the_other_classes_alike():
    right, noisy = _noisy(0.5)
    shifts = ((noisy - right) % CLASSES)[noisy != right]
    assert stats.chisquare(np.bincount(shifts, minlength=CLASSES)[1:]).pvalue > 0.01


def test_what_is_wrong_at_a_share_is_wrong_in_the_same_way_at_a_larger_one():
    right, some = _noisy(0.2)
    _, more = _noisy(0.4)
    wrong = some != right
    np.testing.assert_array_equal(some[wrong], more[wrong])
    assert (_noisy(0.2, seed=1)[1] != some).any()


def test_a_data_set_has_its_noise_in_the_training_labels_of_its_part_alone():
    plain = config.Data(name='digits', train_size=300, test_size=50)
    right, noisy = (
        datasets.load(fields.replace(plain, {'label_noise': share})) for share in (0.0, 0.25)
    )
    assert np.count_nonzero(right.train.labels != noisy.train.labels) == 75
    np.testing.assert_array_equal(right.train.inputs, noisy.train.inputs)
    np.testing.assert_array_equal(right.test.inputs, noisy.test.inputs)
    np.testing.assert_array_equal(right.test.labels, noisy.test.labels)
    assert right.source.digest != noisy.source.digest
