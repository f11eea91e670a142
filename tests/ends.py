"""Whether two runs came to the same end: their newest checkpoints, and every line they have."""

import jax
import numpy as np

from resnet_dyn.training import checkpoints, metrics


def assert_same(workdir, other):
    found, expected = (checkpoints.restore_training(w)[:2] for w in (workdir, other))
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    for name in ('metrics.jsonl', 'dynamics.jsonl'):
        assert lines(workdir, name) == lines(other, name)


def lines(workdir, name):
    """Without what a clock decides."""
    found = metrics.read(workdir / name)
    return [{k: v for k, v in line.items() if k != 'images_per_second'} for line in found]
