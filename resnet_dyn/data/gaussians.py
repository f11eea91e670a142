"""The paper's own task: one multivariate Gaussian a class.

    x = mu_k + A_k z,    mu_k ~ N(0, separation^2 I),    z ~ N(0, I),    Sigma_k = A_k A_k^T

with Sigma_k = I, or a Wishart matrix of its own per class, scaled to trace Sigma_k = D. In both
cases E x_i^2 = 1 + separation^2, over the draws of everything, for each coordinate i.
"""

import os

import numpy as np

from resnet_dyn import config, errors
from resnet_dyn.data import splits

MEANS_STREAM, COVARIANCE_STREAM, TRAIN_STREAM, TEST_STREAM = 11, 12, 13, 14

_BYTES = 8 + 8 + 4  # of a coordinate of an input: its noise, its mean and the sum, as it is drawn


def load(data: config.Data) -> splits.Pair:
    """Both splits: inputs (N, D) float32, not yet scaled; labels 0, 1, .., K - 1, 0, 1, .. (N,).

    Means, covariances, training and test noise come from streams of their own of `data.seed`: a
    smaller split is the beginning of a larger one, and the sizes do not touch the classes. Raises
    BudgetError for more than this machine could ever hold.
    """
    _check_memory(data)
    rng = np.random.default_rng([data.seed, MEANS_STREAM])
    means_KD = data.separation * rng.standard_normal((data.classes, data.dimension))
    train = _draw(data, means_KD, data.train_size, TRAIN_STREAM)
    test = _draw(data, means_KD, data.test_size, TEST_STREAM)
    return splits.Pair(train, test, data.classes)


def standardisation(data: config.Data) -> tuple[np.ndarray, np.ndarray]:
    """Mean 0 and standard deviation sqrt(1 + separation^2) for each coordinate: (D,), (D,) float32.

    Divided by it, E x_i^2 = 1, as the theory assumes of the inputs. It is the law's own value,
    not the sample's, so that the classes stay the Gaussians that they are.
    """
    scale = np.sqrt(1.0 + data.separation**2)
    return np.zeros(data.dimension, np.float32), np.full(data.dimension, scale, np.float32)


def covariance_factor(data: config.Data, k: int) -> np.ndarray:
    """A_k (D, D) with A_k A_k^T = Sigma_k: Wishart of D degrees of freedom, trace D."""
    rng = np.random.default_rng([data.seed, COVARIANCE_STREAM, k])
    factor_DD = rng.standard_normal((data.dimension, data.dimension))
    return factor_DD * (np.sqrt(data.dimension) / np.linalg.norm(factor_DD))


def _check_memory(data: config.Data) -> None:
    there = os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
    needed = _BYTES * data.dimension * (data.train_size + data.test_size)
    if needed > there:
        raise errors.BudgetError(
            f'{data.train_size:,} + {data.test_size:,} Gaussians of dimension {data.dimension:,} '
            f'take {needed / 2**30:,.0f} GiB while they are drawn, and this machine has '
            f'{there / 2**30:,.0f}: lower config.data.train_size, test_size or dimension'
        )


def _draw(data: config.Data, means_KD: np.ndarray, size: int, stream: int) -> splits.Split:
    labels = np.arange(size, dtype=np.int32) % data.classes
    noise_ND = np.random.default_rng([data.seed, stream]).standard_normal((size, data.dimension))
    if data.covariance == 'wishart':
        for k in range(data.classes):
            noise_ND[k :: data.classes] @= covariance_factor(data, k).T
    return splits.Split((means_KD[labels] + noise_ND).astype(np.float32), labels)
