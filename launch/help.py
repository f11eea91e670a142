"""The text of `--help`: a launcher's docstring and its flags, within the columns of the terminal.

Docstrings are written for the width of the code. Paragraphs are filled anew, commands are cut
between words with a backslash, so that what is copied runs; other indented lines stay, and hang
where they are too long. A word longer than the line stays whole.
"""

import itertools
import textwrap
from collections.abc import Iterator

from absl import flags

_COMMANDS = ('python ', 'resnet-dyn ', 'make ', 'pip ')


def text(doc: str, module: str, more: str = '') -> str:
    """The whole help: the docstring, `more` as it is, the key flags of a module."""
    listed = flags.FLAGS.module_help(module).strip().splitlines()[1:]  # less the module's path
    return '\n'.join((filled(doc.strip(), flags.get_help_width()), more, 'Flags:', *listed))


def filled(doc: str, width: int) -> str:
    """A docstring within `width` columns."""
    lines = doc.expandtabs(4).replace('\\\n', '\\\0').splitlines()
    return '\n'.join(
        line
        for kind, group in itertools.groupby(lines, _kind)
        for line in _KINDS[kind](list(group), width)
    )


def _kind(line: str) -> str:
    if not line.strip():
        return 'blank'
    if line.strip().startswith(_COMMANDS):
        return 'command'
    return 'indented' if line[0] == ' ' else 'paragraph'


def _paragraph(lines: list[str], width: int) -> list[str]:
    return _wrapped(' '.join(lines), width, '', '')


def _indented(lines: list[str], width: int) -> Iterator[str]:
    for line in lines:
        indent = line[: len(line) - len(line.lstrip())]
        yield from [line] if len(line) <= width else _wrapped(line.strip(), width, indent, indent)


def _command(lines: list[str], width: int) -> Iterator[str]:
    for line in lines:
        *whole, last = _wrapped(line.replace('\\\0', ' '), width - 2, ' ' * 4, ' ' * 8)
        yield from (f'{part} \\' for part in whole)
        yield last


def _wrapped(line: str, width: int, first: str, others: str) -> list[str]:
    return textwrap.wrap(
        ' '.join(line.split()),
        width,
        initial_indent=first,
        subsequent_indent=others,
        break_long_words=False,
        break_on_hyphens=False,
    )


_KINDS = {
    'blank': lambda lines, width: lines,
    'command': _command,
    'indented': _indented,
    'paragraph': _paragraph,
}
