"""Claims: outcomes of intervals, verdicts by task, and the lines that say them."""

import csv
import pathlib

import pytest

from resnet_dyn import config
from resnet_dyn.analysis import intervals
from resnet_dyn.reports import claims, series

HOLDS, FAILS, UNDECIDED = claims.HOLDS, claims.FAILS, claims.UNDECIDED
NAN = float('nan')


def interval(low, high, n=3):
    return intervals.Interval((low + high) / 2, low, high, n, 'made up')


def run(name, **values):
    one = config.parse({path.replace('__', '.'): value for path, value in values.items()})
    return series.RunSeries(pathlib.Path('/runs') / name, name, one, {}, {})


def runs(*names, **values):
    return {name: run(name, **values) for name in names}


@pytest.mark.parametrize(
    'low, high, above, below, apart',
    [
        (0.1, 0.2, HOLDS, FAILS, HOLDS),
        (-0.2, -0.1, FAILS, HOLDS, HOLDS),
        (-0.1, 0.2, UNDECIDED, UNDECIDED, UNDECIDED),
        (0.0, 0.2, UNDECIDED, UNDECIDED, UNDECIDED),  # the end is in it
        (NAN, NAN, *3 * [claims.NOT_MEASURED]),
    ],
)
def test_the_outcome_is_the_side_on_which_the_interval_lies(low, high, above, below, apart):
    found = interval(low, high)
    assert (claims.above(found), claims.below(found), claims.apart(found)) == (above, below, apart)


@pytest.mark.parametrize(
    'low, high, outcome',
    [
        (-1.2, -0.6, HOLDS),
        (-1.5, -0.5, HOLDS),
        (-0.4, -0.1, FAILS),
        (-2.0, -1.6, FAILS),
        (-1.0, -0.4, UNDECIDED),
        (-2.0, 0.0, UNDECIDED),
        (NAN, NAN, claims.NOT_MEASURED),
    ],
)
def test_within_a_range_is_inside_of_it_and_fails_where_none_of_it_is(low, high, outcome):
    assert claims.within(interval(low, high), -1.5, -0.5) == outcome


@pytest.mark.parametrize(
    'outcomes, verdict',
    [
        ([HOLDS, HOLDS], HOLDS),
        ([FAILS, claims.NOT_MEASURED], FAILS),
        ([HOLDS, FAILS], claims.DEPENDS),
        ([HOLDS, UNDECIDED], claims.DEPENDS),
        ([UNDECIDED], UNDECIDED),
        ([claims.NOT_MEASURED], claims.NOT_MEASURED),
        ([], claims.NOT_MEASURED),
    ],
)
def test_a_verdict_is_that_of_its_findings_where_they_agree(outcomes, verdict):
    findings = [claims.finding('main', 'depth', 'k', interval(0, 1), one) for one in outcomes]
    assert claims.overall(findings) == verdict


def test_a_task_is_a_data_set_that_has_a_main_run():
    gaussians = runs('gaussians-main', 'gaussians-frozen')
    digits = runs('a', 'b', data__name='digits', model__family='cifar_resnet')
    found = claims.tasks(digits | gaussians)
    assert {task: list(some) for task, some in found.items()} == {
        'a': ['a'],
        'b': ['b'],
        'gaussians': ['gaussians-main', 'gaussians-frozen'],
    }
    assert list(claims.mains(gaussians)) == ['gaussians-main']
    assert list(claims.mains(digits)) == ['a', 'b']
    assert claims.is_main('main') and not claims.is_main('gaussians-remain')
    assert claims.is_main('x/main') and not claims.is_main('main/remain')


def _depth_claim(interval_of):
    """A claim on the runs that `interval_of` names, with the interval that it gives each."""

    def judge(some):
        return [
            claims.finding(name, 'depth', 'k, less 1', found, claims.above(found))
            for name, found in interval_of.items()
            if name in some
        ]

    return claims.Claim('deeper', 'It gets deeper', 'k less 1; holds above 0', judge)


@pytest.fixture
def verdicts():
    claim = _depth_claim({'main': interval(0.25, 0.75), 'only': interval(-0.5, 0.25, n=2)})
    other = _depth_claim({'main': interval(NAN, NAN, n=1)})
    return claims.judge([claim, other._replace(name='other')], runs('main', 'only'))


def test_claims_are_judged_on_each_task(verdicts):
    assert [(one.claim.name, one.task, one.outcome) for one in verdicts] == [
        ('deeper', 'gaussians', claims.DEPENDS),
        ('other', 'gaussians', claims.NOT_MEASURED),
    ]


def test_verdicts_are_said_with_their_intervals_and_how_many_these_are(verdicts):
    assert claims.text(verdicts).splitlines() == [
        'It gets deeper [gaussians]: DEPENDS ON THE MEASURE',
        '    main, depth: k, less 1: +0.5 [+0.25, +0.75], n = 3: holds',
        '    only, depth: k, less 1: -0.125 [-0.5, +0.25], n = 2: undecided',
        'It gets deeper [gaussians]: NOT MEASURED',
        '    main, depth: k, less 1: not measured (n = 1)',
        '2 intervals over networks, 95 % each, not corrected for their number.',
    ]


def test_a_line_of_the_table_is_a_finding_with_its_claim(verdicts, tmp_path):
    with open(claims.write_csv(tmp_path / 'claims.csv', verdicts), newline='') as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 3
    first = lines[0]
    assert (first['claim'], first['task'], first['run']) == ('deeper', 'gaussians', 'main')
    assert (first['verdict'], first['outcome']) == ('depends on the measure', 'holds')
    assert [float(first[name]) for name in ('estimate', 'low', 'high')] == [0.5, 0.25, 0.75]
    assert (first['n'], first['method']) == ('3', 'made up')
    assert first['rule'] == 'k less 1; holds above 0'
