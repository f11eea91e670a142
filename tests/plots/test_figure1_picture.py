"""The picture of Figure 1: its words say what the record says, and nothing lies on anything."""

from typing import NamedTuple

import numpy as np
import pytest
from drawn import assert_apart, footnote, line, panel, words

from resnet_dyn.plots import figure1


class Record(NamedTuple):
    """The fields that the picture reads."""

    betas_N: np.ndarray
    eps_NR: np.ndarray
    gamma_steps_T: np.ndarray
    gammas_STP: np.ndarray
    spreads_STP: np.ndarray
    gamma_start_S: np.ndarray
    gamma_early_S: np.ndarray
    gamma_end_S: np.ndarray
    mean_depths_ST: np.ndarray
    gamma_setting: np.ndarray
    norm_steps_T: np.ndarray
    norm_rates_N: np.ndarray
    weight_norms_NST: np.ndarray
    norm_setting: np.ndarray
    theta_p: np.ndarray
    theta_betas_N: np.ndarray
    thetas_N: np.ndarray
    fast: np.ndarray


def record(**changes):
    """Two seeds: both fall first, one rises again; weights shrink at one rate."""
    gammas_STP = np.ones((2, 5, 10))
    gammas_STP[:, 1:, 1:] = 0.7
    gammas_STP[0, -1, 1:] = 0.8
    rest_ST = gammas_STP[:, :, 1:].mean(-1)
    eps_NR = np.zeros((3, 100))
    eps_NR[[0, 1, 2], [9, 33, 66]] = 1.0
    made = Record(
        betas_N=np.array([0.1, 0.5, 2.0]),
        eps_NR=eps_NR,
        gamma_steps_T=np.array([0, 250, 500, 750, 1000]),
        gammas_STP=gammas_STP,
        spreads_STP=np.full((2, 5, 10), 0.1),
        gamma_start_S=rest_ST[:, 0],
        gamma_early_S=rest_ST[:, 1],
        gamma_end_S=rest_ST[:, -1],
        mean_depths_ST=np.array([[2.9, 2.5, 2.5, 2.5, 2.6]] * 2),
        gamma_setting=np.array('BN per unit after the ReLU, cross-entropy, and so on'),
        norm_steps_T=np.array([0, 500, 1000]),
        norm_rates_N=np.array([3e-4, 1e-3]),
        weight_norms_NST=np.array(
            [[[40.0, 39.0, 39.2], [40.0, 39.0, 38.4]], [[40.0, 44.0, 42.0], [40.0, 41.0, 38.8]]]
        ),
        norm_setting=np.array('no normalisation, and so on'),
        theta_p=np.array(100),
        theta_betas_N=np.array([0.01, 0.1, 0.5, 2.0, 100.0]),
        thetas_N=np.array([0.0, 0.306, 0.81, 1.126, 1.31]),
        fast=np.array(False),
    )
    return made._replace(**changes)


def test_findings_count_the_seeds_that_disagree_with_the_paper():
    texts = figure1.captions(record())
    assert '1.00 → 0.70' in texts['d'].finding
    assert 'falls first in 2 of 2 seeds' in texts['d'].finding
    assert 'rise after the quarter in 1 of 2 seeds' in texts[figure1.OVER_TIME].finding
    assert 'above the start in 0' in texts[figure1.OVER_TIME].finding
    assert '2.90 → 2.50 → 2.60' in texts[figure1.OVER_TIME].finding
    assert '−3.0 ± 1.4 % at rate 0.0003 (up in 0 of 2 seeds)' in texts['e'].finding
    assert '+1.0 ± 5.7 % at rate 0.001 (up in 1 of 2 seeds)' in texts['e'].finding


def test_findings_on_the_weights_are_those_of_the_numbers():
    texts = figure1.captions(record())
    assert 'largest at r = 34 of 100' in texts['b'].finding
    assert '0.306 at β = 0.1 to 1.126 at β = 2' in texts['f'].finding


def test_no_words_of_the_picture_lie_on_others_or_leave_it():
    fig = figure1.draw(record(fast=np.array(True)))
    assert_apart(fig)
    assert 'FAST: only 2 seeds, 1,000 steps' in [text.get_text() for text in fig.texts]


@pytest.fixture(scope='module')
def fig():
    return figure1.draw(record())


def test_panels_show_what_their_titles_say_and_legends_stand_above_them(fig):
    weights = panel(fig, '(a)')
    assert [bar.get_height() for bar in weights.patches] == [0] * 9 + [1] + [0] * 90
    np.testing.assert_allclose(line(weights, 'pβ/(1+β)')[0], 100 * 0.1 / 1.1)
    over_time = panel(fig, '(d)  The same over time')
    assert words(over_time) == ['layer 1', 'layers 2–10', 'a quarter']
    _, rest_T = line(over_time, 'layers 2–10')
    np.testing.assert_allclose(rest_T, [1, 0.7, 0.7, 0.7, 0.75])
    _, growth_T = line(panel(fig, '(e)'), 'rate 0.001')
    np.testing.assert_allclose(growth_T, [0, 6.25, 1.0])
    theta, marks = panel(fig, '(f)').lines
    np.testing.assert_allclose(marks.get_ydata(), [0.306, 0.81, 1.126])
    assert len(theta.get_xdata()) == 5


def test_by_layer_the_picture_shows_the_recorded_steps_nearest_to_parts_of_the_run(fig):
    """Of records at 0, 250, ..., 1,000 those of 0, 2 and 6 % are the first."""
    axes = panel(fig, '(d)  Scales')
    means = [curve.get_ydata() for curve in axes.lines if len(curve.get_xdata()) == 9]
    np.testing.assert_allclose(means, np.outer([1, 0.7, 0.7, 0.7, 0.75], np.ones(9)))


def test_a_seed_that_is_not_finite_at_the_end_counts_nowhere_and_is_told():
    """The figure is that of the other seed."""
    alone, both = record(), record()
    both.gammas_STP[0, 3:] = both.gamma_end_S[0] = np.nan
    both.weight_norms_NST[1, 1, 1:] = np.nan
    names = [name for name in alone._fields if '_S' in name]
    alone = alone._replace(**{name: getattr(alone, name)[1:] for name in names})
    alone = alone._replace(weight_norms_NST=both.weight_norms_NST)
    texts = figure1.captions(both)
    assert texts == figure1.captions(alone)
    assert '(up in 1 of 1 seeds)' in texts['e'].finding
    fig, expected = figure1.draw(both), figure1.draw(alone)
    for title in ('(d)  Scales', '(d)  The same'):
        for one, other in zip(panel(fig, title).lines, panel(expected, title).lines, strict=True):
            np.testing.assert_array_equal(one.get_ydata(), other.get_ydata())
    assert '(d): 1 of 2 seeds is left out, not finite at the end.' in footnote(fig)
    assert '(e) at rate 0.001: 1 of 2 seeds is left out' in footnote(fig)
    none = figure1.captions(both._replace(weight_norms_NST=np.full((2, 2, 3), np.nan)))
    assert 'no seed is finite at rate 0.001' in none['e'].finding


def test_a_full_run_is_not_labelled_fast(fig):
    assert not any('FAST' in text.get_text() for text in fig.texts)
