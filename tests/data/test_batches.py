"""What a step does to its batch: order, choice, crop and flip, normalisation."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resnet_dyn.data import batches, splits

KEY = jax.random.key(0)
augment = jax.jit(batches.augment)
take = jax.jit(batches.take, static_argnums=3)
SIZE = 162 * 40  # of a batch that is augmented
IMAGES = np.random.default_rng(1).standard_normal((SIZE, 8, 8, 1), np.float32)


@pytest.mark.parametrize('size', [1, 7, 128])
def test_an_epochs_order_is_a_permutation(size):
    order = batches.epoch_order(KEY, 3, size)
    np.testing.assert_array_equal(np.sort(order), np.arange(size))


def test_epochs_differ_and_repeat_by_their_number():
    orders = [np.asarray(batches.epoch_order(KEY, epoch, 50)) for epoch in (0, 1, 0)]
    np.testing.assert_array_equal(orders[0], orders[2])
    assert (orders[0] != orders[1]).any()
    expected = jax.random.permutation(jax.random.fold_in(KEY, 1), 50)
    np.testing.assert_array_equal(orders[1], expected)


@pytest.mark.parametrize('size', [23, 24, 25])
def test_an_epoch_takes_each_example_once_and_leaves_the_rest_over(size):
    inputs = np.arange(size * 2, dtype=np.float32).reshape(size, 2)
    split = splits.Split(jnp.asarray(inputs), jnp.arange(size))
    order = np.random.default_rng(0).permutation(size).astype(np.int32)
    taken = [take(split, order, index, 8) for index in range(size // 8)]
    labels = np.concatenate([batch.labels for batch in taken])
    np.testing.assert_array_equal(labels, order[: size // 8 * 8])
    np.testing.assert_array_equal(np.concatenate([batch.inputs for batch in taken]), inputs[labels])


def test_epochs_and_batches_go_through_one_compiled_program():
    traces = []

    @jax.jit
    def step(split, epoch, index):
        traces.append(1)
        order = batches.epoch_order(KEY, epoch, 20)
        batch = batches.take(split, order, index, 8)
        return batches.augment(jax.random.fold_in(KEY, index), batch.inputs)

    split = splits.Split(jnp.ones((20, 6, 6, 1)), jnp.arange(20))
    for epoch, index in itertools.product(range(3), range(2)):
        step(split, epoch, index)
    assert len(traces) == 1


def crops_and_flips(image_HWC):
    """All 9 x 9 x 2 images that padding by 4, cropping and flipping can make of one."""
    height, width, _ = image_HWC.shape
    padded = np.pad(image_HWC, ((4, 4), (4, 4), (0, 0)))
    for top, left in itertools.product(range(9), range(9)):
        crop = padded[top : top + height, left : left + width]
        yield from (crop, crop[:, ::-1])


@pytest.mark.parametrize(('shape', 'dtype'), [((9, 7, 3), np.uint8), ((8, 8, 1), np.float32)])
def test_augmented_images_are_crops_and_flips_of_their_own_all_equally_likely(dtype, shape):
    image = np.random.default_rng(0).integers(1, 256, shape).astype(dtype)
    made = augment(KEY, np.broadcast_to(image, (SIZE, *shape)))
    assert made.shape == (SIZE, *shape) and made.dtype == dtype
    place = {candidate.tobytes(): i for i, candidate in enumerate(crops_and_flips(image))}
    assert len(place) == 162
    counts = np.bincount([place[one.tobytes()] for one in np.asarray(made)], minlength=162)
    # Pearson's chi^2 has mean 161 and standard deviation sqrt(2 * 161) = 18.
    assert 161 - 4 * 18 < np.square(counts - 40).sum() / 40 < 161 + 4 * 18


def test_each_image_of_a_batch_is_cropped_from_itself():
    for image, made in zip(IMAGES[:16], np.asarray(augment(KEY, IMAGES))[:16], strict=True):
        assert any((made == candidate).all() for candidate in crops_and_flips(image))


def test_augmentation_is_fixed_by_its_key():
    one, same, other = (np.asarray(augment(jax.random.key(k), IMAGES)) for k in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_networks_mapped_over_keys_augment_as_one_by_one():
    keys = jax.random.split(KEY, 3)
    mapped = jax.jit(jax.vmap(batches.augment, in_axes=(0, None)))(keys, IMAGES)
    for key, one in zip(keys, np.asarray(mapped), strict=True):
        np.testing.assert_array_equal(one, augment(key, IMAGES))


@pytest.mark.parametrize('shape', [(10, 3), (10, 4, 5, 3)])
@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16])
def test_normalised_inputs_are_centred_and_scaled_along_the_last_axis(shape, dtype):
    inputs = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    mean, std = np.float32([100, 120, 140]), np.float32([50, 60, 70])
    made = batches.normalise(jnp.asarray(inputs), jnp.asarray(mean), jnp.asarray(std), dtype)
    assert made.dtype == dtype
    expected = (inputs - mean.astype(np.float64)) / std
    np.testing.assert_allclose(
        made.astype(jnp.float32), expected, rtol=2 * float(jnp.finfo(dtype).eps)
    )
