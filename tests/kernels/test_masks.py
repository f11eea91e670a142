"""Sets of masks: exact numbers of rows, the deleted blocks, keys, and what is refused."""

import itertools
import math

import jax
import numpy as np
import pytest

from resnet_dyn.kernels import masks


def deleted(masks_ML):
    return [tuple(np.flatnonzero(row == 0)) for row in masks_ML]


def test_single_deletes_block_i_in_row_i():
    assert deleted(masks.single(5)) == [(i,) for i in range(5)]


@pytest.mark.parametrize('j', range(5))
def test_exactly_j_is_every_combination_once(j):
    assert deleted(masks.exactly(4, j)) == list(itertools.combinations(range(4), j))


def test_up_to_begins_with_the_full_net():
    sets = deleted(masks.up_to(5, 2))
    assert len(sets) == 1 + 5 + 10
    assert sets[0] == ()


def test_all_masks_are_the_bits_of_their_index():
    masks_ML = masks.all_masks(5)
    assert masks_ML.shape == (32, 5)
    assert (masks_ML @ 2 ** np.arange(5) == np.arange(32)).all()


@pytest.mark.parametrize(('j', 'num'), [(2, 10), (3, 50), (1, 6)])
def test_random_without_replacement_has_different_masks_of_j_deletions(j, num):
    masks_ML = masks.random(jax.random.key(0), 20 if num == 50 else 6, j, num, replace=False)
    assert len({tuple(row) for row in masks_ML}) == len(masks_ML) == num
    assert (masks_ML.shape[1] - masks_ML.sum(1) == j).all()


def test_random_without_replacement_of_everything_is_every_mask():
    masks_ML = masks.random(jax.random.key(0), 6, 3, 20, replace=False)
    assert set(deleted(masks_ML)) == set(itertools.combinations(range(6), 3))


def test_random_without_replacement_from_a_large_set_is_as_long_as_asked():
    masks_ML = masks.random(jax.random.key(1), 40, 6, 300, replace=False)
    assert len({tuple(row) for row in masks_ML}) == 300


def test_random_masks_are_uniform_over_blocks_and_follow_their_key():
    masks_ML = masks.random(jax.random.key(0), 8, 3, 4000)
    frequency = 1 - masks_ML.mean(0)
    # 4 standard errors of a frequency of 3/8 over 4000 masks
    assert np.abs(frequency - 3 / 8).max() < 4 * math.sqrt(3 / 8 * 5 / 8 / 4000)
    again = masks.random(jax.random.key(0), 8, 3, 4000)
    other = masks.random(jax.random.key(1), 8, 3, 4000)
    assert (masks_ML == again).all()
    assert (masks_ML != other).any()


def test_bernoulli_keeps_with_the_given_probability():
    masks_ML = masks.bernoulli(jax.random.key(0), 10, 0.7, 2000)
    assert abs(masks_ML.mean() - 0.7) < 4 * math.sqrt(0.21 / 20_000)


def test_runs_delete_adjacent_blocks():
    assert deleted(masks.runs(5, 3)) == [(0, 1, 2), (1, 2, 3), (2, 3, 4)]


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda: masks.exactly(4, 5), r'\[0, 4\]'),
        (lambda: masks.single(0), 'at least 1 block'),
        (lambda: masks.all_masks(54), '18014398509481984 masks'),
        (lambda: masks.random(jax.random.key(0), 4, 2, 7, replace=False), 'only 6'),
        (lambda: masks.bernoulli(jax.random.key(0), 4, 1.5, 7), 'no probability'),
        (lambda: masks.check(np.ones((2, 3)), 4), 'L=4'),
        (lambda: masks.check([[1.0, np.nan]], 2), 'mask 0 is not finite'),
    ],
)
def test_impossible_sets_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_masks_from_names_delete_the_blocks_of_these_names():
    names = ['conv2_1', 'conv2_2', 'conv3_1']
    found = masks.from_names(names, [['conv3_1'], [], ['conv2_1', 'conv2_2'], ['conv3_1']])
    np.testing.assert_array_equal(found, [[1, 1, 0], [1, 1, 1], [0, 0, 1], [1, 1, 0]])
    with pytest.raises(ValueError, match="no block 'conv9': the blocks are conv2_1"):
        masks.from_names(names, [['conv9']])
    with pytest.raises(ValueError, match="two blocks have the name 'a'"):
        masks.from_names(['a', 'a'], [])
    with pytest.raises(ValueError, match='give a list of names'):
        masks.from_names(names, ['conv2_1'])
