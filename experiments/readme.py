"""Writes the numbers of the README from the files that the commands wrote; types none in.

    make numbers
    python -m launch.numbers --workdir=build

Reads build/figure1/figure1.npz, build/cifar (a run and its analysis), build/benchmarks/*.json and
build/theorems/, and writes the table between the markers of README.md. A row ends in a comment
that names its source, and a source replaces its own rows alone: the rows of one that is not there
stay as they are, which is said. Copies the pictures to docs/.
"""

import pathlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from experiments import readme_rows
from resnet_dyn import errors, records

ROOT = pathlib.Path(__file__).parent.parent
BEGIN, END = '<!-- numbers: begin -->', '<!-- numbers: end -->'
HEADER = ('| claim | measured | n | device | command |', '|---|---|---|---|---|')
SHOWN = ('singles', 'depth', 'random', 'pairs', 'reorder', 'paths', 'interactions')
PICTURES = {
    'figure1/figure1.png': 'figure1.png',
    **{f'cifar/pictures/{name}.png': f'{name}.png' for name in SHOWN},
    'theorems/counts.png': 'counts.png',
}
_SOURCE = re.compile(r'<!-- (\S+) --> *\|$')


class Result(NamedTuple):
    """What was written, and what was found anew."""

    files: tuple[pathlib.Path, ...]
    findings: tuple[str, ...]


def run(workdir, report: Callable[[str], None] = print, root: pathlib.Path = ROOT) -> Result:
    """Rewrites the README's table and docs/ of `root` from what stands in `workdir`."""
    return write(read(workdir, report), workdir, report, root)


def read(workdir, report: Callable[[str], None] = print) -> dict[str, list[readme_rows.Row]]:
    """The rows of each source that is there; of the others it says why they are not."""
    found = {}
    for name in readme_rows.SOURCES:
        try:
            found[name] = readme_rows.read(name, pathlib.Path(workdir))
        except errors.UserError as error:
            report(f'{name}: {error}; its rows stay as they are')
    return found


def write(
    found: Mapping[str, Sequence[readme_rows.Row]],
    workdir,
    report: Callable[[str], None] = print,
    root: pathlib.Path = ROOT,
) -> Result:
    """Puts the rows in place of those of the same sources, and copies the pictures."""
    path = root / 'README.md'
    before, old, after = _parts(path)
    if unknown := set(old) - set(readme_rows.SOURCES):
        report(f'rows that have no source here stay as they are: {", ".join(sorted(unknown))}')
    new = {name: [_line(row, name) for row in rows] for name, rows in found.items()}
    table = '\n'.join([BEGIN, '', *HEADER, *_in_order(old, new), '', END])
    records.write_text(path, before + table + after)
    files = [path, *_copy_pictures(pathlib.Path(workdir), root / 'docs')]
    findings = [f'{row.claim}: {row.number}' for rows in found.values() for row in rows]
    return Result(tuple(files), tuple(findings))


def _parts(path: pathlib.Path) -> tuple[str, dict[str, list[str]], str]:
    """The text before the table, its rows by source ('none' without one), and the text after it."""
    text = path.read_text(encoding='utf-8')
    before, begin, rest = text.partition(BEGIN)
    table, end, after = rest.partition(END)
    if not (begin and end):
        raise errors.UserError(
            f'{path} has no table to write: put the lines {BEGIN} and {END} where it shall stand'
        )
    rows = {}
    for line in table.strip().splitlines()[len(HEADER) :]:
        found = _SOURCE.search(line)
        rows.setdefault(found[1] if found else 'none', []).append(line)
    return before, rows, after


def _line(row: readme_rows.Row, source: str) -> str:
    return '| ' + ' | '.join(row) + f' <!-- {source} --> |'


def _in_order(old: Mapping[str, Sequence[str]], new: Mapping[str, Sequence[str]]) -> list[str]:
    """All rows, the new ones in place of the old, in the order of the sources; others last."""
    rows = {**old, **new}
    names = [*readme_rows.SOURCES, *(name for name in old if name not in readme_rows.SOURCES)]
    return [line for name in names for line in rows.get(name, ())]


def _copy_pictures(workdir: pathlib.Path, docs: pathlib.Path) -> list[pathlib.Path]:
    return [
        records.write_bytes(docs / name, (workdir / source).read_bytes())
        for source, name in PICTURES.items()
        if (workdir / source).is_file()
    ]
