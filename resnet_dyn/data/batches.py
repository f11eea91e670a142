"""What a training step does to the data, on the device: choose a batch, augment, normalise.

Pure functions, made to run inside a jitted step; the arrays come in as arguments, never closed
over, or XLA would fold them into the program.
"""

import jax
import jax.numpy as jnp
from jax import lax

from resnet_dyn.data import splits

PAD = 4


def epoch_order(key: jax.Array, epoch: jax.Array | int, size: int) -> jax.Array:
    """The order of an epoch: a permutation of 0..size-1, (size,) int32, by fold_in(key, epoch).

    About 25 ms for 50,000 examples on a CPU: compute it once an epoch, not once a step.
    """
    return jax.random.permutation(jax.random.fold_in(key, epoch), size)


def take(
    split: splits.Split, order: jax.Array, index: jax.Array | int, batch_size: int
) -> splits.Split:
    """Batch `index` of the epoch in `order`: the examples order[index B : (index + 1) B].

    `index` must lie in 0..floor(N / B) - 1; the N mod B examples left over sit this epoch out.
    """
    rows = lax.dynamic_slice_in_dim(order, index * batch_size, batch_size)
    return splits.Split(*(array.at[rows].get(mode='promise_in_bounds') for array in split))


def augment(key: jax.Array, images_BHWC: jax.Array) -> jax.Array:
    """Each image padded by 4 on every side, cropped to its old size at random, flipped by a coin.

    Shape and dtype stay. The padding is 0 in the units that come in: black for uint8 pixels, the
    mean for normalised ones, as in He et al. 2016 (arXiv:1512.03385, section 4.2), whose images
    are centred before they are padded.
    """
    batch, height, width, channels = images_BHWC.shape
    crop_key, flip_key = jax.random.split(key)
    corners_B2 = jax.random.randint(crop_key, (batch, 2), 0, 2 * PAD + 1)
    flips_B = jax.random.bernoulli(flip_key, shape=(batch,))
    padded = jnp.pad(images_BHWC, ((0, 0), (PAD, PAD), (PAD, PAD), (0, 0)))

    def crop(image, corner):
        return lax.dynamic_slice(image, (*corner, 0), (height, width, channels))

    cropped = jax.vmap(crop)(padded, corners_B2)
    return jnp.where(flips_B[:, None, None, None], cropped[:, :, ::-1], cropped)


def normalise(
    inputs: jax.Array, mean: jax.Array, std: jax.Array, dtype: jnp.dtype = jnp.float32
) -> jax.Array:
    """(inputs - mean) / std along the last axis, computed in float32 and given in `dtype`.

    Tokens, of mean and std (0,), come back as they are.
    """
    inputs = jnp.asarray(inputs)
    if not len(mean):
        return inputs
    mean, std = jnp.asarray(mean, jnp.float32), jnp.asarray(std, jnp.float32)
    shape = (1,) * (inputs.ndim - 1) + mean.shape
    centred = inputs.astype(jnp.float32) - mean.reshape(shape)
    return (centred / std.reshape(shape)).astype(dtype)
