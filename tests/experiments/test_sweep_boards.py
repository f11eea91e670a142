"""How a sweep is seen: a table on a terminal, lines elsewhere."""

import json
import os

import pytest

from experiments.sweeps import boards, members, pool, standing

ROWS = [{'seed': seed} for seed in range(6)]


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def runs(tmp_path):
    return members.make(tmp_path, {}, ROWS)


def said(one, step, loss):
    """A run of 100 steps says that it is at `step`."""
    one.workdir.mkdir(exist_ok=True)
    (one.workdir / 'config.json').write_text('{"total_steps": 100}')
    with open(one.workdir / 'metrics.jsonl', 'a') as file:
        file.write(json.dumps({'step': step, 'loss': [loss]}) + '\n')


def stand(runs, *states):
    return {one.name: standing.Standing(*state) for one, state in zip(runs, states, strict=False)}


def test_a_terminal_has_a_table_that_is_drawn_over_the_one_before(runs, monkeypatch):
    monkeypatch.setattr(boards.shutil, 'get_terminal_size', lambda: os.terminal_size((60, 40)))
    lines, clock = [], Clock()
    board = boards.Board(runs[:3], lines.append, True, clock)
    states = stand(runs, ['done'], ['running'], ['waiting'])
    said(runs[0], 100, 0.5)
    said(runs[1], 10, 2.0)
    board.look(states)
    clock.now = 0.5
    board.look(states)
    assert len(lines) == 1  # not more than once a second
    clock.now = 10.0
    said(runs[1], 30, 1.25)
    board.look(states)
    assert lines[1].startswith('\x1b[5A\x1b[J')
    heading, titles, done, running, waiting = lines[1].partition('\x1b[J')[2].splitlines()
    assert heading == '3 runs: 1 done, 1 running, 1 waiting'
    assert titles.split() == ['run', 'state', 'step', 'loss', 'left']
    assert done.split() == [runs[0].name, 'done', '100/100', '0.5']
    assert running.split() == [runs[1].name, 'running', '30/100', '1.25', 'about', '35s']
    assert waiting.split() == [runs[2].name, 'waiting']
    clock.now = 30.0
    board.look(stand(runs, ['done'], ['done'], ['waiting']), last=True)
    assert '; about 30s left' in lines[2]


def test_what_does_not_fit_is_cut_and_counted(runs):
    board = boards.Board(runs, print, True)
    states = stand(runs, *[['done']] * 4, ['running'], ['failed', 'why'])
    _, first, second, third, more = board.lines(states, 3)
    assert (runs[4].name in first, runs[5].name in second, runs[0].name in third) == (True,) * 3
    assert more == '.. and 3 more'


def test_elsewhere_a_line_is_said_of_each_event_and_now_and_then_of_what_runs(runs):
    lines, clock = [], Clock()
    board = boards.Board(runs[:2], lines.append, False, clock)
    states = stand(runs, ['running'], ['waiting'])
    board.look(states)
    board.tell(pool.Event(runs[0], states[runs[0].name], 'core 0'))
    said(runs[0], 50, 0.75)
    for clock.now in (10.0, 20.0, 31.0, 32.0):
        board.look(states)
    board.tell(pool.Event(runs[0], standing.Standing('done')))
    board.tell(pool.Event(runs[1], standing.Standing('failed', 'exit status 1')))
    name, other = (one.name for one in runs[:2])
    assert lines == [
        f'{name}: running (core 0)',
        '2 runs: 1 running, 1 waiting',
        f'  {name}: step 50/100, loss 0.75',
        f'{name}: done; step 50/100, loss 0.75',
        f'{other}: failed (exit status 1)',
    ]
