"""What every launcher does with the outcome of its job, and with signals."""

import os
import signal

import pytest
from absl import flags

from experiments import verify_theorems
from experiments.benchmarks import theory
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


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_work_that_saves_nothing_ends_at_the_first_signal_and_says_what_is_lost(number, capsys):
    def job(stop):
        with main.leaves_at_once(stop, 'no number was written'):
            os.kill(os.getpid(), number)
            raise AssertionError('the signal was swallowed')

    assert _status(job) == 42
    assert capsys.readouterr().out == 'stopped by a signal: no number was written\n'


def test_such_work_hears_a_signal_from_before_it_began_or_from_a_finalizer(monkeypatch):
    class Finalized:
        def __del__(self):
            os.kill(os.getpid(), signal.SIGTERM)

    def before(stop):
        os.kill(os.getpid(), signal.SIGTERM)
        with main.leaves_at_once(stop, 'all'):
            raise AssertionError('it has begun')

    def in_a_finalizer(stop):
        with main.leaves_at_once(stop, 'all'):
            Finalized()

    monkeypatch.setattr('sys.unraisablehook', lambda _: None)
    assert _status(before) == 42
    assert _status(in_a_finalizer) == 42


def test_a_signal_while_such_work_is_written_waits(capsys):
    def job(stop):
        with main.leaves_at_once(stop, 'all'):
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop()
        return main.DONE

    assert _status(job) == 0
    assert not capsys.readouterr().out


def test_theorems_and_benchmarks_end_at_the_first_signal_and_write_nothing(
    called, tmp_path, monkeypatch
):
    def signalled(*_, **__):
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError('the signal was swallowed')

    monkeypatch.setattr(verify_theorems, 'measure', signalled)
    monkeypatch.setattr(theory, 'calls', signalled)
    for launcher, flags_ in (('theorems', ()), ('benchmark', ('--what=theory',))):
        status, out, err = called(launcher, f'--workdir={tmp_path}', *flags_)
        assert (status, err) == (42, '')
        assert 'stopped by a signal' in out and 'nothing was written' in out
        assert not list(tmp_path.iterdir())


def test_the_workdir_is_absolute_and_has_to_be_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = []
    assert _status(lambda stop: found.append(main.workdir()) or 0, '--workdir=here') == 0
    assert found == [tmp_path / 'here']
