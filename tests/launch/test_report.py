"""The closing table's numbers of records made by hand, and its parts that fit a screen."""

from types import SimpleNamespace

import numpy as np
import pytest

from launch import columns, report
from resnet_dyn.analysis import kinds


def test_every_measure_has_a_picture_and_a_column():
    assert set(columns.PICTURES) == set(columns.COLUMNS) == set(kinds.KINDS)


def test_spare_blocks_are_those_deleted_before_the_error_has_risen_by_five_points():
    error_SJ = np.array([[0.1, 0.12, 0.16, 0.2], [0.1, 0.1, 0.1, 0.1], [0.1, 0.2, 0.2, 0.2]])
    assert columns.spare_blocks(SimpleNamespace(error_SJ=error_SJ)).tolist() == [1, 3, 0]


def test_half_deleted_is_the_number_nearest_to_half_of_the_blocks():
    record = SimpleNamespace(deleted_J=np.array([0, 2, 4, 9]), error_SJ=np.array([[1, 2, 3, 4]]))
    assert columns.half_deleted_error(record) == [3]


def test_path_numbers_are_of_the_shares_of_the_energy():
    record = SimpleNamespace(root_energy_SR=np.sqrt([[4.0, 3.0, 2.0, 1.0]]), paths_R=np.ones(4))
    np.testing.assert_allclose(columns.mean_length(record), [(3 + 4 + 3) / 10])
    np.testing.assert_allclose(columns.short_share(record), [0.7])  # k = 0 and 1 of L = 3


def test_pairs_count_once_and_a_net_of_one_block_shows_that_block():
    two = SimpleNamespace(error_SLL=np.array([[[0.1, 0.4], [0.4, 0.2]]]))
    np.testing.assert_allclose(columns.distinct_pairs(two), [[0.4]])
    one = SimpleNamespace(error_SLL=np.array([[[0.1]]]))
    np.testing.assert_allclose(columns.distinct_pairs(one), [[0.1]])


@pytest.mark.parametrize('seeds', [1, 3])
def test_a_wide_table_becomes_several_that_each_begin_with_the_step(seeds):
    record = SimpleNamespace(step=7)
    for field in ('full_error_S', 'closure_S'):
        setattr(record, field, np.full(seeds, 0.5))
    for field in ('error_SL', 'branch_over_skip_SL', 'block_influence_SL'):
        setattr(record, field, np.full((seeds, 2), 0.5))
    for field in ('mean_SLN', 'error_SJN', 'error_SLL'):
        setattr(record, field, np.full((seeds, 2, 2), 0.5))
    names = ('gammas', 'singles', 'pairs', 'reorder', 'influence')
    text = report.table({name: [record] for name in names})
    tables = text.split('\n\n')
    assert len(tables) > 1
    assert all(table.split()[0] == 'step' for table in tables)
    assert max(map(len, text.splitlines())) <= report.WIDTH
    assert text.count('0.500') + text.count('50.00') >= 9
