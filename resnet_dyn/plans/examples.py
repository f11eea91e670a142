"""Data sets of zeros in the shapes of those that a config names: enough to compile for.

What is of a fixed size is known here and looked for nowhere; digits and the user's own are read.
"""

import numpy as np

from resnet_dyn import config, errors
from resnet_dyn.data import datasets, splits

# shape of an image, classes, examples to train on and to test on
SETS = {
    'cifar10': ((32, 32, 3), 10, 50_000, 10_000),
    'cifar100': ((32, 32, 3), 100, 50_000, 10_000),
    'svhn_cropped': ((32, 32, 3), 10, 73_257, 26_032),
    'fashion_mnist': ((28, 28, 1), 10, 60_000, 10_000),
}
READ = ('digits', 'npz')


def of_config(data: config.Data) -> datasets.Dataset:
    """The data set of a config; zeros take no memory. ConfigError where its shapes are not known.

    DataError as in `datasets.load` where one that is read is not there.
    """
    if data.name in READ:
        return datasets.load(data)
    if data.name == 'gaussians':
        known = ((data.dimension,), data.classes, data.train_size, data.test_size)
    elif data.name in SETS:
        known = SETS[data.name]
    else:
        raise errors.ConfigError(
            f'no plan is made for config.data.name={data.name}: the shapes of {", ".join(SETS)} '
            'are known, digits and npz are read, gaussians are made by their flags'
        )
    shape, classes, train, test = known
    dtype = np.float32 if data.name == 'gaussians' else np.uint8
    zeros = np.zeros(shape[-1:], np.float32)
    return datasets.Dataset(
        _split(data.train_size or train, shape, dtype),
        _split(data.test_size or test, shape, dtype),
        zeros,
        zeros,
        classes,
        datasets.Source(data.name, '', ''),
    )


def _split(size: int, shape: tuple[int, ...], dtype) -> splits.Split:
    inputs = np.broadcast_to(np.zeros((), dtype), (size, *shape))
    return splits.Split(inputs, np.broadcast_to(np.zeros((), np.int32), (size,)))
