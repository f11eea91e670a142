"""Labels that are wrong on purpose: how much of what training does is memory."""

import numpy as np

from resnet_dyn.data import splits

NOISE_STREAM = 2


def with_noise(split: splits.Split, share: float, classes: int, seed: int) -> splits.Split:
    """The split with round(share N) of its N labels replaced by another class (`shifts`)."""
    shifts_N = shifts(len(split.labels), share, classes, seed)
    return split._replace(labels=shifted(split.labels, shifts_N, classes))


def shifts(size: int, share: float, classes: int, seed: int) -> np.ndarray:
    """What is added to each of `size` labels, modulo the K classes, (N,) int64; 0 for most.

    Which ones, and by which of the other K - 1 classes, is drawn uniformly, fixed by `seed`: what
    is wrong at a share is wrong in the same way at every larger one.
    """
    rng = np.random.default_rng([seed, NOISE_STREAM])
    right = rng.permutation(size)[round(share * size) :]
    shifts_N = rng.integers(1, classes, size)
    shifts_N[right] = 0
    return shifts_N


def shifted(labels, shifts, classes: int) -> np.ndarray:
    """The labels moved on by `shifts`, in their own dtype."""
    return ((labels + shifts) % classes).astype(labels.dtype)
