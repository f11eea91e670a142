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
from absl.testing import flagsaver

from launch import main

TOP = pathlib.Path(__file__).parent.parent.parent
ENVIRONMENT = {
    **os.environ,
    'JAX_PLATFORMS': 'cpu',
    'JAX_COMPILATION_CACHE_DIR': str(TOP / '.jax_cache'),
    'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
    'JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES': '0',
}


@pytest.fixture(scope='session')
def start():
    """start('train', '--workdir=W', ...): the running process, its output in pipes."""

    def start(launcher, *flags):
        return subprocess.Popen(
            [sys.executable, '-m', f'launch.{launcher}', *flags],
            cwd=TOP,
            env=ENVIRONMENT,
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
def called():
    """called('train', '--workdir=W', ...): as `launched`, for the price of no new process."""

    def called(launcher, *flags):
        job = getattr(importlib.import_module(f'launch.{launcher}'), launcher)
        out, err = io.StringIO(), io.StringIO()
        handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        with (
            flagsaver.flagsaver(),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            pytest.raises(SystemExit) as exit,
        ):
            main.run(job, [f'launch/{launcher}.py', *flags])
        for number, handler in handlers.items():
            signal.signal(number, handler)
        return exit.value.code, out.getvalue(), err.getvalue()

    return called
