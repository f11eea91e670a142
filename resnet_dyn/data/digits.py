"""Handwritten digits of scikit-learn: 1,797 real images, 8x8, gray, inside the install.

A fixed random split by `data.seed`: 1,500 to train, 297 to test.
"""

import numpy as np

from resnet_dyn import config
from resnet_dyn.data import splits

TRAIN_SIZE = 1_500
SPLIT_STREAM = 21


def load(data: config.Data) -> splits.Pair:
    """Both splits: images (N, 8, 8, 1) uint8 with values 0..16, labels (N,) int32 of 10 classes."""
    from sklearn import datasets

    digits = datasets.load_digits()
    images_NHWC = digits.images.astype(np.uint8)[..., None]
    labels = digits.target.astype(np.int32)
    order = np.random.default_rng([data.seed, SPLIT_STREAM]).permutation(len(labels))
    train, test = order[:TRAIN_SIZE], order[TRAIN_SIZE:]
    return splits.Pair(
        splits.Split(images_NHWC[train], labels[train]),
        splits.Split(images_NHWC[test], labels[test]),
        classes=10,
    )
