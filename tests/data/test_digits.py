"""The digits of scikit-learn: an honest split of real images."""

import numpy as np
import pytest
from sklearn import datasets

from resnet_dyn import config
from resnet_dyn.data import digits


def load(seed=0):
    return digits.load(config.Data(name='digits', seed=seed))


def rows(images, labels):
    """The examples as sorted rows of pixels and label: a multiset."""
    flat = np.column_stack([images.reshape(len(images), -1), labels]).astype(int)
    return flat[np.lexsort(flat.T)]


def test_images_are_gray_uint8_of_16_levels():
    pair = load()
    assert pair.train.inputs.shape == (1_500, 8, 8, 1)
    assert pair.test.inputs.shape == (297, 8, 8, 1)
    assert pair.train.inputs.dtype == np.uint8 and pair.train.labels.dtype == np.int32
    assert (pair.train.inputs.min(), pair.train.inputs.max()) == (0, 16)
    assert pair.classes == 10


@pytest.mark.parametrize('seed', [0, 1])
def test_the_splits_together_are_all_digits_once(seed):
    pair, original = load(seed), datasets.load_digits()
    images = np.concatenate([pair.train.inputs, pair.test.inputs])
    labels = np.concatenate([pair.train.labels, pair.test.labels])
    np.testing.assert_array_equal(rows(images, labels), rows(original.data, original.target))


def test_the_split_is_fixed_by_the_seed():
    np.testing.assert_array_equal(load(1).test.inputs, load(1).test.inputs)
    assert (load(0).test.labels != load(1).test.labels).any()
