"""`--help` of every launcher fits 80 columns, and every command that it or the README shows is one.

No command is run here: each is parsed by the flags of its launcher, as it is printed.
"""

import contextlib
import importlib
import pathlib
import re
import shlex
import sys

import pytest
from absl import flags

import launch
from launch import help as help_text

TOP = pathlib.Path(__file__).parent.parent.parent
LAUNCHERS = sorted(
    path.stem
    for path in (TOP / 'launch').glob('*.py')
    if "if __name__ == '__main__'" in path.read_text()
)
README = (TOP / 'README.md').read_text()
WORDS = re.compile(r'[A-Z]+|\.\.|<.*>')  # what stands for something: RUN, <flags>


def commands(text):
    """The lines of blocks of shell, and what stands in backquotes and begins like a command."""
    blocks = re.findall(r'```(?:sh|shell|bash|console)\n(.*?)```', text, re.S)
    lines = [line for block in blocks for line in block.replace('\\\n', ' ').splitlines()]
    outside = re.sub(r'```.*?```', '', text, flags=re.S)
    lines += re.findall(r'`((?:python|resnet-dyn|make|pip) [^`]+)`', outside)
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def launched(words):
    """(launcher, its words) of a command; None where it starts no launcher."""
    for at, word in enumerate(words):
        if word.startswith('launch.') and words[at - 1] == '-m':
            return word.removeprefix('launch.'), words[at + 1 :]
        if word == 'resnet-dyn':
            return words[at + 1], words[at + 2 :]
    return None


COMMANDS = commands(README)
BY_LAUNCHER = [found for words in COMMANDS if (found := launched(words))]


@contextlib.contextmanager
def by_itself(launcher):
    """The module of a launcher, imported as in a process of its own: no other one's flags."""
    held = {name: sys.modules.pop(name) for name in list(sys.modules) if name[:7] == 'launch.'}
    state, attributes = dict(flags.FLAGS.__dict__), dict(vars(launch))
    vars(flags.FLAGS).update(vars(flags.FlagValues()))
    for name in held:
        vars(launch).pop(name.removeprefix('launch.'), None)
    try:
        yield importlib.import_module(f'launch.{launcher}')
    finally:
        for name in [name for name in sys.modules if name[:7] == 'launch.']:
            del sys.modules[name]
        sys.modules.update(held)
        vars(launch).clear()
        vars(launch).update(attributes)
        vars(flags.FLAGS).update(state)


@pytest.fixture
def ready():
    """ready(launcher, words): what is left of the words once the launcher's flags are read."""

    def ready(launcher, words, use=lambda module, more: None):
        with by_itself(launcher) as module:
            flags.FLAGS.set_gnu_getopt(True)
            flags.FLAGS([launcher, '--help'], known_only=True)
            more = module.define() if hasattr(module, 'define') else ''
            flags.FLAGS.unparse_flags()
            rest = flags.FLAGS([launcher, *words])[1:]
            if 'launch.flags' in sys.modules:
                sys.modules['launch.flags'].config()
            use(module, more)
        return rest

    return ready


@pytest.mark.parametrize('launcher', LAUNCHERS)
def test_help_fits_80_columns(launcher, ready, monkeypatch):
    monkeypatch.setenv('COLUMNS', '80')
    texts = []

    def keep(module, more):
        texts.append(help_text.text(module.__doc__, module.__name__, more))

    ready(launcher, [], keep)
    lines = texts[0].splitlines()
    assert [line for line in lines if len(line) > 80 and len(line.split()) > 1] == []
    assert '--[no]help: ' in texts[0] and f'launch.{launcher} ' in texts[0]
    assert str(TOP) not in texts[0]


@pytest.mark.parametrize('launcher', LAUNCHERS)
def test_the_commands_of_a_help_are_read_by_its_flags(launcher, ready):
    shown = []

    def keep(module, more):
        shown.extend(help_text.filled(module.__doc__, 10_000).splitlines())

    ready(launcher, [], keep)
    found = [launched(shlex.split(line)) for line in shown if 'python -m launch' in line]
    assert found
    for name, words in found:
        ready(name, words)


@pytest.mark.parametrize('launcher', sorted({name for name, _ in BY_LAUNCHER}))
def test_the_commands_of_the_readme_are_read_by_the_flags_of_their_launcher(launcher, ready):
    assert launcher in LAUNCHERS
    for _, words in [found for found in BY_LAUNCHER if found[0] == launcher]:
        rest = ready(launcher, words)
        if launcher == 'submit':
            rest = ready(rest[0].removeprefix('launch.'), rest[1:])
        assert all(WORDS.fullmatch(word) or '/' in word for word in rest), rest


def test_what_the_readme_makes_and_installs_is_there():
    targets = set(re.findall(r'^([a-z0-9]+):', (TOP / 'Makefile').read_text(), re.M))
    extras = set(re.findall(r'^(\w+) = \[', (TOP / 'pyproject.toml').read_text(), re.M))
    for program, *words in COMMANDS:
        if program == 'make':
            assert {word for word in words if '=' not in word} <= targets, words
        if program == 'pip':
            assert set(re.findall(r'\.\[(\w+)\]', ' '.join(words))) <= extras, words


def test_a_command_is_cut_where_a_shell_goes_on_and_paragraphs_are_filled():
    command = '    python -m launch.train --first=1 \\\n        --second=2\n'
    doc = f'One sentence\nof two lines.\n\n{command}'
    assert help_text.filled(doc, 40).splitlines() == [
        'One sentence of two lines.',
        '',
        '    python -m launch.train --first=1 \\',
        '        --second=2',
    ]
    long = f'    python -m launch.train {"--flag=1 " * 20}--path={"x" * 50}'
    lines = help_text.filled(long, 40).splitlines()
    assert ' '.join(lines).replace('\\ ', '').split() == long.split()
    assert [len(line) > 40 for line in lines] == [False] * (len(lines) - 1) + [True]
    assert help_text.filled('  kept  as it is\n  and so', 40) == '  kept  as it is\n  and so'
