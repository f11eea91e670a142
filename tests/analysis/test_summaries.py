"""Single numbers of records made by hand."""

from types import SimpleNamespace

import numpy as np

from resnet_dyn.analysis import summaries


def test_spare_blocks_are_those_deleted_before_the_error_has_risen_by_five_points():
    error_SJ = np.array([[0.1, 0.12, 0.16, 0.2], [0.1, 0.1, 0.1, 0.1], [0.1, 0.2, 0.2, 0.2]])
    assert summaries.spare_blocks(SimpleNamespace(error_SJ=error_SJ)).tolist() == [1, 3, 0]


def test_half_deleted_is_the_number_nearest_to_half_of_the_blocks():
    record = SimpleNamespace(deleted_J=np.array([0, 2, 4, 9]), error_SJ=np.array([[1, 2, 3, 4]]))
    assert summaries.half_deleted_error(record) == [3]


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
