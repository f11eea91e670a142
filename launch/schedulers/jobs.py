"""A job: commands of launchers and a workdir; and a plan: the files and the lines that run it.

Texts of shell are made of words by shlex alone, so that every value of a flag arrives as it is.
"""

import hashlib
import pathlib
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from resnet_dyn import commands as forms
from resnet_dyn import errors

LOGS = 'logs'  # the folder of a workdir with what was submitted and what it said
TOGETHER = ('train', 'analyze')  # commands that run as several processes


class Command(NamedTuple):
    """A launcher with its workdir and its further flags."""

    verb: str
    workdir: pathlib.Path  # absolute
    flags: tuple[str, ...] = ()

    def words(self) -> list[str]:
        """What starts it here, in the form that this process was started in."""
        return [*forms.command(self.verb), f'--workdir={self.workdir}', *self.flags]


class Job(NamedTuple):
    """What is to be run, wherever: one command, or an array of them that need not meet."""

    name: str
    workdir: pathlib.Path  # absolute; of the run, or of the sweep whose runs the commands are
    commands: tuple[Command, ...]
    folder: pathlib.Path  # that relative paths in the flags are relative to
    setup: tuple[str, ...] = ()  # lines of shell to be run before it
    max_restarts: int = 100
    at_once: int | None = None  # commands of an array that run at a time; None: all

    @property
    def logs(self) -> pathlib.Path:
        """The folder of what is submitted and of what it says."""
        return self.workdir / LOGS


class Plan(NamedTuple):
    """Files to write, then commands to run one after another; each is a list of words."""

    files: dict[pathlib.Path, str]
    commands: list[list[str]]

    def shell(self) -> str:
        """The same as a script: what a dry run shows."""
        folders = sorted({str(path.parent) for path in self.files})
        parts = [f'mkdir -p {shlex.join(folders)}'] if folders else []
        for path, text in self.files.items():
            parts.append(f"cat > {shlex.quote(str(path))} <<'END OF FILE'\n{text}END OF FILE")
        parts += [shlex.join(words) for words in self.commands]
        return '\n'.join(parts)


def name(text: str) -> str:
    """A name that every place takes, of any text: small letters, digits and single hyphens."""
    made = re.sub(r'[^a-z0-9]+', '-', text.lower()).strip('-')[:40].strip('-')
    if not made:
        return 'run'
    return made if made[0].isalpha() else f'run-{made}'


def name_of(workdir: pathlib.Path) -> str:
    """A name that no other workdir has, whose machines would be taken for those of this one."""
    return f'{name(workdir.name)[:31]}-{hashlib.sha256(str(workdir).encode()).hexdigest()[:8]}'


def check_together(command: Command) -> None:
    """ConfigError for a command that cannot run as several processes of one program."""
    if command.verb not in TOGETHER:
        raise errors.ConfigError(
            f'{command.verb} runs as one process, not as several or on several machines at once: '
            f'only {" and ".join(TOGETHER)} do'
        )


def one_line(what: str, value: str) -> str:
    """The value; ConfigError where it would end the line that it has to stand on."""
    if '\n' in value or '\r' in value:
        raise errors.ConfigError(f'{what} {value!r} has more than one line: give it on one')
    return value


def exports(variables: Mapping[str, str]) -> list[str]:
    """Lines that set variables of the environment."""
    return [f'export {name}={shlex.quote(value)}' for name, value in variables.items()]


def indented(lines: Sequence[str], by: int) -> str:
    """Lines, each with its end, moved to the right."""
    return ''.join(f'{" " * by}{line}\n' for line in lines)
