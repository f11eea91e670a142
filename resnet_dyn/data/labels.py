"""Labels that are wrong on purpose: how much of what training does is memory."""

import numpy as np

from resnet_dyn.data import splits

NOISE_STREAM = 2


def with_noise(split: splits.Split, share: float, classes: int, seed: int) -> splits.Split:
    """The split with round(share N) of its N labels replaced by another class.

    Which ones, and by which of the other K - 1 classes, is drawn uniformly, fixed by `seed`: what
    is wrong at a share is wrong in the same way at every larger one.
    """
    size = len(split.labels)
    rng = np.random.default_rng([seed, NOISE_STREAM])
    wrong = rng.permutation(size)[: round(share * size)]
    shifts = rng.integers(1, classes, size)
    noisy = split.labels.copy()
    noisy[wrong] = (noisy[wrong] + shifts[wrong]) % classes
    return split._replace(labels=noisy)
