"""JSON lines survive a torn end, a cut and NaN; the TensorBoard files hold what was written."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from resnet_dyn import errors
from resnet_dyn.training import metrics


def lines(path, *steps):
    writer = metrics.JsonLines(path)
    for step in steps:
        writer.write(step, loss=[0.5, 0.25])
    return writer


def test_a_line_can_be_read_as_soon_as_it_is_written(tmp_path):
    writer = lines(tmp_path / 'm.jsonl', 1, 2)
    assert metrics.read(tmp_path / 'm.jsonl') == [
        {'step': 1, 'loss': [0.5, 0.25]},
        {'step': 2, 'loss': [0.5, 0.25]},
    ]
    writer.close()


def test_arrays_become_lists_and_what_json_cannot_say_becomes_null(tmp_path):
    writer = metrics.JsonLines(tmp_path / 'm.jsonl')
    writer.write(
        np.int64(3),
        a=jnp.array([1.0, jnp.nan]),
        b=np.float32(np.inf),
        c={'d': [(1, 2.5)], 'e': np.arange(2)},
        f='word',
        g=True,
    )
    writer.close()

    def refuse(word):
        raise AssertionError(f'{word} is not JSON')

    (line,) = (tmp_path / 'm.jsonl').read_text().splitlines()
    assert json.loads(line, parse_constant=refuse) == {
        'step': 3,
        'a': [1.0, None],
        'b': None,
        'c': {'d': [[1, 2.5]], 'e': [0, 1]},
        'f': 'word',
        'g': True,
    }


def test_a_torn_last_line_is_not_read_and_not_written_on(tmp_path):
    path = tmp_path / 'm.jsonl'
    lines(path, 1, 2).close()
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        there = whole[:size].count(b'\n')
        assert [line['step'] for line in metrics.read(path)] == [1, 2][:there]
        lines(path, 9).close()
        assert [line['step'] for line in metrics.read(path)] == [*[1, 2][:there], 9]


def test_a_cut_drops_later_steps_and_writing_goes_on_after_it(tmp_path):
    path = tmp_path / 'm.jsonl'
    writer = lines(path, 10, 20, 20, 30)
    writer.cut_after(20)
    writer.write(25, loss=1)
    writer.close()
    assert [line['step'] for line in metrics.read(path)] == [10, 20, 20, 25]
    assert list(tmp_path.iterdir()) == [path]


def test_a_damaged_line_before_the_last_is_said(tmp_path):
    path = tmp_path / 'm.jsonl'
    lines(path, 1, 2).close()
    path.write_bytes(b'{"step": 1, "lo\n' + path.read_bytes())
    with pytest.raises(errors.RunError, match='"lo'):
        metrics.read(path)


def test_a_file_that_is_not_there_has_no_lines(tmp_path):
    assert metrics.read(tmp_path / 'none.jsonl') == []


def test_closed_event_files_hold_every_point(tmp_path):
    view = metrics.TensorBoard(tmp_path, purge_step=None)
    for step in range(10):
        view.write(step, loss=[1.0, 2.0], images_per_second=3.0)
    view.close()
    resumed = metrics.TensorBoard(tmp_path, purge_step=5)
    resumed.write(5, loss=np.array([0.5]))
    resumed.close()
    data = b''.join(path.read_bytes() for path in tmp_path.iterdir())
    assert data.count(b'images_per_second') == 10
    assert data.count(b'loss') == 11
