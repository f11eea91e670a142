"""JSON lines survive a torn end, a cut and NaN; the TensorBoard files hold what was written.

A full disk ends the record with one error that names it, and the view with one warning.
"""

import errno
import json
import os
import struct
import subprocess
import sys
import threading
import time

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


@pytest.mark.parametrize(
    ('line', 'why'),
    [
        ('{"step": 2, "loss"}', 'JSONDecodeError: Expecting'),
        ('{"step": 1e400}', 'step=inf is not a whole number'),
        ('{"step": true}', 'step=True'),
        ('{"loss": 1}', 'step=None'),
        ('[2]', 'it holds a list'),
        ('{"step": ' + '[' * 100_000, 'RecursionError'),
        ('{"step": 2, "test_accuracy": "high"}', "test_accuracy='high' is not a list of numbers"),
        ('{"step": 2, "test_loss": [1, "2"]}', 'test_loss='),
        ('{"step": 2, "images_per_second": null}', 'images_per_second=None is not a number'),
    ],
)
def test_a_damaged_line_is_said_by_its_number_and_its_fault(tmp_path, line, why):
    path = tmp_path / 'm.jsonl'
    writer = lines(path, 1)
    with open(path, 'a') as file:
        file.write(f'{line}\n{{"step": 3, "test_accuracy": [null, 0.5, 1]}}\n')
    for read in (lambda: metrics.read(path), lambda: writer.cut_after(1)):
        with pytest.raises(errors.RunError) as caught:
            read()
        assert f'{path} is damaged in line 2, ' in str(caught.value) and why in str(caught.value)


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


def test_an_event_file_is_read_by_the_reader_of_the_format(tmp_path):
    view = metrics.TensorBoard(tmp_path, purge_step=7)
    view.write(7, loss=[1.0, 2.0])
    view.close()
    (path,) = tmp_path.iterdir()
    assert path.name.startswith('events.out.tfevents.')
    data, events = path.read_bytes(), []
    while data:  # length, CRC, data, CRC
        (size,) = struct.unpack('<Q', data[:8])
        events.append(metrics.event_pb2.Event.FromString(data[12 : 12 + size]))
        data = data[16 + size :]
    version, purge, scalar = events
    assert version.file_version == 'brain.Event:2'
    assert (purge.step, purge.session_log.status) == (7, metrics.event_pb2.SessionLog.START)
    assert (scalar.step, scalar.summary.value[0].simple_value) == (7, 1.5)
    assert scalar.summary.value[0].tag == 'loss'


FULL = OSError(errno.ENOSPC, 'No space left on device')


def raises(error):
    def call(*args, **kwargs):
        raise error

    return call


class Broken:
    """A file on a full disk; it fails at `call`."""

    def __init__(self, call):
        self._call = call

    def _fail(self, call):
        if call == self._call:
            raise FULL

    def write(self, data):
        self._fail('write')
        return len(data)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._fail('close')


@pytest.mark.parametrize('call', ['open', 'write', 'close'])
def test_a_view_that_cannot_be_written_is_dropped_with_one_warning(
    tmp_path, monkeypatch, capfd, call
):
    opened = raises(FULL) if call == 'open' else lambda *_, **__: Broken(call)
    monkeypatch.setattr(metrics, 'open', opened, raising=False)
    view = metrics.TensorBoard(tmp_path / 'events', purge_step=1)
    for step in range(100):
        view.write(step, loss=1.0)
    view.close()
    said = capfd.readouterr().err
    assert said.count('warning: the TensorBoard events') == said.count('\n') == 1
    assert 'No space left on device' in said


def test_a_view_whose_folder_cannot_be_made_is_dropped(tmp_path, capfd):
    (tmp_path / 'events').write_text('a file')
    view = metrics.TensorBoard(tmp_path / 'events')
    view.write(1, loss=1.0)
    view.close()
    assert capfd.readouterr().err.count('end here') == 1


def test_the_warning_of_a_view_is_said_to_its_end_before_it_is_closed(tmp_path, monkeypatch, capfd):
    dropping = threading.Event()

    def slowly(*words, **options):
        dropping.set()
        time.sleep(0.05)
        print(*words, **options)

    monkeypatch.setattr(metrics, 'print', slowly, raising=False)
    (tmp_path / 'events').write_text('a file')
    view = metrics.TensorBoard(tmp_path / 'events')
    assert dropping.wait(10)
    view.close()
    assert capfd.readouterr().err.count('end here') == 1


def test_a_view_without_a_thread_is_dropped(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(threading.Thread, 'start', raises(RuntimeError("can't start new thread")))
    view = metrics.TensorBoard(tmp_path, purge_step=3)
    view.write(1, loss=1.0)
    view.close()
    assert capfd.readouterr().err.count('end here') == 1


@pytest.mark.parametrize('waiting', [10, 1000])
def test_a_disk_that_hangs_delays_neither_writing_nor_closing(
    tmp_path, monkeypatch, capfd, waiting
):
    back = threading.Event()
    monkeypatch.setattr(metrics, '_write_all', lambda *_: back.wait())
    monkeypatch.setattr(metrics, '_WAITING', waiting)
    monkeypatch.setattr(metrics, '_PATIENCE', 0.01)
    view = metrics.TensorBoard(tmp_path)
    for step in range(100):
        view.write(step, loss=1.0)
    view.close()
    assert capfd.readouterr().err.count('end here') == 1
    back.set()
    view._thread.join()


LIMITED = """
import resource, sys
from resnet_dyn.training import metrics
resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))
view = metrics.TensorBoard(sys.argv[1])
for step in range(3000):
    view.write(step, loss=[0.5, 0.25])
view.close()
try:
    lines = metrics.JsonLines(sys.argv[1] + '/m.jsonl')
    for step in range(3000):
        lines.write(step, loss=[0.5, 0.25])
except metrics.errors.RunError as error:
    print(error)
lines.close()
lines = metrics.JsonLines(sys.argv[1] + '/m.jsonl')
print(metrics.read(sys.argv[1] + '/m.jsonl') == [{'step': s, 'loss': [0.5, 0.25]} for s in range(
    len(metrics.read(sys.argv[1] + '/m.jsonl')))])
lines.close()
"""


def test_a_limit_on_the_size_of_files_ends_the_view_and_is_an_error_of_the_record(tmp_path):
    done = subprocess.run(
        [sys.executable, '-W', 'error', '-c', LIMITED, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count('end here') == done.stderr.count('\n') == 1, done.stderr
    said, whole = done.stdout.splitlines()
    assert 'm.jsonl cannot be written' in said and 'File too large' in said
    assert whole == 'True'


@pytest.mark.parametrize('call', ['open', 'cut', 'read'])
def test_a_full_or_failing_disk_is_said_with_the_file(tmp_path, monkeypatch, call):
    path = tmp_path / 'm.jsonl'
    writer = lines(path, 1, 2)
    with monkeypatch.context() as patch:
        if call == 'cut':
            patch.setattr(os, 'replace', raises(FULL))
            with pytest.raises(errors.RunError, match=r'm\.jsonl cannot be written .*No space'):
                writer.cut_after(1)
            assert os.listdir(tmp_path) == ['m.jsonl']
        elif call == 'open':
            patch.setattr(metrics, '_drop_torn_line', raises(FULL))
            with pytest.raises(errors.RunError, match=r'm\.jsonl cannot be written .*No space'):
                metrics.JsonLines(path)
        else:
            broken = OSError(errno.EIO, 'Input/output error')
            patch.setattr(metrics.pathlib.Path, 'read_bytes', raises(broken))
            with pytest.raises(errors.RunError, match=r'm\.jsonl cannot be read .*Input/output'):
                metrics.read(path)
    writer.close()
    assert [line['step'] for line in metrics.read(path)] == [1, 2]
