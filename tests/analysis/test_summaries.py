"""Single numbers of records made by hand."""

from types import SimpleNamespace

import numpy as np

from resnet_dyn.analysis import summaries


def test_spare_blocks_are_those_deleted_before_the_error_has_risen_by_five_points():
    error_SJ = np.array([[0.1, 0.12, 0.16, 0.2], [0.1, 0.1, 0.1, 0.1], [0.1, 0.2, 0.2, 0.2]])
    assert summaries.spare_blocks(SimpleNamespace(error_SJ=error_SJ)).tolist() == [1, 3, 0]


def test_no_block_is_spare_in_a_network_that_is_not_finite():
    error_SJ = np.array([[0.1, 0.1], [np.nan, np.nan]])
    spare_S = summaries.spare_blocks(SimpleNamespace(error_SJ=error_SJ))
    np.testing.assert_array_equal(spare_S, [1, np.nan])


def test_half_deleted_says_how_many_blocks_these_are():
    error_SJM = np.arange(4.0)[None, :, None] + np.array([-0.5, 0.5])
    even = SimpleNamespace(deleted_J=np.array([0, 2, 4, 8]), error_SJM=error_SJM)
    assert summaries.half_deleted(even) == (4, 8, [2], 0.5)
    odd = SimpleNamespace(deleted_J=np.array([0, 4, 5, 9]), error_SJM=error_SJM)
    assert summaries.half_deleted(odd)[:3] == (4, 9, [1])


def test_the_error_over_random_choices_knows_that_networks_share_them():
    """Networks that agree choice by choice are one sample; independent ones shrink the error."""
    rng = np.random.default_rng(1)
    shared_JM = rng.normal(size=(3, 400))
    same_SJM = np.stack([shared_JM, shared_JM + 1, np.full_like(shared_JM, np.nan)])
    mean_J, error_J = summaries.over_choices(same_SJM)
    np.testing.assert_allclose(mean_J, shared_JM.mean(1) + 0.5)  # of the two that are finite
    np.testing.assert_allclose(error_J, shared_JM.std(1, ddof=1) / 20)
    apart_SJM = rng.normal(size=(4, 3, 400))
    np.testing.assert_allclose(summaries.over_choices(apart_SJM)[1], 1 / 2 / 20, rtol=0.15)


def test_one_random_choice_has_no_error_and_networks_of_nan_no_numbers():
    assert np.isnan(summaries.over_choices(np.ones((2, 3, 1)))[1]).all()
    assert np.isnan(summaries.over_choices(np.full((2, 3, 4), np.nan))).all()


def test_shares_of_nothing_and_of_nan_are_nan_without_a_warning():
    root_SR = np.array([[0.0, 0.0, 0.0], [2.0, 0.0, 0.0], [np.nan, 1.0, 1.0]])
    record = SimpleNamespace(root_energy_SR=root_SR, paths_R=np.ones(3))
    np.testing.assert_array_equal(summaries.mean_length(record), [np.nan, 0, np.nan])
    np.testing.assert_array_equal(summaries.short_share(record), [np.nan, 1, np.nan])
    walsh_SR = np.array([[3.0, 0.0, 0.0], [np.nan] * 3, [0.0, 1.0, np.inf]])
    record = SimpleNamespace(walsh_SR=walsh_SR)
    np.testing.assert_array_equal(summaries.alone_share(record), [np.nan] * 3)


def test_path_numbers_are_of_the_shares_of_the_energy():
    record = SimpleNamespace(root_energy_SR=np.sqrt([[4.0, 3.0, 2.0, 1.0]]), paths_R=np.ones(4))
    np.testing.assert_allclose(summaries.mean_length(record), [(3 + 4 + 3) / 10])
    np.testing.assert_allclose(summaries.short_share(record), [0.7])  # k = 0 and 1 of L = 3
    assert summaries.short_paths(record) == 0.5


def test_pairs_count_once_and_a_net_of_one_block_shows_that_block():
    two = SimpleNamespace(error_SLL=np.array([[[0.1, 0.4], [0.4, 0.2]]]))
    np.testing.assert_allclose(summaries.pair_errors(two), [[0.4]])
    one = SimpleNamespace(error_SLL=np.array([[[0.1]]]))
    np.testing.assert_allclose(summaries.pair_errors(one), [[0.1]])


def test_the_share_of_blocks_by_themselves_leaves_the_mean_out():
    record = SimpleNamespace(walsh_SR=np.array([[9.0, 3.0, 1.0, 0.0]]))
    np.testing.assert_allclose(summaries.alone_share(record), [0.75])


def test_the_error_doubles_between_the_numbers_that_were_drawn():
    mean_SJ = np.array([[0.1, 0.15, 0.25, 0.9], [0.0, 0.3, 0.5, 0.9], [0.6, 0.7, 0.8, 0.9]])
    error_SJM = mean_SJ[..., None] + np.array([-0.05, 0.05])
    record = SimpleNamespace(deleted_J=np.array([0, 2, 4, 8]), error_SJM=error_SJM)
    np.testing.assert_allclose(summaries.doubled_at(record), [3, np.nan, np.nan])
    half_S = [4 + 4 * 0.25 / 0.65, 2 + 2 * 0.15 / 0.2, 3]
    np.testing.assert_allclose(summaries.half_lost_at(record), half_S)
    at_chance = SimpleNamespace(deleted_J=record.deleted_J, error_SJM=0 * error_SJM + 0.9)
    assert np.isnan(summaries.half_lost_at(at_chance)).all()
    lost = SimpleNamespace(deleted_J=record.deleted_J, error_SJM=0 * error_SJM + np.nan)
    assert np.isnan(summaries.doubled_at(lost)).all()


def test_lengths_by_sums_and_forward_are_of_squared_norms():
    record = SimpleNamespace(
        sum_norm_SR=np.sqrt([[1.0, 1.0, 2.0]]),
        forward_norm_SR=np.sqrt([[3.0, 1.0, 0.0]]),
        paths_R=np.ones(3),
    )
    np.testing.assert_allclose(summaries.mean_length(record, summaries.sum_shares), [1.25])
    np.testing.assert_allclose(summaries.mean_length(record, summaries.forward_shares), [0.25])
    np.testing.assert_allclose(summaries.short_share(record, summaries.sum_shares), [0.5])
    np.testing.assert_allclose(summaries.short_share(record, summaries.forward_shares), [1])


def test_fits_are_of_each_network_and_none_of_what_is_no_law():
    laws_SR = np.array([[9.0, 12.0, 4.0], [np.nan] * 3, [0.0] * 3])  # binomial, g = 2/3
    found = summaries.fitted(laws_SR, coherent=False)
    np.testing.assert_allclose(found.beta_S, [np.sqrt(2 / 3), np.nan, np.nan])
    np.testing.assert_allclose(found.divergence_S, [0, np.nan, np.nan], atol=1e-12)


def test_the_mean_order_leaves_the_mean_out():
    record = SimpleNamespace(walsh_SR=np.array([[9.0, 3.0, 0.0, 1.0]]))
    np.testing.assert_allclose(summaries.mean_order(record), [1.5])
