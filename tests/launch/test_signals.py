"""Signals that come while the main thread is in a compiled program, and hears nothing."""

import pathlib
import signal
import subprocess
import sys
import time

import pytest

TOP = pathlib.Path(__file__).parent.parent.parent
DEAF = """
import hashlib, sys
from launch import main, signals
from resnet_dyn import errors, unsaved

signals.PATIENCE = 0.1

def deaf():
    print('deaf', flush=True)
    hashlib.pbkdf2_hmac('sha256', b'', b'', 10**9)

def save():
    return 'saved'

def fails():
    raise errors.RunError('no space')

def define():
    {define}
    return ''

def job(stop):
    stop.at_any_moment()
    {job}

main.run(job, ['launch/job.py'], define)
"""
FOUND = 'what was finished is on disk'
HELD = """
    import threading, time
    ended = threading.Event()
    def held():
        with unsaved.work():
            while not stop():
                time.sleep(0.01)
            time.sleep(3 * signals.PATIENCE)
            print('at its end', flush=True)
    threading.Thread(target=held).start()
    deaf()"""


@pytest.fixture
def ended():
    """ended(what the job does): (status, stdout, stderr) after a SIGTERM in a deaf call."""

    def ended(job='', number=signal.SIGTERM, times=1, define=''):
        command = [sys.executable, '-c', DEAF.format(job=job, define=define)]
        with subprocess.Popen(
            command, cwd=TOP, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            try:
                assert process.stdout.readline() == 'deaf\n'
                for _ in range(times):
                    time.sleep(0.2)  # until it is deaf; two at once are one
                    process.send_signal(number)  # two at once are one
                out, err = process.communicate(timeout=20)
            finally:
                process.kill()
        return process.returncode, out, err

    return ended


def test_a_deaf_process_leaves_by_itself_where_all_that_is_finished_is_on_disk(ended):
    for number in (signal.SIGTERM, signal.SIGINT):
        status, out, err = ended('deaf()', number)
        assert (status, err) == (42, '') and FOUND in out and out.count('\n') == 1


def test_a_process_that_is_deaf_before_its_job_begins_leaves_too(ended):
    status, out, err = ended(define='deaf()')
    assert (status, err) == (42, '') and FOUND in out


def test_what_is_unsaved_is_saved_first(ended):
    job = 'with unsaved.work():\n        with unsaved.work(save):\n            deaf()'
    assert ended(job) == (42, 'saved\n', '')


def test_what_saves_itself_is_waited_for(ended):
    status, out, err = ended(HELD)
    assert (status, err) == (42, '') and out.startswith('at its end\n') and FOUND in out


def test_a_save_that_fails_is_a_paragraph_and_a_failure(ended):
    assert ended('with unsaved.work(fails):\n        deaf()') == (1, '', 'no space\n')
    status, _, err = ended('with unsaved.work(lambda: 1 / 0):\n        deaf()')
    assert status == 1 and err.rstrip().endswith('ZeroDivisionError: division by zero')


def test_work_that_saves_nothing_says_what_is_lost(ended):
    job = "with stop.leaves_at_once('no number was written'):\n        deaf()"
    assert ended(job) == (42, 'stopped by a signal: no number was written\n', '')


def test_the_second_signal_ends_a_deaf_process_that_has_work(ended):
    status, out, _ = ended('with unsaved.work():\n        deaf()', times=2)
    assert status in (128 + signal.SIGTERM, -signal.SIGTERM) and not out  # Python's, if it heard
