"""Variables of a network with random values that no program has to be compiled for."""

import functools

import jax
import numpy as np


def of(model, x, seed: int = 0):
    """What `model.init` gives, drawn by NumPy: no two gammas and no two running averages alike.

    Kernels as He et al. draw them, biases and means near 0, gammas and variances near 1.
    """
    rng = np.random.default_rng(seed)

    def draw(path, leaf):
        name, shape = path[-1].key, leaf.shape
        if name == 'kernel':
            fan_in = np.prod(shape[-4:-1]) if len(shape) > 3 else shape[-2]
            values = rng.normal(0, np.sqrt(2 / fan_in), shape)
        elif name in ('bias', 'mean'):
            values = rng.normal(0, 0.1, shape)
        else:
            values = rng.uniform(0.7, 1.3, shape)
        return values.astype(leaf.dtype)

    return jax.tree_util.tree_map_with_path(draw, dict(_shapes(model, x.shape, x.dtype)))


@functools.cache
def _shapes(model, shape, dtype):
    """Those of the variables, for equal models of equal inputs looked up once."""
    return jax.eval_shape(model.init, jax.random.key(0), jax.ShapeDtypeStruct(shape, dtype))
