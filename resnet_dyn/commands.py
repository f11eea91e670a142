"""Launchers as commands: `resnet-dyn train` where installed, `python -m launch.train` elsewhere.

Both run the same files with the same flags. They stand in the folder of the checkout, or, in an
installed package, within it, so that nobody's site-packages gets a module called `launch`. Who
names a launcher to a user, or starts one in a process of its own, asks here, and gets the form that
this process was started in.
"""

import ast
import difflib
import os
import pathlib
import re
import runpy
import sys
import textwrap
from collections.abc import Mapping, Sequence

NAME = 'resnet-dyn'

_INSTALLED = pathlib.Path(__file__).parent / '_commands'
_CHECKOUT = pathlib.Path(__file__).parent.parent
_ANY_FORM = re.compile(r'(?:python -m )?\blaunch\.(?=[a-z])')

_script: pathlib.Path | None = None  # the console script that this process was started by


def main(argv: Sequence[str] | None = None) -> None:
    """The console script: runs the launcher that its first word names, as `python -m` would."""
    global _script
    argv = list(sys.argv if argv is None else argv)
    _script = pathlib.Path(argv[0]).absolute()
    words, known = argv[1:], verbs()
    if not words or words[0] in ('--help', '-h', '-?', 'help'):
        print(_help(known))
    elif words[0] == '--version':
        print(_version())
    elif words[0] in known:
        sys.path.insert(0, str(folder()))
        sys.argv = [argv[0], *words[1:]]
        runpy.run_module(f'launch.{words[0]}', run_name='__main__', alter_sys=True)
    else:
        near = difflib.get_close_matches(words[0], known, 1)
        hint = f' (did you mean {near[0]}?)' if near else ''
        sys.exit(
            f'{NAME}: there is no command {words[0]!r}{hint}: it is one of {", ".join(known)}, and '
            f'its flags come after it, as in {NAME} train --workdir=runs/first'
        )


def said(verb: str) -> str:
    """How a user of this process starts the launcher of this name: 'python -m launch.train'."""
    return f'{NAME} {verb}' if _by_script() else f'python -m launch.{verb}'


def worded(text: str) -> str:
    """A text of ours that names launchers as the checkout does, with the form of this process."""
    return _ANY_FORM.sub(f'{NAME} ', text) if _by_script() else text


def command(verb: str) -> list[str]:
    """The words that start the launcher of this name in a process of its own, from any folder.

    To be given the variables of `environment()` with those that are there.
    """
    if _script is not None:
        return [str(_script), verb]
    if installed():
        return [sys.executable, '-m', 'resnet_dyn.commands', verb]
    return [sys.executable, '-m', f'launch.{verb}']


def environment(before: Mapping[str, str] | None = None) -> dict[str, str]:
    """Variables that `command` needs; `before` are those that are there, os.environ if not given.

    Empty for the console script. Of a checkout: PYTHONPATH with its folder in front.
    """
    if _by_script():
        return {}
    there = (os.environ if before is None else before).get('PYTHONPATH')
    others = [name for name in (there or '').split(os.pathsep) if name not in ('', str(folder()))]
    return {'PYTHONPATH': os.pathsep.join((str(folder()), *others))}


def folder() -> pathlib.Path:
    """The folder in which `launch` and `experiments` lie."""
    return _INSTALLED if installed() else _CHECKOUT


def installed() -> bool:
    """Whether this is the installed package, not a checkout."""
    return _INSTALLED.is_dir()


def verbs() -> dict[str, str]:
    """What each launcher does, its first line, by its name."""
    sources = {path.stem: path.read_text() for path in sorted((folder() / 'launch').glob('*.py'))}
    return {
        verb: (ast.get_docstring(ast.parse(source)) or '').partition('\n')[0]
        for verb, source in sources.items()
        if "\nif __name__ == '__main__':" in source
    }


def _by_script() -> bool:
    return _script is not None or installed()


def _help(known: Mapping[str, str]) -> str:
    width = max(map(len, known)) + 4
    lines = [
        textwrap.fill(
            what, 80, initial_indent=f'  {verb}'.ljust(width), subsequent_indent=' ' * width
        )
        for verb, what in known.items()
    ]
    return '\n'.join(
        (
            f'{NAME} COMMAND [flags]: how deep is a residual network while it trains?',
            '',
            *lines,
            '',
            f'{NAME} COMMAND --help lists the flags of a command. To begin:',
            '',
            f'  {NAME} train --workdir=runs/first',
            f'  {NAME} analyze --workdir=runs/first',
        )
    )


def _version() -> str:
    from resnet_dyn import commit

    return commit.version()


if __name__ == '__main__':
    main()
