"""Launchers as a user starts them: in a process of their own, from the top of the checkout."""

import os
import pathlib
import subprocess
import sys

import pytest

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
