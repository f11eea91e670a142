"""Progress lines of long work: sparse, with the time left, and a way out for signals."""

import pytest

from launch import progress


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_a_line_at_most_every_ten_seconds_with_the_time_left():
    clock, said = Clock(), []
    lines = progress.Lines(said.append, lambda: False, clock)
    for done in range(101):
        clock.now = float(done)
        lines('step 5, pairs', done, 100)
    assert len(said) == 9  # at 10, 20, ..., 90
    assert said[0] == 'step 5, pairs: 10 %, about 1m30s left'


def test_short_work_is_silent_and_new_work_begins_anew():
    clock, said = Clock(), []
    lines = progress.Lines(said.append, lambda: False, clock)
    for what in ('pairs', 'random'):
        lines(what, 0, 1)
        clock.now += 9
        lines(what, 1, 2)
    assert not said
    clock.now += 9
    lines('random', 3, 4)
    assert said == ['random: 75 %, about 6s left']


def test_a_signal_ends_the_work():
    with pytest.raises(progress.Stopped):
        progress.Lines(print, lambda: True)('pairs', 1, 2)
