"""The closing table of records made by hand, in parts that fit a screen."""

from types import SimpleNamespace

import numpy as np
import pytest

from launch import columns, report
from resnet_dyn.analysis import kinds


def test_every_measure_has_a_picture_and_a_column():
    assert set(columns.PICTURES) == set(columns.COLUMNS) == set(kinds.KINDS)


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
