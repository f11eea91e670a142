"""What all launchers share: `--workdir`, `--help`, errors as paragraphs, signals, the exit status.

Exit status: 0 done; 42 stopped by a signal with everything saved that can be gone on with (start
me again); 3 done, but for networks that diverged; anything else failed. An error that its user can
mend (of a flag, or a `resnet_dyn.errors.UserError`) is one paragraph on stderr; any other error
keeps its traceback. What a launcher says is a view of its job (`views`): `| head` does not end it.
"""

import contextlib
import errno
import os
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from absl import flags

from launch import help as help_text
from launch import signals, views
from resnet_dyn import backend, commands, errors

DONE, FAILED, DIVERGED = signals.DONE, signals.FAILED, signals.DIVERGED
STOPPED = signals.STOPPED

Stop = signals.Signals  # stop() is true once a signal has come

_silent: list[bool] = []

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # a disk's state, wherever it was met

_WORKDIR = flags.DEFINE_string(
    'workdir', None, 'the folder of the run; the same command with the same folder resumes it'
)
_HELP = flags.DEFINE_boolean('help', False, 'show this help', short_name='?')


def run(
    job: Callable[..., int],
    argv: Sequence[str] | None = None,
    define: Callable[[], str] | None = None,
    words: bool = False,
) -> NoReturn:
    """Parses the flags, calls `job(stop)` and exits with the status that it returns.

    `stop()` is true once SIGTERM or SIGINT has come: the job then saves and returns STOPPED. A
    second signal ends the process at once. A job that may be ended wherever it is says so first, by
    `at_any_moment`. JAX must not have been imported yet: a job imports it when it runs,
    which keeps `--help` and flag errors quick. `define()` defines further flags, once those that
    are there have been read, and may refuse at once what these say; what it returns is shown in the
    help. With `words` the command takes more than flags, anywhere between them, and it is
    `job(stop, words)`.
    """
    argv, more = list(sys.argv if argv is None else argv), ''
    with views.guarded(), contextlib.closing(signals.Signals()) as stop:
        try:
            backend.configure_cpu()
            flags.FLAGS.set_gnu_getopt(words)
            if define is not None:
                _read(argv, known_only=True)
                more = define()
            rest = _parse(argv, more)
            if rest is None:
                sys.exit(DONE)
            if rest and not words:
                raise flags.Error(
                    f'{rest[0]!r} is no flag: values are given as --name=value (see '
                    f'{program(argv)} --help)'
                )
            stop.when_asked()
            sys.exit(job(stop, rest) if words else job(stop))
        except Exception as error:
            if not _for_the_user(error):
                raise
            text = ' '.join(str(error).splitlines())  # a name may hold a line's end
            print(f'{program(argv)}: {text}', file=sys.stderr)
            sys.exit(FAILED)


def at_any_moment(
    stop: Stop | Callable[[], bool], farewell: Callable[[], None] | None = None
) -> None:
    """The job may be ended wherever it is, but for what is `unsaved`, after a `farewell()`.

    For all jobs but such as wait for processes of their own.
    """
    if isinstance(stop, signals.Signals):
        stop.at_any_moment(farewell)


def when_asked(stop: Stop | Callable[[], bool]) -> None:
    """The job is ended by itself alone, which asks `stop()`."""
    if isinstance(stop, signals.Signals):
        stop.when_asked()


def leaves_at_once(stop: Stop, lost: str) -> contextlib.AbstractContextManager[None]:
    """Within, the first signal ends the process with STOPPED, after a line that says what is lost.

    For work that saves nothing before its end. What it found is written after the context, where a
    signal waits, so that no file is left half done.
    """
    return stop.leaves_at_once(lost)


def workdir() -> pathlib.Path:
    """The absolute path of `--workdir`, which a job that asks for it needs."""
    if not _WORKDIR.value:
        raise flags.ValidationError(
            '--workdir is not given: name the folder of the run, as in --workdir=runs/first'
        )
    if not _WORKDIR.value.strip():
        raise flags.ValidationError(
            f'--workdir={_WORKDIR.value!r} is blank: name the folder of the run'
        )
    return pathlib.Path(os.path.expanduser(_WORKDIR.value)).absolute()  # ./~ is a folder called ~


def check_folder(path: pathlib.Path) -> None:
    """RunError where there is no folder of this path, with the nearest that is there."""
    if not path.is_dir():
        above = next(parent for parent in path.parents if parent.is_dir())
        raise errors.RunError(
            f'there is no folder {path} (the nearest above it is {above}): give the folder that '
            f'{commands.said("train")} was given'
        )


def program(argv: Sequence[str] | None = None) -> str:
    """What this process was started as, for people: 'python -m launch.train'."""
    return commands.said(pathlib.Path((sys.argv if argv is None else argv)[0]).stem)


def say(line: str) -> None:
    """A line for people on stdout, there at once also where that is a file or a pipe."""
    if not _silent:
        print(line, flush=True)


def be_silent() -> None:
    """From here on this process has no lines for people: another one speaks for it."""
    _silent.append(True)


def _parse(argv: list[str], more: str = '') -> list[str] | None:
    """The words that are no flags; None where the help, `more` in it, is asked for and shown."""
    rest = _read(argv)
    if _HELP.value:
        doc = commands.worded(sys.modules['__main__'].__doc__ or '')
        print(help_text.text(doc, sys.argv[0], more))
        return None
    return rest[1:]


def _read(argv: list[str], known_only: bool = False) -> list[str]:
    try:
        return flags.FLAGS(argv, known_only)
    except (flags.Error, ValueError) as error:  # absl has bare ValueErrors too
        raise flags.Error(f'{error} (see {program(argv)} --help)') from error


def _for_the_user(error: Exception) -> bool:
    full = isinstance(error, OSError) and error.errno in _FULL
    return full or isinstance(error, flags.Error | errors.UserError)
