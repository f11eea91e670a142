"""What every launcher does with the outcome of its job, and with signals."""

import os
import signal

import pytest
from absl import flags

from launch import main
from resnet_dyn import errors


@pytest.fixture(autouse=True)
def _handlers_put_back():
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def _status(job, *arguments):
    flags.FLAGS.unparse_flags()
    with pytest.raises(SystemExit) as exit:
        main.run(job, ['somewhere/train.py', *arguments])
    return exit.value.code


def _raises(error):
    def job(stop):
        raise error

    return job


def test_the_status_of_the_job_is_that_of_the_process():
    assert _status(lambda stop: main.DONE) == 0
    assert _status(lambda stop: main.STOPPED) == 42


@pytest.mark.parametrize('error', [errors.NotFiniteError('mend it'), flags.Error('mend it')])
def test_what_a_user_can_mend_is_one_line_and_a_failure(error, capsys):
    assert _status(_raises(error)) == 1
    assert capsys.readouterr().err == 'python -m launch.train: mend it\n'


@pytest.mark.parametrize('error', [ValueError('ours'), KeyError('ours'), TypeError('ours')])
def test_an_error_of_the_program_keeps_its_traceback(error):
    flags.FLAGS.unparse_flags()
    with pytest.raises(type(error)):
        main.run(_raises(error), ['somewhere/train.py'])


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_asks_for_a_stop_and_the_second_is_left_to_python(number):
    def job(stop):
        assert not stop()
        os.kill(os.getpid(), number)
        assert stop()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        return main.STOPPED

    assert _status(job) == 42


def test_the_workdir_is_absolute_and_has_to_be_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = []
    assert _status(lambda stop: found.append(main.workdir()) or 0, '--workdir=here') == 0
    assert found == [tmp_path / 'here']
