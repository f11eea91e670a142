"""The closing table of records made by hand: in parts that fit a screen, each column explained."""

from types import SimpleNamespace

import numpy as np
import pytest

from resnet_dyn.reports import measures, tables


def record(seeds=3, step=7):
    made = SimpleNamespace(step=step)
    for field in ('full_error_S', 'closure_S'):
        setattr(made, field, np.full(seeds, 0.5))
    for field in ('error_SL', 'branch_over_skip_SL', 'block_influence_SL'):
        setattr(made, field, np.full((seeds, 2), 0.5))
    for field in ('mean_SLN', 'error_SLL'):
        setattr(made, field, np.full((seeds, 2, 2), 0.5))
    made.error_SN, made.swaps_N = np.full((seeds, 3), 0.5), np.array([1, 1, 2])
    return made


NAMES = ('gammas', 'singles', 'pairs', 'reorder', 'influence')


@pytest.mark.parametrize('seeds', [1, 3])
def test_a_wide_table_becomes_several_that_each_begin_with_the_step(seeds):
    text = tables.text({name: [record(seeds)] for name in NAMES})
    *parts, meanings = text.split('\n\n')
    assert len(parts) > 1
    assert all(part.split()[0] == 'step' for part in parts)
    assert max(map(len, '\n'.join(parts).splitlines())) <= tables.WIDTH
    assert text.count('0.500') + text.count('50.00') >= 9
    titles = [column.title for name in NAMES for column in measures.MEASURES[name].columns]
    assert [line.split('  ')[0] for line in meanings.splitlines()] == titles


def test_numbers_are_mean_and_standard_deviation_over_the_networks_that_are_finite():
    one = record()
    one.full_error_S = np.array([0.1, np.nan, 0.3])
    text = tables.text({'singles': [one]})
    assert '20.00 ± 14.14 (2)' in text
    one.full_error_S = np.full(3, np.nan)
    assert 'none' in tables.text({'singles': [one]})


def test_steps_stand_in_order_and_a_measure_that_lacks_one_leaves_it_empty():
    found = {'singles': [record(step=0), record(step=1000)], 'gammas': [record(step=1000)]}
    lines = tables.text(found).splitlines()
    assert [line.split()[0] for line in lines[:3]] == ['step', '0', '1,000']
    assert lines[1].rstrip().endswith('0.00') and lines[2].rstrip().endswith('0.000')


def test_a_step_at_which_no_network_was_finite_has_a_row():
    lines = tables.text({'singles': [record(step=0)]}, steps=[0, 40]).splitlines()
    assert lines[2].split() == ['40', 'none', 'none', 'none']


def test_the_csv_has_every_network_by_name(tmp_path):
    one = record()
    one.full_error_S = np.array([0.1, 0.2, 0.3])
    names = ('a', 'b', 'c')
    rows = tables.write_csv(tmp_path / 'table.csv', {'singles': [one]}, names).read_text()
    for name, value in zip(names, (10, 20, 30), strict=True):
        assert f'7,singles,error %,{name},{value}\n' in rows.replace('\r', '')
