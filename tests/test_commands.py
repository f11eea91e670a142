"""Launchers as commands: the package that is built, the console script, the form that is named."""

import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig
import venv

import pytest

from resnet_dyn import commands, commit

TOP = pathlib.Path(__file__).parent.parent
SOURCES = ('resnet_dyn', 'launch', 'experiments')
FILES = ('pyproject.toml', 'README.md', 'LICENSE')
BUILD = 'import setuptools; setuptools.setup()'
SCRIPT = 'import sys; from resnet_dyn import commands; commands.main(sys.argv[1:])'


def _call(*words, cwd, **env):
    done = subprocess.run(
        words, cwd=cwd, env={**os.environ, **env}, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, done.stderr


def _git(checkout, *words):
    who = ('-c', 'user.name=a', '-c', 'user.email=a@b')
    subprocess.run(['git', *who, *words], cwd=checkout, check=True, capture_output=True)


def _copy(checkout):
    """The sources of the package as a git checkout of one commit."""
    for name in SOURCES:
        ignored = shutil.ignore_patterns('__pycache__')
        shutil.copytree(TOP / name, checkout / name, ignore=ignored)
    for name in FILES:
        shutil.copy(TOP / name, checkout)
    (checkout / '.gitignore').write_text('build/\n*.egg-info/\n')
    _git(checkout, 'init', '-q')
    _git(checkout, 'add', '.')
    _git(checkout, 'commit', '-qm', 'all')
    return checkout


def _build(checkout):
    status, _, err = _call(sys.executable, '-c', BUILD, '-q', 'build', cwd=checkout)
    assert status == 0, err
    return checkout / 'build' / 'lib'


def _script(package, *words, cwd):
    """What the console script of a built package answers to these words."""
    command = (sys.executable, '-c', SCRIPT, '/bin/resnet-dyn', *words)
    return _call(*command, cwd=cwd, PYTHONPATH=str(package))


@pytest.fixture(scope='module')
def checkout(tmp_path_factory):
    return _copy(tmp_path_factory.mktemp('checkout') / 'sources')


@pytest.fixture(scope='module')
def package(checkout):
    """The folder with the package as it is built for others."""
    return _build(checkout)


def test_the_package_has_launchers_and_data_within_it_and_nothing_beside_it(package):
    assert [path.name for path in package.iterdir()] == ['resnet_dyn']
    there = {str(path.relative_to(package / 'resnet_dyn')) for path in package.rglob('*.*')}
    inside = {str(path.relative_to(TOP / 'resnet_dyn')) for path in _sources('resnet_dyn')}
    inside |= {
        str(pathlib.Path('_commands', path.relative_to(TOP)))
        for name in ('launch', 'experiments')
        for path in _sources(name)
    }
    assert there == inside | {'commit.txt'}
    assert {'py.typed', '_commands/launch/train.py'} <= there


def _sources(name):
    paths = (TOP / name).rglob('*.*')
    return [path for path in paths if '__pycache__' not in path.parts]


def test_the_package_knows_the_commit_it_was_built_from(checkout, package, tmp_path):
    head = commit.of_checkout(checkout)
    assert len(head) == 40 and (package / 'resnet_dyn' / commit.FILE).read_text() == f'{head}\n'
    said = _script(package, '--version', cwd=tmp_path)
    assert said[0] == 0 and said[1].endswith(f', commit {head}\n')
    edited = shutil.copytree(checkout, tmp_path / 'edited')  # with what was built there
    stale = edited / 'build' / 'lib' / 'resnet_dyn' / '_commands' / 'launch' / 'numbers.py'
    assert stale.exists()
    (edited / 'launch' / 'numbers.py').unlink()
    built = _build(edited)
    assert (built / 'resnet_dyn' / commit.FILE).read_text().endswith('-dirty\n')
    assert not stale.exists()


def test_where_no_commit_is_known_none_is_said(tmp_path):
    assert commit.of_checkout(tmp_path) is None
    (tmp_path / '.git').write_text('no repository')
    assert commit.of_checkout(tmp_path) is None


def test_the_script_alone_lists_every_command_and_says_how_to_begin(package, tmp_path):
    for words in ((), ('--help',)):
        status, out, err = _script(package, *words, cwd=tmp_path)
        assert (status, err) == (0, '')
        for verb in ('train', 'analyze', 'report', 'figure', 'dynamics', 'theorems', 'benchmark'):
            assert f'\n  {verb} ' in out
        assert 'resnet-dyn train --workdir=' in out and '\n  main ' not in out
        assert max(map(len, out.splitlines())) <= 80


def test_an_unknown_command_is_refused_with_the_nearest(package, tmp_path):
    status, out, err = _script(package, 'trian', '--workdir=W', cwd=tmp_path)
    assert (status, out) == (1, '') and err.count('\n') == 1
    assert "'trian'" in err and 'did you mean train?' in err and 'analyze' in err


def test_errors_and_help_of_the_script_name_it(package, tmp_path):
    status, out, err = _script(package, 'train', '--config.model.dept=3', cwd=tmp_path)
    assert (status, out) == (1, '') and err.startswith('resnet-dyn train: ')
    assert 'resnet-dyn train --help' in err and 'launch' not in err
    status, out, err = _script(package, 'figure', '--help', cwd=tmp_path)
    assert (status, err) == (0, '') and 'resnet-dyn figure --name=' in out
    assert 'launch.' not in out
    status, _, err = _script(package, 'analyze', '--workdir=missing', cwd=tmp_path)
    assert status == 1 and 'that resnet-dyn train was given' in err
    status, _, err = _script(package, 'numbers', '--workdir=W', cwd=tmp_path)
    assert status == 1 and 'lies in a checkout' in err


def test_a_process_of_the_checkout_names_and_starts_launchers_by_module(tmp_path):
    assert commands.said('train') == 'python -m launch.train'
    assert commands.worded('as launch.train does') == 'as launch.train does'
    assert commands.command('train') == [sys.executable, '-m', 'launch.train']
    assert not commands.installed() and commands.folder() == TOP
    assert commands.environment({'PYTHONPATH': '/a'}) == {'PYTHONPATH': f'{TOP}{os.pathsep}/a'}
    there = os.pathsep.join(('/a', str(TOP)))
    assert commands.environment({'PYTHONPATH': there})['PYTHONPATH'] == f'{TOP}{os.pathsep}/a'
    words = (*commands.command('theorems'), '--help')
    status, out, err = _call(*words, cwd=tmp_path, **commands.environment())
    assert (status, err) == (0, '') and 'python -m launch.theorems' in out


def test_a_process_of_the_script_names_and_starts_launchers_by_it(monkeypatch, tmp_path):
    monkeypatch.setattr(commands, '_script', tmp_path / 'resnet-dyn')
    assert commands.said('train') == 'resnet-dyn train'
    assert commands.worded('    python -m launch.train or launch.report') == (
        '    resnet-dyn train or resnet-dyn report'
    )
    assert commands.command('train') == [str(tmp_path / 'resnet-dyn'), 'train']
    assert commands.environment() == {}


@pytest.mark.slow
def test_pip_install_brings_the_command_and_records_know_version_and_commit(checkout, tmp_path):
    venv.create(tmp_path / 'venv', with_pip=True)
    bin, site = (
        pathlib.Path(sysconfig.get_path(name, 'venv', _scheme(tmp_path / 'venv')))
        for name in ('scripts', 'purelib')
    )
    (site / 'dependencies.pth').write_text(sysconfig.get_path('purelib') + '\n')  # and not ours
    pip = (bin / 'python', '-m', 'pip', '-q', '--disable-pip-version-check', 'install')
    status, _, err = _call(*pip, '--no-deps', str(checkout), cwd=tmp_path)
    assert status == 0, err
    tops = {path.name for path in site.iterdir()}
    assert not tops & {'launch', 'experiments'}
    script, run = bin / 'resnet-dyn', tmp_path / 'run'
    flags = ('--config.data.train_size=64', '--config.train.steps=2', '--config.model.depth=4')
    flags += ('--config.data.test_size=64', '--config.data.dimension=4', '--config.data.classes=3')
    flags += ('--config.train.batch_size=16', '--config.log.tensorboard=false')
    status, _, err = _call(script, 'train', '--workdir=run', *flags, cwd=tmp_path)
    assert (status, err) == (0, '')
    status, _, err = _call(script, 'analyze', '--workdir=run', '--what=gammas', cwd=tmp_path)
    assert (status, err) == (0, '')
    read = (
        'import sys; from resnet_dyn import records; '
        'print(records.load(sys.argv[1])[1]["code"], records.__file__)'
    )
    record = next((run / 'records').glob('*.npz'))
    status, out, err = _call(bin / 'python', '-c', read, record, cwd=tmp_path)
    assert status == 0, err
    assert commit.of_checkout(checkout) in out and "'version': '" in out and str(site) in out


def _scheme(folder):
    return {'base': str(folder), 'platbase': str(folder)}
