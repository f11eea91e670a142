"""What passes for a paper's number, by records that are made up; the table of the docs."""

import pathlib
from types import SimpleNamespace

import numpy as np
import pytest

from experiments import reproductions
from resnet_dyn.reports import measures

DOCS = pathlib.Path(reproductions.__file__).parent.parent / 'docs' / 'reproductions.md'


@pytest.mark.parametrize(('least', 'passed'), [(range(4, 8), True), ([1, 5, 6, 7], False)])
def test_the_layers_of_least_influence_are_those_of_the_paper_or_not(least, passed):
    influence_SL = np.ones((1, 10))
    influence_SL[0, list(least)] = 0.1
    verdict = reproductions.LeastInfluence(4, 7)(SimpleNamespace(block_influence_SL=influence_SL))
    assert verdict.passed == passed
    assert f'({4 if passed else 3} of 4)' in verdict.ours


@pytest.mark.parametrize(
    ('high', 'passed'), [((17, 22, 23), True), ((15, 22, 23), False), ((np.nan, 22, 23), False)]
)
def test_a_depth_is_passed_within_the_interval(high, passed):
    record = SimpleNamespace(
        depth_SQ=np.array([[15.0, 21, 23]]),
        low_SQ=np.array([[14.0, 21, 23]]),
        high_SQ=np.array([high], float),
    )
    assert reproductions.Depths(16, 21, 23)(record).passed == passed


@pytest.mark.parametrize(
    ('inner', 'swapped', 'passed'), [(0.8, 0.9, True), (0.5, 0.9, False), (0.8, np.nan, False)]
)
def test_guesses_kept_are_those_within_the_network(inner, swapped, passed):
    record = SimpleNamespace(
        deleted_kept_SU=np.array([[0.0, inner, inner, 0.1]]),
        swapped_kept_SW=np.array([[0.0, swapped, 0.1]]),
    )
    assert reproductions.Kept(72, 95)(record).passed == passed


def test_rows_are_of_measures_that_are_there_with_options_of_theirs():
    for row in reproductions.REPRODUCTIONS.values():
        measures.MEASURES[row.measure].options(**row.options)
        assert row.blocks in ('layers', 'sublayers') and row.rule


def test_the_table_of_the_docs_is_that_of_the_code():
    assert reproductions.table() in DOCS.read_text()
