"""launch.submit: what it would run, to the letter; what it refuses; what its scripts do."""

import os
import pathlib
import shlex
import sys

import pytest

from launch import places
from launch.schedulers import jobs, slurm
from resnet_dyn import commands

GOLDEN = pathlib.Path(__file__).parent / 'golden'
TOP = pathlib.Path(__file__).parent.parent.parent
W = pathlib.Path('/runs/first try')
SLURM = ('--partition=gpu', '--account=lab', '--time=4:00:00', '--nodes=2', '--gpus=4', '--cpus=8')
SLURM += ('--memory=64G', '--sbatch=--constraint=a100', '--setup=module load cuda')
PLACES = {
    'local': (),
    'slurm': SLURM,
    'tpu': ('--accelerator_type=v5litepod-8', '--zone=us-west4-a', '--project=mine', '--spot'),
    'sky': ('--accelerators=A100:8', '--nodes=2', '--infra=gcp', '--spot', '--name=Big Run'),
}
NASTY = ('a b', "it's", '$HOME `x` "y"', 'back\\slash', '*', '#', '')


def _assert_golden(name, text):
    found = text.replace(sys.executable, 'PYTHON').replace(str(TOP), '/checkout')
    file = GOLDEN / f'{name}.txt'
    if os.environ.get('REWRITE_GOLDEN'):
        file.write_text(found)
    assert found == file.read_text()


@pytest.mark.parametrize('place', PLACES)
def test_a_dry_run_prints_what_would_run_to_the_letter(place, called, unchecked, monkeypatch):
    monkeypatch.setenv('PATH', '')  # it needs none of the tools
    monkeypatch.delenv('PYTHONPATH', raising=False)
    monkeypatch.chdir(TOP)
    command = ('--', 'launch.train', '--config.seeds=8', '--config.data.dir=/my data')
    status, out, err = called(
        'submit', f'--on={place}', f'--workdir={W}', '--dry_run', *PLACES[place], *command
    )
    assert (status, err) == (0, '')
    _assert_golden(place, out)
    assert not W.parent.exists()


@pytest.mark.parametrize(
    ('place', 'asked'),
    [('tpu', '--accelerator-type=v5litepod-8'), ('sky', 'accelerators: "A100:1"')],
)
def test_a_place_without_further_flags_is_one_small_machine(place, asked, called, unchecked):
    words = ('submit', f'--on={place}', f'--workdir={W}', '--dry_run', '--', 'launch.train')
    status, out, err = called(*words)
    assert (status, err) == (0, '') and asked in out and '--zone' not in out


def test_several_commands_are_an_array(monkeypatch):
    monkeypatch.delenv('PYTHONPATH', raising=False)
    listed = tuple(
        jobs.Command('train', pathlib.Path(f'/runs/{n}'), (f'--config.seed={n}',)) for n in range(3)
    )
    job = jobs.Job('seeds', pathlib.Path('/runs'), listed, pathlib.Path('/here'), at_once=2)
    text = slurm.script(job, slurm.Options(again=slurm.OUTSIDE))
    _assert_golden('array', text)


@pytest.mark.parametrize('number', [1, 3])
def test_every_word_arrives_as_it_is(number, tools, tmp_path, monkeypatch, bash):
    monkeypatch.setattr(commands, '_script', tmp_path / 'bin of mine' / 'resnet-dyn')
    tools('srun', 'shift; printf "%s\\0" "$@"')
    words = tuple(f'--flag={value}' for value in NASTY)
    listed = tuple(jobs.Command('train', tmp_path / f"a b'{n}", words) for n in range(number))
    script = slurm.script(jobs.Job('n', tmp_path, listed, tmp_path), slurm.Options())
    task = number - 1
    status, out, err = bash(script, SLURM_ARRAY_TASK_ID=str(task))
    assert (status, err) == (0, '')
    assert out.split('\0')[:-1] == [
        str(tmp_path / 'bin of mine' / 'resnet-dyn'),
        'train',
        f"--workdir={tmp_path}/a b'{task}",
        *words,
    ]


@pytest.mark.parametrize(
    ('status', 'state', 'restarts', 'requeued'),
    [
        (0, 'RUNNING', 0, False),
        (1, 'RUNNING', 0, False),
        (42, 'RUNNING', 0, True),
        (42, 'RUNNING', 2, False),
        (42, 'COMPLETING', 0, False),  # it was cancelled
    ],
)
def test_what_was_stopped_and_nothing_else_is_requeued(
    status, state, restarts, requeued, tools, tmp_path, bash
):
    tools('srun', f'exit {status}')
    tools('squeue', f'echo {state}')
    tools('scontrol', 'echo "scontrol $*"')
    command = jobs.Command('train', tmp_path)
    job = jobs.Job('n', tmp_path, (command,), tmp_path, max_restarts=2)
    for again, expected in ((slurm.REQUEUE, requeued), (slurm.NEVER, False)):
        script = slurm.script(job, slurm.Options(again=again))
        found, out, err = bash(script, SLURM_JOB_ID='7', SLURM_RESTART_COUNT=str(restarts))
        assert (found, err) == (status, '')
        assert ('scontrol requeue 7' in out) == expected


@pytest.mark.parametrize('last', [0, 3, 1])
def test_from_outside_what_was_stopped_is_submitted_again(
    last, called, unchecked, tools, tmp_path, monkeypatch
):
    tools(
        'sbatch',
        f'cd {tmp_path}; echo x >> starts; [ $(wc -l < starts) = 3 ] || exit 42; exit {last}',
    )
    monkeypatch.setattr(places, '_PAUSE', 0.05)
    words = ('--on=slurm', '--again=outside', f'--workdir={tmp_path}/W', '--', 'launch.train')
    status, out, err = called('submit', *words)
    assert (status, err) == (last, '') and 'start 2 was stopped' in out
    assert (tmp_path / 'starts').read_text() == 'x\n' * 3
    (tmp_path / 'starts').unlink()
    status, out, _ = called('submit', '--max_restarts=1', *words)
    assert status == 42 and 'it was 1 times already' in out


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        ((), ('there is no command', 'after --')),
        (('--', 'launch.tran'), ("'launch.tran'", "seeds=8; did you mean 'train'?", 'analyze')),
        (('--', 'launch.submit'), ("'launch.submit'", 'none of')),
        (('--', 'launch.train', '--workdir=/other'), ('--workdir=/other', f'{W}', 'leave it out')),
        (('--', 'launch.train', '--workdir', '/other'), ('--workdir=/other',)),
        (('--on=slurm', '--time=2 hours', '--', 'launch.train'), ("'2 hours'", '2:00:00')),
        (('--zone=a', '--', 'launch.train'), ('--zone', '--on=tpu', '--on=local')),
        (
            ('--on=sky', '--accelerators=T4', '--nodes=2', '--', 'launch.theorems'),
            ('theorems runs as one process', 'train and analyze'),
        ),
        (
            ('--on=slurm', '--gpus=4', '--tasks=2', '--', 'launch.train'),
            ('--tasks=2', '--gpus=4', '--tasks=4'),
        ),
        (('--on=slurm', '--sbatch=qos=long', '--', 'launch.train'), ("'qos=long'", 'hyphens')),
        (('--on=slurm', '--account=a\nb', '--', 'launch.train'), ('more than one line',)),
        (('--on=slurm', '--signal_before=1', '--', 'launch.train'), ('signal_before', '20')),
        (('--on=slurm', '--nodes=2', '--', 'launch.benchmark'), ('benchmark', 'as one process')),
        (('--on=slurm', '--tasks=2', '--', 'launch.figure'), ('figure', 'train and analyze')),
        (('--on=slurm', '--time=2', '--', 'launch.train'), ('120 seconds', '--signal_before=120')),
        (('--max_restarts=2', '--', 'launch.train'), ('leave it out', 'with --processes=N')),
        (('--on=cloud', '--', 'launch.train'), ('on', 'slurm', 'sky')),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_written(words, said, called, unchecked):
    status, out, err = called('submit', f'--workdir={W}', '--dry_run', *words)
    assert (status, out) == (1, '') and err.count('\n') == 1
    assert err.startswith('python -m launch.submit: ')
    assert all(text in err for text in said), err
    assert not W.parent.exists()


@pytest.mark.parametrize(
    'typed', [('train',), ('python', '-m', 'launch.train'), ('resnet-dyn', 'train')]
)
def test_the_command_may_be_given_as_it_is_typed(typed, called, unchecked):
    status, out, err = called('submit', '--dry_run', f'--workdir={W}', '--', *typed, '--x=1')
    assert (status, err) == (0, '')
    assert shlex.split(out) == [sys.executable, '-m', 'launch.train', f'--workdir={W}', '--x=1']


def test_the_workdir_may_be_said_twice_if_it_is_the_same(called, unchecked):
    words = ('--dry_run', f'--workdir={W}', '--', 'launch.train', '--workdir', str(W))
    status, out, err = called('submit', *words)
    assert (status, err) == (0, '')
    assert shlex.split(out) == [sys.executable, '-m', 'launch.train', f'--workdir={W}']


@pytest.mark.parametrize(
    ('place', 'tool'), [('slurm', 'sbatch'), ('tpu', 'gcloud'), ('sky', 'sky')]
)
def test_a_tool_that_is_missing_is_named_with_how_to_get_it(
    place, tool, called, unchecked, monkeypatch, tmp_path
):
    monkeypatch.setenv('PATH', '')
    flags = (f'--workdir={tmp_path}/W', f'--on={place}', *PLACES[place])
    status, _, err = called('submit', *flags, '--', 'launch.train')
    assert status == 1 and err.count('\n') == 1
    assert f'{tool} is not on the PATH' in err and '--dry_run' in err
    assert not (tmp_path / 'W').exists()


def test_here_it_is_the_command_itself_with_its_status(launched, tmp_path):
    words = ('--on=local', '--workdir=/dev/null/W', '--')
    status, out, err = launched('submit', *words, 'launch.train', '--config.model.dept=4')
    assert (status, out) == (1, '') and 'did you mean: config.model.depth' in err.lower()
    assert err.startswith('python -m launch.submit: the command cannot be submitted: ')
    status, _, err = launched('submit', *words, 'launch.benchmark', '--what=theory')
    assert status == 1 and err.startswith('python -m launch.benchmark: records cannot be written')


def test_a_sweep_on_slurm_is_given_the_flags_of_the_place(called, unchecked, monkeypatch):
    started = []

    def become(words):
        started.extend(words)
        sys.exit(0)

    monkeypatch.setattr(places, 'become', become)
    monkeypatch.setattr(commands, 'verbs', lambda: {'sweep': '', 'train': ''})
    given = ('--on=slurm', '--setup=a b', '--setup=c', '--time=5', '--dry_run')
    rest = ('--sweep=F', '--config.seeds=2')
    called('submit', *given, f'--workdir={W}', '--', 'launch.sweep', *rest)
    assert started[:4] == [sys.executable, '-m', 'launch.sweep', f'--workdir={W}']
    assert started[4:6] == list(rest) and sorted(started[6:]) == sorted(given)


@pytest.mark.parametrize(
    ('time', 'seconds'),
    [('2', 120), ('1:30', 90), ('1:2:3', 3723), ('2-3', 183_600), ('1-2:3', 93_780), ('0', 0)],
)
def test_times_of_slurm(time, seconds):
    assert slurm._seconds(time) == seconds
