"""The supervisor of the processes of one machine, with small ones in the place of trainings."""

import importlib.util
import pathlib
import signal
import subprocess
import sys
import textwrap
import time

import pytest
from absl import flags

from experiments.sweeps import shares
from launch import main, supervisor, teams

TOP = pathlib.Path(__file__).parent.parent.parent
HERE = 'print("here", flush=True)'
HEARS = 'signal.signal(signal.SIGTERM, lambda *_: sys.exit(42))'
WAITS, WAITS_HERE = f'{HEARS}; time.sleep(60)', f'{HEARS}; {HERE}; time.sleep(60)'


@pytest.fixture
def run(tmp_path):
    """run(code of process 0, of process 1, ..): the exit status of the launcher."""

    def run(*codes, max_restarts=0, stop=lambda: False):
        def command(i, address):
            start = f'import os, signal, sys, time; number, address = {i}, {address!r}; '
            return [sys.executable, '-c', start + textwrap.dedent(codes[i])]

        return supervisor.run(len(codes), max_restarts, tmp_path, stop, command)

    return run


def log(tmp_path, number):
    return (tmp_path / 'logs' / f'process-{number}.log').read_text()


def all_here(tmp_path):
    """Whether both processes would hear a signal: all have said that they are here."""
    return lambda: all('\nhere' in log(tmp_path, number) for number in range(2))


def test_the_status_is_that_of_the_lead_whose_lines_are_on_the_screen(run, tmp_path, capsys):
    assert run('print("lead speaks")', 'print("other speaks")') == 0
    out, err = capsys.readouterr()
    assert (out, err) == ('lead speaks\n', '')
    assert log(tmp_path, 1).splitlines()[1] == 'other speaks'
    assert run('sys.exit(3)', '') == 3
    assert run('sys.exit(42)', 'sys.exit(42)') == 42
    capsys.readouterr()
    saves = 'time.sleep(0.3); print("all saved"); sys.exit(42)'
    assert run(saves, 'sys.exit(5)') == 42  # whoever went first
    assert capsys.readouterr().out == 'all saved\n'
    assert log(tmp_path, 0).count('\n--- ') == 3  # logs are added to


def test_one_that_is_killed_is_named_with_its_last_lines_and_ends_the_others(run, tmp_path, capsys):
    began = time.monotonic()
    dies = 'print("on my way"); sys.stdout.flush(); os.kill(os.getpid(), signal.SIGKILL)'
    assert run(WAITS, dies, WAITS) == main.FAILED
    assert time.monotonic() - began < 30
    err = capsys.readouterr().err
    assert 'process 1 of 3 died (killed by SIGKILL), and the others were ended' in err
    assert err.count('\n') == 1 and 'on my way' in err and 'logs/process-1.log' in err


def test_who_left_for_another_is_not_blamed_where_the_other_shows(run, capsys):
    assert run('sys.exit(5)', 'time.sleep(0.2); print("my fault"); sys.exit(4)') == main.FAILED
    assert 'process 1 of 2 died (exit status 4)' in capsys.readouterr().err


def test_where_all_live_but_the_watch_has_spoken_its_words_are_the_paragraph(
    run, capsys, monkeypatch
):
    monkeypatch.setattr(sys, 'argv', ['launch/train.py'])
    monkeypatch.setattr(teams, '_BLAME', 0.3)
    says = 'print("python -m launch.train: process 1 of 2 is alive and stuck"); sys.exit(5)'
    assert run(says, WAITS) == main.FAILED
    assert capsys.readouterr().err == 'python -m launch.train: process 1 of 2 is alive and stuck\n'


def test_all_are_started_again_as_often_as_was_asked(run, tmp_path, capsys):
    name = f'name = {str(tmp_path / "count")!r}'
    twice = f'{name}; open(name, "a").write("x"); '
    twice += 'os.path.getsize(name) < 3 and os.kill(os.getpid(), 9)'
    lead = f"""
        {name}
        while not os.path.exists(name) or os.path.getsize(name) < 3:
            time.sleep(0.02)
    """
    assert run(lead, twice, max_restarts=2) == 0
    out, err = capsys.readouterr()
    assert '(restart 1 of 2)' in out and '(restart 2 of 2)' in out and err == ''
    (tmp_path / 'count').unlink()
    assert run(lead, twice, max_restarts=1) == main.FAILED
    assert (tmp_path / 'count').read_text() == 'xx'


def test_an_error_that_the_user_has_to_mend_is_not_tried_again(run, tmp_path, capsys):
    assert run('print("no such folder"); sys.exit(1)', WAITS, max_restarts=3) == main.FAILED
    assert 'no such folder' in capsys.readouterr().err
    assert log(tmp_path, 1).count('--- ') == 1


def test_an_error_of_the_lead_is_said_once_and_in_its_own_words(run, capsys, monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['launch/train.py'])
    says = 'print("a run of 2"); print("python -m launch.train: no such folder", flush=True); '
    assert run(says + 'time.sleep(0.5); sys.exit(1)', WAITS) == main.FAILED
    said = capsys.readouterr()
    assert (said.out, said.err) == ('a run of 2\n', 'python -m launch.train: no such folder\n')


@pytest.mark.slow
def test_the_time_that_the_others_had_is_said_as_it_was(run, tmp_path, capsys):
    stays = f'signal.signal(signal.SIGTERM, signal.SIG_IGN); {HERE}; time.sleep(60)'
    assert run(stays, WAITS_HERE, stop=all_here(tmp_path)) == main.STOPPED
    assert 'others were not 5 s later: they were ended' in capsys.readouterr().err


def test_a_signal_goes_to_all_and_what_they_say_of_it_is_the_end(run, tmp_path):
    assert run(WAITS_HERE, WAITS_HERE, stop=all_here(tmp_path)) == main.STOPPED


def test_a_signal_that_kills_one_before_the_lead_has_spoken_stops_all_and_later_is_a_failure(
    run, tmp_path, capsys
):
    deaf = 'time.sleep(60)'
    assert run(deaf, deaf, stop=lambda: True) == main.STOPPED
    said = capsys.readouterr()
    assert (said.out.count('before the processes had begun'), said.err) == (1, '')
    assert run(f'{HERE}; {deaf}', f'{HERE}; {deaf}', stop=all_here(tmp_path)) == main.FAILED
    assert '(killed by SIGTERM)' in capsys.readouterr().err


def test_each_has_the_same_address_of_this_machine_and_each_start_another(run, tmp_path):
    run('print(address)', 'print(address)')
    run('print(address)', 'print(address)')
    first, second = ({log(tmp_path, i).splitlines()[n] for i in range(2)} for n in (1, 3))
    assert len(first) == len(second) == 1 and first != second
    assert first.pop().startswith('127.0.0.1:')


@pytest.mark.parametrize('number', [signal.SIGKILL, signal.SIGTERM])
def test_no_process_outlives_a_supervisor(tmp_path, number):
    flags_ = ('--config.train.steps=1', '--processes=2', f'--workdir={tmp_path}')
    command = [sys.executable, '-m', 'launch.train', *flags_]
    with subprocess.Popen(command, cwd=TOP, stdout=subprocess.DEVNULL) as parent:
        deadline = time.monotonic() + 60
        while len(children := _children(parent.pid)) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        parent.send_signal(number)
        if number == signal.SIGTERM:
            time.sleep(0.3)
            parent.send_signal(number)  # the second ends it at once
    assert len(children) == 2
    while (alive := [pid for pid in children if _alive(pid)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive


@pytest.fixture
def plugins(monkeypatch):
    """plugins(names): JAX has these alone."""

    def plugins(*names):
        there = importlib.util.find_spec
        known = {name for some in shares._PLUGINS.values() for name in some}
        monkeypatch.setattr(
            importlib.util,
            'find_spec',
            lambda name, *_: (name in names or None) if name in known else there(name),
        )

    return plugins


def test_gpus_are_dealt_out_and_too_few_are_refused(plugins):
    plugins('jax_cuda12_plugin')
    devices = supervisor._devices(2, {'CUDA_VISIBLE_DEVICES': '0,1,2,5'})
    assert [devices(i) for i in range(2)] == [
        {'CUDA_VISIBLE_DEVICES': '0,2'},
        {'CUDA_VISIBLE_DEVICES': '1,5'},
    ]
    on_cpu = {'CUDA_VISIBLE_DEVICES': '0', 'JAX_PLATFORMS': 'cpu'}
    assert supervisor._devices(2, on_cpu)(0) == {}
    with pytest.raises(flags.Error, match='--processes=2 and 1 GPU here'):
        supervisor._devices(2, {'CUDA_VISIBLE_DEVICES': '3'})
    plugins()  # there are GPUs, and this JAX cannot take them
    assert supervisor._devices(2, {'CUDA_VISIBLE_DEVICES': '3'})(0) == {}


def test_tpu_chips_are_not_dealt_out(plugins):
    plugins('libtpu')
    with pytest.raises(flags.Error, match=r'TPU chips here \(0, 1\): .* Leave --processes out'):
        supervisor._devices(2, {'TPU_VISIBLE_CHIPS': '0,1'})
    assert supervisor._devices(2, {'TPU_VISIBLE_CHIPS': '0,1', 'JAX_PLATFORMS': 'cpu'})(0) == {}


def _children(pid):
    found = pathlib.Path(f'/proc/{pid}/task/{pid}/children')
    return [int(child) for child in found.read_text().split()] if found.exists() else []


def _alive(pid):
    try:
        state = pathlib.Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0]
    except OSError:
        return False
    return state != 'Z'
