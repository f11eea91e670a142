"""The picture of Figure 1: its words say what the record says, and nothing lies on anything."""

import itertools
from typing import NamedTuple

import numpy as np
from matplotlib import text as mpl_text
from matplotlib.backends import backend_agg

from resnet_dyn.plots import figure1, style


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
    with style.context():
        fig = figure1.draw(record(fast=np.array(True)))
        canvas = backend_agg.FigureCanvasAgg(fig)
        canvas.draw()
        renderer = canvas.get_renderer()
        boxes = [
            (text.get_text(), text.get_window_extent(renderer))
            for text in fig.findobj(mpl_text.Text)
            if text.get_text() and not _is_tick(text.get_text())
        ]
    for words, box in boxes:
        assert box.x0 >= 0 and box.y0 >= 0, words
        assert box.x1 <= fig.bbox.x1 and box.y1 <= fig.bbox.y1, words
    for (one, a), (other, b) in itertools.combinations(boxes, 2):
        assert not a.shrunk(0.98, 0.9).overlaps(b.shrunk(0.98, 0.9)), (one, other)


def test_a_fast_run_is_labelled_so_and_a_full_one_is_not():
    for fast in (True, False):
        with style.context():
            fig = figure1.draw(record(fast=np.array(fast)))
        words = ' '.join(text.get_text() for text in fig.texts)
        assert ('FAST: only 2 seeds, 1,000 steps' in words) == fast


def _is_tick(words):
    """Labels of ticks beyond the limits of an axis are there without being drawn."""
    return 'mathdefault' in words or not words.strip('0123456789,.−')
