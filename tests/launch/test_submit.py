"""launch.submit: what it would run, to the letter; what it refuses; what its scripts do."""

import os
import pathlib
import shlex
import subprocess
import sys

import pytest

from launch import places
from launch.schedulers import away, jobs, sky, slurm
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


@pytest.fixture
def unchecked(monkeypatch):
    """The flags of the command are not read in a process of its own."""
    monkeypatch.setattr(places, 'check', lambda command: None)


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """tools(name, text): a program of this name, first on the PATH."""
    folder = tmp_path / 'bin'
    folder.mkdir()
    monkeypatch.setenv('PATH', f'{folder}{os.pathsep}{os.environ["PATH"]}')

    def make(name, text):
        (folder / name).write_text(f'#!/usr/bin/env bash\n{text}')
        (folder / name).chmod(0o755)

    return make


def _assert_golden(name, text):
    found = text.replace(sys.executable, 'PYTHON').replace(str(TOP), '/checkout')
    file = GOLDEN / f'{name}.txt'
    if os.environ.get('REWRITE_GOLDEN'):
        file.write_text(found)
    assert found == file.read_text()


def _bash(text, *words, **env):
    done = subprocess.run(
        ['bash', '-c', text, *words],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


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
def test_every_word_arrives_as_it_is(number, tools, tmp_path, monkeypatch):
    monkeypatch.setattr(commands, '_script', tmp_path / 'bin of mine' / 'resnet-dyn')
    tools('srun', 'shift; printf "%s\\0" "$@"')
    words = tuple(f'--flag={value}' for value in NASTY)
    listed = tuple(jobs.Command('train', tmp_path / f"a b'{n}", words) for n in range(number))
    script = slurm.script(jobs.Job('n', tmp_path, listed, tmp_path), slurm.Options())
    task = number - 1
    status, out, err = _bash(script, SLURM_ARRAY_TASK_ID=str(task))
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
    status, state, restarts, requeued, tools, tmp_path
):
    tools('srun', f'exit {status}')
    tools('squeue', f'echo {state}')
    tools('scontrol', 'echo "scontrol $*"')
    command = jobs.Command('train', tmp_path)
    job = jobs.Job('n', tmp_path, (command,), tmp_path, max_restarts=2)
    for again, expected in ((slurm.REQUEUE, requeued), (slurm.NEVER, False)):
        script = slurm.script(job, slurm.Options(again=again))
        found, out, err = _bash(script, SLURM_JOB_ID='7', SLURM_RESTART_COUNT=str(restarts))
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


MACHINES = """
echo "$*" >> "$LOG"
far=$FAR/home
case "$*" in
  *describe*) if [ -d $far ]; then echo ACTIVE; else echo NOT_FOUND >&2; exit 1; fi ;;
  *create*) mkdir -p $far ;;
  *delete*) rm -rf $far ;;
  *scp*) cp "$5" "$far/${6#*:}" ;;
  *ssh*)
    [ -d $far ] || exit 255
    case "$*" in *-cf*) cut=$(cat "$CUT") ;; *) cut=0 ;; esac
    if [ $cut -gt 0 ]; then echo $((cut - 1)) > "$CUT"; echo part; exit 255; fi
    for word in "$@"; do case $word in --command=*) command=${word#--command=} ;; esac; done
    cd $far && HOME=$far bash -c "$command" ;;
esac
"""
THERE = """
mkdir -p $HOME/.resnet_dyn/bin
cat > $HOME/.resnet_dyn/bin/resnet-dyn <<'END'
#!/usr/bin/env bash
echo "$@" >> "$LOG"
W=resnet_dyn_runs/first
echo step >> $W/steps
case $(grep -c "^train" "$LOG") in
  1) exit 42 ;;
  2) rm -rf $HOME; exit 42 ;;
  3) exit 3 ;;
esac
END
chmod +x $HOME/.resnet_dyn/bin/resnet-dyn
"""


def test_machines_are_asked_for_used_and_given_back_and_the_run_goes_on_where_they_vanish(
    called, unchecked, tools, tmp_path, monkeypatch
):
    monkeypatch.setattr(away, 'PAUSE', 0)
    tools('gcloud', MACHINES)
    tools('python3', THERE)  # installs the package there
    monkeypatch.setenv('FAR', str(tmp_path / 'far'))
    monkeypatch.setenv('LOG', str(tmp_path / 'log'))
    monkeypatch.setenv('CUT', str(tmp_path / 'cut'))
    (tmp_path / 'cut').write_text('1')
    flags = ('--on=tpu', '--accelerator_type=v6e-8', '--zone=z', '--code=resnet_dyn[tpu]')
    flags += (f'--workdir={tmp_path}/W', '--name=first')
    status, out, _ = called('submit', *flags, '--dry_run', '--', 'launch.train', '--config.seeds=2')
    assert status == 0
    status, out, err = _bash(out)  # what a dry run prints is what runs
    assert status == 3, err
    log = (tmp_path / 'log').read_text()
    assert log.count('queued-resources create first') == 2
    assert log.count('queued-resources delete first --force') == 2
    assert log.count('train --workdir=resnet_dyn_runs/first --config.seeds=2') == 3
    assert 'machines are gone' in out
    assert (tmp_path / 'W' / 'steps').read_text() == 'step\n' * 2  # the second was lost
    assert not (tmp_path / 'far' / 'home').exists()
    assert {path.name for path in (tmp_path / 'W').iterdir()} == {'logs', 'steps'}


ONCE = """
mkdir -p $HOME/.resnet_dyn/bin
printf '#!/bin/sh\\necho "$@" >> "$LOG"; echo all > resnet_dyn_runs/first/steps; %s\\n' "$END" \\
  > $HOME/.resnet_dyn/bin/resnet-dyn
chmod +x $HOME/.resnet_dyn/bin/resnet-dyn
"""


@pytest.mark.parametrize(
    ('cuts', 'end', 'kept'),
    [
        (2, 'exit 0', None),
        (9, 'exit 0', 'could not be fetched'),
        (0, 'kill -9 $(ps -o ppid= -p $PPID) $PPID', 'the connection ended'),
    ],
)
def test_machines_that_are_there_are_not_given_back_before_all_is_fetched(
    cuts, end, kept, called, unchecked, tools, tmp_path, monkeypatch
):
    tools('gcloud', MACHINES)
    tools('python3', ONCE)
    monkeypatch.setattr(away, 'PAUSE', 0)
    monkeypatch.setattr(away, 'TRIES', 4)
    for name, value in (('FAR', 'far'), ('LOG', 'log'), ('CUT', 'cut')):
        monkeypatch.setenv(name, str(tmp_path / value))
    monkeypatch.setenv('END', end)
    (tmp_path / 'W').mkdir()
    (tmp_path / 'W' / 'steps').write_text('some')
    (tmp_path / 'cut').write_text('0')
    words = ('--on=tpu', '--zone=z', '--code=x', f'--workdir={tmp_path}/W', '--name=first')
    _, out, _ = called('submit', *words, '--dry_run', '--', 'launch.train')
    out = out.replace('run &\n', 'run; echo $CUTS > "$CUT" &\n')
    status, out, err = _bash(out, CUTS=str(cuts))
    there = (tmp_path / 'far' / 'home').exists()
    names = {path.name for path in (tmp_path / 'W').iterdir()}
    assert names == {'logs', 'steps'}
    if not kept:
        assert (status, there) == (0, False), out + err
        assert (tmp_path / 'W' / 'steps').read_text() == 'all\n'
        return
    assert (status, there) == (1, True) and kept in out, out + err
    assert 'queued-resources delete first --force --zone=z' in out and 'tar -C' in out
    if cuts:
        assert (tmp_path / 'W' / 'steps').read_text() == 'some'
        (tmp_path / 'cut').write_text('0')
        status, _, err = _bash(f'bash {tmp_path}/W/logs/here.sh', CUTS='0')
        assert status == 0 and (tmp_path / 'W' / 'steps').read_text() == 'all\n', err


def test_workdirs_of_one_name_have_machines_of_their_own(called, unchecked):
    names = set()
    for workdir in ('/exp1/seed0', '/exp2/seed0'):
        words = ('--dry_run', f'--workdir={workdir}', '--code=x', '--', 'launch.train')
        for place in ('tpu', 'sky'):
            _, out, _ = called('submit', f'--on={place}', *words)
            (name,) = {line for line in out.splitlines() if line.startswith('name=')}
            names.add(name)
            assert f'home=resnet_dyn_runs/{name[5:]}\n' in out
    assert len(names) == 2 and all(name.startswith('name=seed0-') for name in names)


@pytest.mark.parametrize(
    ('said', 'gone'),
    [
        ('Clusters\nNAME INFRA STATUS\nfirst gcp UP', False),
        ('Clusters\nNAME INFRA STATUS\nfirst gcp INIT', True),
        ("Cluster 'first' not found", True),
        ('Failed to refresh status for 1 cluster', False),
    ],
)
def test_skypilot_says_whether_machines_are_gone(said, gone, tools):
    tools('sky', f'cat <<"END"\n{said}\nEND\n')
    text = f'name=first\ngone() {{\n{sky._FUNCTIONS["gone"]}}}\ngone'
    assert _bash(text)[0] == (0 if gone else 1)
    assert _bash(text, PATH='/nowhere:/usr/bin:/bin')[0] == 1  # no sky, no word


@pytest.mark.parametrize(
    ('time', 'seconds'),
    [('2', 120), ('1:30', 90), ('1:2:3', 3723), ('2-3', 183_600), ('1-2:3', 93_780), ('0', 0)],
)
def test_times_of_slurm(time, seconds):
    assert slurm._seconds(time) == seconds
