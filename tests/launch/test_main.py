"""What every launcher does with the outcome of its job, and with signals."""

import errno
import os
import signal
import sys

import pytest
from absl import flags
from absl.testing import flagsaver

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
    with flagsaver.flagsaver(), pytest.raises(SystemExit) as exit:
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


def test_a_name_with_a_line_s_end_in_it_does_not_break_the_line(capsys):
    assert _status(_raises(errors.RunError('the folder a\nb is a file'))) == 1
    assert capsys.readouterr().err == 'python -m launch.train: the folder a b is a file\n'


@pytest.mark.parametrize('number', [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_full_disk_is_one_line_wherever_it_was_met(number, capsys):
    error = OSError(number, os.strerror(number), '/run/picture.png')
    assert _status(_raises(error)) == 1
    said = capsys.readouterr().err
    assert said.count('\n') == 1 and os.strerror(number) in said and '/run/picture.png' in said


def test_a_folder_called_tilde_is_not_home(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('HOME', '/elsewhere')
    found = []

    def job(stop):
        found.append(str(main.workdir()))
        return main.DONE

    for given in ('./~', '~nobody-of-this-name/a', '~/a'):
        assert _status(job, f'--workdir={given}') == 0
    assert found == [f'{tmp_path}/~', f'{tmp_path}/~nobody-of-this-name/a', '/elsewhere/a']


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


def test_theorems_and_benchmarks_ask_first_whether_they_can_write(called, monkeypatch):
    def computed(*_, **__):
        raise AssertionError('it computes before it knows that it can write')

    monkeypatch.setattr(verify_theorems, 'measure', computed)
    monkeypatch.setattr(theory, 'calls', computed)
    for launcher, flags_ in (('theorems', ()), ('benchmark', ('--what=theory',))):
        status, _, err = called(launcher, '--workdir=/dev/null/x', *flags_)
        assert status == 1
        assert 'cannot be written to /dev/null/x' in err and len(err.splitlines()) == 1


@pytest.mark.parametrize('stream', ['stdout', 'stderr'])
def test_where_nobody_reads_any_more_the_job_goes_on(stream, monkeypatch):
    reader, writer = os.pipe()
    done = []

    def job(stop):
        main.say('first')
        print('first', file=sys.stderr)
        os.close(reader)
        for number in range(3):
            main.say(f'line {number}')
            print(f'warning {number}', file=sys.stderr)
            done.append(number)
        return main.DONE

    with open(writer, 'w') as pipe:
        monkeypatch.setattr(sys, stream, pipe)
        assert _status(job) == 0
        assert getattr(sys, stream) is pipe
        pipe.write('what is written afterwards goes nowhere')
    assert done == [0, 1, 2]


def test_an_error_that_nobody_reads_keeps_its_status(monkeypatch):
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, 'w') as pipe:
        monkeypatch.setattr(sys, 'stderr', pipe)
        assert _status(_raises(errors.RunError('mend it'))) == 1


def test_a_character_that_the_log_cannot_have_is_replaced(tmp_path, monkeypatch):
    with open(tmp_path / 'log', 'w', encoding='ascii') as log:
        monkeypatch.setattr(sys, 'stdout', log)
        assert _status(lambda stop: main.say('0.5 ± 0.1') or main.DONE) == 0
    assert (tmp_path / 'log').read_text() == '0.5 ? 0.1\n'


@pytest.mark.skipif(not os.path.exists('/dev/full'), reason='no such device here')
def test_a_full_disk_below_the_log_does_not_end_the_job(monkeypatch):
    with open('/dev/full', 'w') as full:
        monkeypatch.setattr(sys, 'stdout', full)
        assert _status(lambda stop: main.say('a line') or main.DONE) == 0


def test_the_workdir_is_absolute_and_has_to_be_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = []
    assert _status(lambda stop: found.append(main.workdir()) or 0, '--workdir=here') == 0
    assert found == [tmp_path / 'here']


def test_a_signal_that_comes_while_flags_are_still_defined_is_heard():
    def define():
        signal.raise_signal(signal.SIGTERM)  # as JAX is imported, say
        return ''

    def job(stop):
        return main.STOPPED if stop() else main.DONE

    flags.FLAGS.unparse_flags()
    with flagsaver.flagsaver(), pytest.raises(SystemExit) as exit:
        main.run(job, ['somewhere/analyze.py'], define)
    assert exit.value.code == 42
