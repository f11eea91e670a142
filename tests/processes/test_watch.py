"""Who is named by the watch over processes, by the signs that they gave and when."""

from resnet_dyn.processes import watch

LIMIT = 10.0


def signs(**given):
    """Three processes in turn 5 that moved and beat just now, at time 100, but for what is given.

    `given` by index, as in p1={'moved': 30}: seconds since it moved.
    """
    known = {}
    for number in range(3):
        one = {'beat': 0, 'moved': 0, 'turn': 5, 'patience': 1.0} | given.get(f'p{number}', {})
        sign = watch.Sign(
            9, one['turn'], 7, 'training from step 3', one['patience'], f'host{number}'
        )
        known[number] = watch.Seen(sign, 100 - one['beat'], 100 - one['moved'])
    return known


def judged(judge=0, answered=100.0, **given):
    return watch.verdict(signs(**given), 100.0, LIMIT, judge, answered)


def test_a_process_that_shows_nothing_is_named():
    found = judged(p1={'beat': 11, 'moved': 2})
    assert found.guilty == (1,)
    assert 'process 1 of 3 (on host1) gave no sign of life for 11 s' in found.text
    assert judged(p1={'beat': 9}) is None
    assert judged(p1={'beat': 11}, p2={'beat': 12}).guilty == (1, 2)


def test_the_lead_is_named_where_it_does_not_answer():
    assert judged(judge=1, answered=88.0).guilty == (0,)
    assert judged(judge=1, answered=92.0) is None


def test_a_process_that_lives_and_is_behind_is_stuck_and_those_that_wait_for_it_are_not():
    waiting = {'moved': 60, 'turn': 6}
    found = judged(p0=waiting, p1={'moved': 11}, p2=waiting)
    assert found.guilty == (1,)
    assert 'alive and stuck: no move for 11 s (training from step 3)' in found.text
    assert judged(p0=waiting, p1={'moved': 9}, p2=waiting) is None


def test_what_may_take_long_has_patience_and_an_end():
    waiting = {'moved': 60, 'turn': 6}
    compiling = {'moved': 60, 'patience': 10.0}
    assert judged(p0=waiting, p1=compiling, p2=waiting) is None
    assert judged(p0=waiting, p1=compiling | {'moved': 101}, p2=waiting).guilty == (1,)


def test_where_none_moves_and_none_is_behind_all_are_ended_and_nobody_is_blamed():
    still = {'moved': 11}
    found = judged(p0=still, p1=still, p2=still)
    assert found.guilty == () and 'none of the 3 processes moved for 11 s' in found.text
    assert judged(p0=still, p1=still) is None


def test_only_what_changes_counts_as_a_sign():
    first = watch.Seen(watch.Sign(1, 1, 1), 10.0, 10.0)
    beaten = watch.seen(first, watch.Sign(2, 1, 1), 20.0)
    assert (beaten.beat_at, beaten.moved_at) == (20.0, 10.0)
    assert watch.seen(beaten, watch.Sign(2, 1, 1), 30.0)[1:] == (20.0, 10.0)
    assert watch.seen(beaten, watch.Sign(3, 1, 2), 40.0)[1:] == (40.0, 40.0)
