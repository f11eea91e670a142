"""A room imports only what its line in the table names; the table is the map in the README."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parent.parent
PACKAGE = 'resnet_dyn'

README = (ROOT / 'README.md').read_text()


def table() -> dict[str, set[str]]:
    """The map of rooms in the README: what each may import."""
    lines = README.partition('## The map of rooms')[2].partition('\n\n`experiments/`')[0]
    rows = [line.strip('|').split('|') for line in lines.splitlines() if line.startswith('| `')]
    return {
        room.strip(' `').removesuffix('.py').strip('/'): set(names.strip().split(', '))
        - {'nothing'}
        for room, _, names in rows
    }


ROOMS = {'__init__': set(), **table()}
ABOVE = set(ROOMS) - {'__init__'}
FOREIGN = {'experiments': {'experiments'}, 'launch': {'launch', 'experiments'}}
MODULES = sorted(
    path.relative_to(ROOT)
    for folder in (PACKAGE, 'experiments', 'launch')
    for path in (ROOT / folder).rglob('*.py')
)


def imported(source: str) -> set[str]:
    """The dotted names of all modules that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, 'imports are absolute'
            names |= {f'{node.module}.{alias.name}' for alias in node.names}
    return names


def violations(path: pathlib.Path, source: str) -> list[str]:
    """What a file imports and may not, as lines that name the file and the room."""
    parts = path.with_suffix('').parts
    room = parts[1] if parts[0] == PACKAGE else parts[0]
    allowed = ROOMS[room] | {room} if parts[0] == PACKAGE else ABOVE
    wrong = []
    for name in sorted(imported(source)):
        top, _, rest = name.partition('.')
        if top == 'absl' and parts[0] != 'launch':
            wrong.append(f'{path}: absl lives in launch alone')
        elif top in FOREIGN and (parts[0] == PACKAGE or top not in FOREIGN[parts[0]]):
            wrong.append(f'{path}: room {room} imports {name}')
        elif top == PACKAGE and rest and not _within(rest, allowed):
            wrong.append(f'{path}: room {room} imports {name}, and may import {sorted(allowed)}')
    return wrong


def _within(name: str, allowed: set[str]) -> bool:
    if name == '__version__':
        return True
    return any(name == room or name.startswith(f'{room}.') for room in allowed)


@pytest.mark.parametrize('path', MODULES, ids=str)
def test_a_room_imports_only_what_its_line_names(path):
    assert not violations(path, (ROOT / path).read_text())


def test_the_check_sees_a_kernel_that_reaches_into_training():
    path = pathlib.Path('resnet_dyn/kernels/masks.py')
    assert violations(path, 'from resnet_dyn.training import loop')
    assert violations(path, 'def f():\n    import resnet_dyn.models.presets')
    assert violations(path, 'from absl import flags')
    assert violations(path, 'import launch.train')
    assert not violations(path, 'from resnet_dyn.models import stack')


def at_import(path: pathlib.Path) -> set[str]:
    """The dotted names that a file imports when it is imported itself: not within functions."""
    body = ast.parse((ROOT / path).read_text()).body
    return imported('\n'.join(ast.unparse(node) for node in body if not _is_function(node)))


def _is_function(node) -> bool:
    return isinstance(node, ast.FunctionDef | ast.ClassDef)


def reached(path: pathlib.Path) -> set[str]:
    """All names that are imported with a file, through our own modules, for the first time."""
    seen, names, todo = set(), set(), [path]
    while todo:
        here = todo.pop()
        if here in seen:
            continue
        seen.add(here)
        for name in at_import(here):
            names.add(name)
            parts = name.split('.')
            todo += [
                module
                for end in range(1, len(parts) + 1)
                for module in (pathlib.Path(*parts[:end]).with_suffix('.py'),)
                if (ROOT / module).exists()
            ]
    return names


@pytest.mark.parametrize('path', [p for p in MODULES if p.parts[1] == 'kernels'], ids=str)
def test_kernels_need_no_flax(path):
    assert not {name for name in reached(path) if name.split('.')[0] == 'flax'}


def test_the_check_for_flax_sees_it_behind_our_own_modules():
    assert 'flax.linen' in reached(pathlib.Path('resnet_dyn/models/presets.py'))
    assert 'jax.numpy' in reached(pathlib.Path('resnet_dyn/kernels/reorder.py'))


def test_every_room_is_in_the_table_and_every_line_of_it_is_a_room():
    rooms = {path.parts[1].removesuffix('.py') for path in MODULES if path.parts[0] == PACKAGE}
    assert rooms == set(ROOMS)
    assert set().union(*ROOMS.values()) <= set(ROOMS) | {
        'models.stack',
        'models.presets',
        'models.transforms',
        'models.seed_axis',
        'models.placement',
    }


def test_every_module_says_what_it_is():
    for path in MODULES:
        assert ast.get_docstring(ast.parse((ROOT / path).read_text())), f'{path} has no docstring'
