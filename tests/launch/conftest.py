"""Launchers as a user starts them, in a process of their own; or called within this one."""

import contextlib
import importlib
import io
import os
import pathlib
import signal
import subprocess
import sys

import pytest
import tiny
from absl.testing import flagsaver

import launch
from launch import flags as _  # noqa: F401  for good: what a call imports first it forgets
from launch import main, places, signals
from launch import meshes as ___  # noqa: F401  for good, too
from launch import processes as __  # noqa: F401  for good, too
from launch import published as ____  # noqa: F401  for good, too

TOP = pathlib.Path(__file__).parent.parent.parent
LENGTH = {'train.steps': 20, 'checkpoint.every': 5}
LEFT_OUT = {'log.record', 'log.tensorboard'}
SHORT = (
    *(f'--config.{p}={v}' for p, v in (tiny.VALUES | LENGTH).items() if p not in LEFT_OUT),
    '--config.log.tensorboard=false',
)


@pytest.fixture(scope='session', autouse=True)
def stays():
    """A launcher that is called within this process leaves by itself, however long that takes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(signals, '_end_if_saved', lambda words, farewell: None)
        yield


@pytest.fixture(scope='session')
def start():
    """start('train', '--workdir=W', ...): the running process, its output in pipes."""

    def start(launcher, *flags):
        return subprocess.Popen(
            [sys.executable, '-m', f'launch.{launcher}', *flags],
            cwd=TOP,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


@pytest.fixture(scope='session')
def launched(start):
    """launched('train', '--workdir=W', ...): (exit status, stdout, stderr) when it is done."""

    def launched(launcher, *flags):
        with start(launcher, *flags) as process:
            out, err = process.communicate()
        return process.returncode, out, err

    return launched


@pytest.fixture(scope='session')
def loaded():
    """`with loaded('train') as module`: forgotten afterwards with its flags, as others have some of
    the same names.
    """

    @contextlib.contextmanager
    def loaded(launcher):
        with flagsaver.flagsaver():
            yield importlib.import_module(f'launch.{launcher}')
        del sys.modules[f'launch.{launcher}']
        delattr(launch, launcher)

    return loaded


@pytest.fixture(scope='session')
def called(loaded):
    """called('train', '--workdir=W', ...): as `launched`, for the price of no new process."""

    def called(launcher, *flags):
        out, err = io.StringIO(), io.StringIO()
        handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        with (
            loaded(launcher) as module,
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            pytest.raises(SystemExit) as exit,
        ):
            job, define = getattr(module, launcher), getattr(module, 'define', None)
            main.run(
                job,
                [f'launch/{launcher}.py', *flags],
                define,
                words=launcher in ('report', 'submit'),
            )
        for number, handler in handlers.items():
            signal.signal(number, handler)
        return exit.value.code, out.getvalue(), err.getvalue()

    return called


@pytest.fixture(scope='session')
def short():
    """The flags of a short run: 2 networks of 3 blocks, checkpoints at 0, 5, .., 20."""
    return SHORT


@pytest.fixture(scope='session')
def finished(called, short, _share_programs, tmp_path_factory):
    """The workdir of that run when it is done; to be copied before anything is done to it."""
    workdir = tmp_path_factory.mktemp('finished') / 'run'
    with _share_programs():
        status, out, err = called('train', f'--workdir={workdir}', *short)
    assert (status, err) == (0, '') and 'test accuracy' in out.splitlines()[-1]
    return workdir


@pytest.fixture(scope='session')
def published(tmp_path_factory):
    """published('gpt2', name=None, scale=1.0): the folder of a tiny network of that layout.

    Its weights are drawn, times the scale, and its tokenizer has letters for tokens.
    """
    sys.path.append(str(TOP / 'tests' / 'pretrained'))
    import golden_folders
    import safetensors.numpy
    import tokenizers
    from tokenizers import models

    made = tmp_path_factory.mktemp('published')

    def published(layout, name=None, scale=1.0):
        path = made / (name or layout)
        if path.exists():
            return path
        golden_folders.build(layout, path)
        letters = {chr(97 + i) if i < 26 else f'<{i}>': i for i in range(61)}
        tokenizers.Tokenizer(models.BPE(letters, [])).save(str(path / 'tokenizer.json'))
        if scale != 1:
            file = path / 'model.safetensors'
            arrays = safetensors.numpy.load_file(file)
            safetensors.numpy.save_file({k: scale * a for k, a in arrays.items()}, file)
        return path

    return published


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


@pytest.fixture(scope='session')
def bash():
    """bash(text, *words, **environment): (exit status, stdout, stderr) of a script."""

    def bash(text, *words, **env):
        done = subprocess.run(
            ['bash', '-c', text, *words],
            env={**os.environ, **env},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    return bash
