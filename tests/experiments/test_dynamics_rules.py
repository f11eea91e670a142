"""The rules of depth over training, on made-up runs of which the answers are known."""

import pathlib
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from experiments import depth_over_training
from experiments.dynamics import rules
from resnet_dyn import config
from resnet_dyn.reports import claims, series

L, STEPS = 4, (0, 10)
HOLDS, FAILS, UNDECIDED = claims.HOLDS, claims.FAILS, claims.UNDECIDED
ABOVE, BELOW, AROUND = (
    np.array(e_S) for e_S in ([0.2, 0.3, 0.25], [-0.2, -0.3, -0.25], [-0.3, 0, 0.3])
)
CLAIMS = {one.name: one for one in depth_over_training.CLAIMS}


def run(name, measured=None, trained=None, **values):
    """A run of 3 networks; `measured` records by measure, a field's values by step.

    `trained` are the numbers that training wrote, by title: (start (S,), end (S,)).
    """
    one = config.parse(
        {'seeds': 3} | {path.replace('__', '.'): value for path, value in values.items()}
    )
    records = {
        measure: [
            (step, SimpleNamespace(**{field: ends[t] for field, ends in fields.items()}), {})
            for t, step in enumerate(STEPS)
        ]
        for measure, fields in (measured or {}).items()
    }
    found = {
        (series.TRAINING, title): series.Series(
            series.TRAINING, title, '', '', np.array(STEPS), np.stack(ends, 1)
        )
        for title, ends in (trained or {}).items()
    }
    return series.RunSeries(pathlib.Path(name), name, one, found, records)


def depths(start_S, end_S, coherent=None):
    """Records of `depth` with E[k] at both ends, the coherent ones alike unless given."""
    ends = [1 + np.asarray(start_S), 1 + np.asarray(end_S)]
    others = ends if coherent is None else [1 + np.asarray(k_S) for k_S in coherent]
    gains = [np.ones((3, L))] * 2
    return {'depth': {'incoherent_mean_S': ends, 'coherent_mean_S': others, 'gains_SL': gains}}


def judged(name, *runs):
    (verdict,) = claims.judge([CLAIMS[name]], {one.name: one for one in runs})
    return verdict


def measured(verdict):
    return [one for one in verdict.findings if one.outcome != claims.NOT_MEASURED]


def assert_of(finding, e_S):
    """The interval of a finding is Student's of e_S."""
    expected = stats.ttest_1samp(e_S, 0).confidence_interval()
    np.testing.assert_allclose(finding.estimate, np.mean(e_S), rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose((finding.low, finding.high), expected, rtol=1e-6)
    assert finding.n == len(e_S)


def _initial(e_S):
    return [run('main', depths(L / 2 + e_S, np.full(3, 9.0)))]


def _grows(e_S):
    return [run('main', depths(np.full(3, 1.5), 1.5 + e_S))]


def _gammas_grow(e_S):
    return [run('main', trained={'mean |gamma|': (np.ones(3), 1 + e_S)})]


def _first_layer(e_S):
    first = {'|gamma| of the first layer': (np.ones(3), 0.75 + e_S)}
    return [run('main', trained=first | {'mean |gamma|': (np.ones(3), np.full(3, 0.75))})]


def _frozen_less(e_S):
    start_S = np.array([1.0, 2.0, 1.5])
    main = run('main', depths(start_S, start_S + 0.5 + e_S))
    return [main, run('frozen', depths(start_S, start_S + 0.5), train__gammas='frozen')]


def _weights_grow(e_S):
    first_S = np.array([2.0, 4.0, 8.0])
    norms = {'weight norm': (first_S, first_S * (1 + e_S))}
    return [run('main', depths([1, 1, 1], [2, 2, 2])), run('none', None, norms, model__norm='none')]


def _slope(e_S):
    gains_SL = np.sqrt(3 * np.arange(1, L + 1) ** (e_S[:, None] - 0.5))  # b^2 = 3 l^(e - 1/2)
    return [run('main', {'depth': {'gains_SL': [gains_SL, np.ones((3, L))]}})]


def _short_carry(e_S):
    """Of k = 0..4, 11 of 16 paths have k <= 2; their share is that and e_S."""
    short_S = 11 / 16 + e_S
    energy_SR = np.stack([short_S / 2, short_S / 2, 0 * e_S, 1 - short_S, 0 * e_S], 1)
    roots = [np.ones((3, L + 1)), np.sqrt(7 * energy_SR)]
    paths = [np.array([1.0, 4, 6, 4, 1])] * 2
    return [
        run('main', {'paths': {'root_energy_SR': roots, 'sum_norm_SR': roots, 'paths_R': paths}})
    ]


CASES = {  # what makes runs of which the claim's number is e_S; outcomes above, below, around 0
    'initial-depth-below-half': (_initial, FAILS, HOLDS, UNDECIDED),
    'depth-grows': (_grows, HOLDS, FAILS, UNDECIDED),
    'gammas-grow': (_gammas_grow, HOLDS, FAILS, UNDECIDED),
    'first-layer-differs': (_first_layer, HOLDS, HOLDS, UNDECIDED),
    'frozen-deepens-less': (_frozen_less, HOLDS, FAILS, UNDECIDED),
    'weights-grow-without-norm': (_weights_grow, HOLDS, FAILS, UNDECIDED),
    'short-paths-carry-gradient': (_short_carry, HOLDS, FAILS, UNDECIDED),
}


def test_every_claim_has_a_case_here():
    assert {*CASES, 'branch-falls-as-1-over-l'} == set(CLAIMS)


@pytest.mark.parametrize('claim', CASES)
@pytest.mark.parametrize('place, e_S', [(0, ABOVE), (1, BELOW), (2, AROUND)])
def test_a_claim_is_judged_by_the_interval_of_its_number(claim, place, e_S):
    runs, *outcomes = CASES[claim]
    verdict = judged(claim, *runs(e_S))
    assert verdict.outcome == outcomes[place]
    assert measured(verdict)
    for finding in measured(verdict):
        assert_of(finding, e_S)


@pytest.mark.parametrize(
    'e_S, outcome',
    [
        ([-0.55, -0.5, -0.45], HOLDS),  # the slope is e - 1/2
        ([0.45, 0.5, 0.55], FAILS),
        ([-2.0, -1.9, -2.1], FAILS),
        ([0.0, -0.05, 0.05], UNDECIDED),
    ],
)
def test_the_slope_of_branch_over_skip_holds_within_half_of_minus_one(e_S, outcome):
    verdict = judged('branch-falls-as-1-over-l', *_slope(np.array(e_S)))
    assert verdict.outcome == outcome
    assert_of(verdict.findings[0], np.array(e_S) - 0.5)


@pytest.mark.parametrize('claim', CASES)
def test_one_network_is_not_measured(claim):
    runs, *_ = CASES[claim]
    nan_S = np.where([True, False, False], 0.25, np.nan)  # the others were left out
    verdict = judged(claim, *runs(nan_S))
    assert verdict.outcome == claims.NOT_MEASURED
    assert {one.n for one in verdict.findings} <= {0, 1}


def test_measures_that_disagree_are_said_to():
    ones_S, twos_S = np.ones(3), np.full(3, 2.0)
    against = run('main', depths(ones_S, twos_S + ABOVE, coherent=(twos_S + ABOVE, ones_S)))
    verdict = judged('depth-grows', against)
    assert verdict.outcome == claims.DEPENDS
    assert {one.outcome for one in measured(verdict)} == {HOLDS, FAILS}
    assert {one.measure for one in verdict.findings} >= {'gamma_depth', 'depth', 'paths'}


def test_frozen_networks_are_paired_with_main_by_their_seeds():
    start_S = np.ones(3)
    main = run('main', depths(start_S, [1.5, 2.5, 3.5]))  # seeds 0, 1, 2
    twin = run('frozen', depths(start_S, [2.0, 3.25, 9.0]), train__gammas='frozen', seed=1)
    finding, *_ = measured(judged('frozen-deepens-less', main, twin))
    assert_of(finding, np.array([2.5 - 2.0, 3.5 - 3.25]))
    assert (finding.run, finding.other) == ('main', 'frozen') and 'paired' in finding.method


def test_runs_of_norm_none_are_judged_each_and_others_are_not():
    verdict = judged(
        'weights-grow-without-norm',
        *_weights_grow(ABOVE),
        run('none-2', None, {'weight norm': (np.ones(3), 1 + BELOW)}, model__norm='none'),
    )
    assert [(one.run, one.outcome) for one in verdict.findings] == [
        ('none', HOLDS),
        ('none-2', FAILS),
    ]
    assert verdict.outcome == claims.DEPENDS


def test_the_number_of_blocks_is_that_of_any_record_that_has_it():
    assert rules.blocks(_slope(ABOVE)[0]) == L
    assert rules.blocks(_short_carry(ABOVE)[0]) == L
    assert rules.blocks(run('main')) is None


def test_depth_by_paths_and_interactions_is_the_mean_number_of_blocks():
    weights_SR = np.array([[0, 0, 1.0, 0, 0], [0.5, 0, 0, 0, 0.5], [0, 0.25, 0, 0.75, 0]])
    of_paths = {
        name: [np.sqrt(weights_SR)] * 2
        for name in ('sum_norm_SR', 'root_energy_SR', 'forward_norm_SR')
    }
    orders_SR = np.roll(weights_SR, 1, 1)
    orders_SR[:, 0] = 9  # order 0 is no interaction
    measures = {'paths': of_paths, 'interactions': {'walsh_SR': [orders_SR] * 2}}
    found = {one.title: rules.start(run('main', measures), one) for one in rules.DEPTHS}
    for title in (
        'k of the gradient, by |G_k|^2',
        'k of the gradient, by energies S_k',
        'k of the signal, by |u_k|^2',
    ):
        np.testing.assert_allclose(found[title], [2, 2, 2.5], rtol=1e-12)
    np.testing.assert_allclose(found['order of interaction'], [3, 1, 3.5], rtol=1e-12)
    assert found['k predicted from power gains, coherent'] is None


def test_ends_are_step_0_and_the_last_step_after_it():
    late = run('main', trained={'weight norm': (np.ones(3), np.ones(3))})
    number = rules.WEIGHTS
    only_late = {
        key: one._replace(steps_T=one.steps_T[1:], values_ST=one.values_ST[:, 1:])
        for key, one in late.series.items()
    }
    only_first = {
        key: one._replace(steps_T=one.steps_T[:1], values_ST=one.values_ST[:, :1])
        for key, one in late.series.items()
    }
    assert rules.start(late._replace(series=only_late), number) is None
    assert rules.end(late._replace(series=only_first), number) is None
    assert rules.change(late._replace(series=only_first), number) is None
