"""launch.sweep: what it starts, says, writes and refuses; its processes are scripts here."""

import json
import os

import pytest

from resnet_dyn import commands, config, fields
from resnet_dyn.training import runs

TRAIN = """
workdir=${1#--workdir=}; shift
echo "$@" >> %(folder)s/starts
case " $* " in *" --config.log.every=%(bad)s "*) echo it cannot be; exit 1;; esac
mkdir -p $workdir; cp -r %(run)s/. $workdir
"""


@pytest.fixture
def base(tiny_run):
    """The flags of the config of the run that the scripts leave."""
    values = dict(fields.flatten(config.to_dict(runs.read_config(tiny_run))))
    values.pop('log.every')
    return [f'--config.{path}={value}' for path, value in values.items() if value is not None]


@pytest.fixture
def swept(called, base, tiny_run, tmp_path, monkeypatch):
    """swept(flags): a sweep of three runs, one of which fails: (status, stdout, stderr)."""
    (tmp_path / 'sweep.toml').write_text('[grid]\n"config.log.every" = [1, 2, 3]\n')
    monkeypatch.setenv('JAX_PLATFORMS', 'cpu')
    for name in ('JAX_COMPILATION_CACHE_DIR', 'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS'):
        monkeypatch.setenv(name, os.environ[name])

    def swept(*flags, bad='2'):
        script = tmp_path / 'train.sh'
        script.write_text(TRAIN % {'folder': tmp_path, 'run': tiny_run, 'bad': bad})
        monkeypatch.setattr(commands, 'command', lambda verb: ['sh', str(script)])
        files = (f'--workdir={tmp_path / "W"}', f'--sweep={tmp_path / "sweep.toml"}')
        return called('sweep', *files, *base, *flags)

    return swept


def starts(folder):
    return (folder / 'starts').read_text().splitlines()


def test_a_sweep_trains_what_is_not_done_and_writes_its_table(swept, tmp_path):
    status, out, err = swept('--jobs=2')
    assert (status, err) == (1, '') and len(starts(tmp_path)) == 3
    assert out.splitlines()[-1] == '2 of 3 runs are done, 1 failed (--retry tries them again)'
    assert 'every=1-' in out and ': done; step 6/6, loss ' in out
    (failed,) = (line for line in out.splitlines() if ' failed (exit status 1); the end of' in line)
    assert '\n    it cannot be\n' in out and failed.startswith('log.every=2-')
    table = [json.loads(line) for line in (tmp_path / 'W' / 'table.jsonl').read_text().splitlines()]
    assert [row['state'] for row in table] == ['done', 'failed', 'done']
    assert (tmp_path / 'W' / 'table.csv').read_text().startswith('run,state,why,config.seed,')
    status, out, _ = swept()
    assert status == 1 and len(starts(tmp_path)) == 3 and 'it cannot be' in out
    status, out, _ = swept('--retry', bad='none')
    assert status == 0 and len(starts(tmp_path)) == 4
    assert all(line.startswith('--processes=1 --config.') for line in starts(tmp_path))
    assert out.splitlines()[-1] == '3 of 3 runs are done'


def test_a_dry_run_lists_the_folders_and_starts_none(swept, tmp_path):
    status, out, err = swept('--dry_run')
    assert (status, err) == (0, '') and not (tmp_path / 'W').exists()
    names, words = out.splitlines()[::2], out.splitlines()[1::2]
    assert all(f'{name} --processes=1' in line for name, line in zip(names, words, strict=True))
    assert '--config.log.every=2' in words[1]
    assert [name.partition('-')[0] for name in names] == [f'log.every={n}' for n in (1, 2, 3)]
    swept()
    assert {path.name for path in (tmp_path / 'W').glob('log.*')} == {names[0], names[2]}


def test_what_cannot_be_is_refused_before_any_run_starts(swept, tiny_run, tmp_path):
    file = tmp_path / 'sweep.toml'
    for text, said in (
        ('"config.model.norm" = ["batch", "bach"]', "did you mean 'batch'?"),
        ('"config.model.depht" = [4]', "did you mean 'config.model.depth'?"),
        ('"config.model.depth" = [4, 1]', 'out of range'),
        ('"config.train.batch_size" = [16, 65]', 'the run of config.train.batch_size=65'),
    ):
        file.write_text(f'[grid]\n{text}\n')
        status, out, err = swept()
        assert (status, out) == (1, '') and said in err and err.count('\n') == 1
    file.write_text('[grid]\n"config.log.every" = [1]\n')
    for flag, said in (
        ('--sweep=', '--sweep is not given'),
        ('--jobs=0', 'jobs'),
        (f'--workdir={file}', 'cannot be used'),
        (f'--workdir={tiny_run}', 'is the workdir of one run'),
    ):
        status, out, err = swept(flag)
        assert status == 1 and said in err and err.count('\n') == 1
    assert not (tmp_path / 'starts').exists()


def test_on_slurm_the_runs_that_are_left_are_an_array(swept, tmp_path):
    swept()
    status, out, err = swept('--on=slurm', '--dry_run', '--jobs=2', '--time=5', '--retry')
    assert (status, err) == (0, '') and '--time=5\n' in out and '--array' not in out
    assert f'--workdir={tmp_path / "W" / "log.every=2-"}' in out
    assert '--config.log.every=2' in out and '--config.seeds=2' in out
    (done,) = (tmp_path / 'W').glob('log.every=1-*')
    done.rename(tmp_path / 'away')
    status, out, _ = swept('--on=slurm', '--dry_run', '--jobs=2', '--retry')
    assert status == 0 and '--array=0-1%2\n' in out and out.count('--config.log.every=') == 2
    (tmp_path / 'away').rename(done)
    swept('--retry', bad='none')
    assert 'no run is left to submit' in swept('--on=slurm', '--dry_run')[1]


def test_elsewhere_the_sweep_runs_as_a_whole_and_finds_its_file(swept, tmp_path):
    flags = (
        '--on=sky',
        '--name=big',
        '--accelerators=A100:8',
        '--code=resnet_dyn',
        '--dry_run',
        '--jobs=8',
    )
    status, out, err = swept(*flags)
    assert (status, err) == (0, '') and not (tmp_path / 'W').exists()
    assert ' sweep --workdir=resnet_dyn_runs/big --sweep=sweep.toml --jobs=8 --config.seed' in out
    (tmp_path / 'W').mkdir()
    (tmp_path / 'sweep.toml').rename(tmp_path / 'W' / 'there.toml')
    status, out, _ = swept('--sweep=there.toml', '--dry_run')
    assert status == 0 and len(out.splitlines()) == 6


def test_a_flag_that_the_file_varies_is_said_to_be_of_the_file(swept):
    assert 'config.log.every is of the file' in swept('--dry_run', '--config.log.every=9')[1]


def test_a_signal_is_passed_on_and_the_same_command_goes_on(swept, loaded, base, tmp_path):
    swept('--dry_run')
    script, logs = tmp_path / 'train.sh', tmp_path / 'W' / 'logs'
    script.write_text('trap "echo saved; exit 42" TERM; echo begun; while :; do sleep 0.02; done')

    def stop():
        return any('begun' in log.read_text() for log in logs.iterdir())

    with loaded('sweep') as sweep:
        files = (f'--workdir={tmp_path / "W"}', f'--sweep={tmp_path / "sweep.toml"}')
        sweep.flags.FLAGS(['sweep', *files, *base])
        assert sweep.sweep(stop) == 42
    assert [log.read_text().count('saved') for log in logs.iterdir()] == [1]
    status, _, _ = swept(bad='none')
    assert status == 0 and len(starts(tmp_path)) == 3
