"""Writes the numbers of the README from the files that the commands wrote; types none in.

    make numbers
    python -m launch.numbers --workdir=build

Reads figure1/figure1.npz, initial_depth/initial_depth.npz, similarity/similarity.npz,
transformer/transformer.npz, cifar (a run and its analysis), benchmarks/*.json, theorems/ and the
claims.csv of dynamics and dynamics_cifar, all in build/, and writes the tables between the markers
of README.md. A row ends in a comment that names its source, and a source replaces its own rows
alone: the rows of one that is not there stay as they are, which is said. Puts what plan_*/plan.txt
say between markers of their own. Copies the pictures to docs/.
"""

import functools
import pathlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from experiments import claim_rows, readme_rows
from resnet_dyn import errors, records

ROOT = pathlib.Path(__file__).parent.parent
SHOWN = ('singles', 'depth', 'random', 'pairs', 'reorder', 'paths', 'interactions')
PICTURES = {
    'figure1/figure1.png': 'figure1.png',
    **{f'cifar/pictures/{name}.png': f'{name}.png' for name in SHOWN},
    'theorems/counts.png': 'counts.png',
    'initial_depth/initial_depth.png': 'initial_depth.png',
    'similarity/similarity.png': 'similarity.png',
    'transformer/transformer.png': 'transformer.png',
}
SOURCES = {
    **{name: functools.partial(readme_rows.read, name) for name in readme_rows.SOURCES},
    **claim_rows.SOURCES,
}
_SOURCE = re.compile(r'<!-- (\S+) --> *\|$')


class Table(NamedTuple):
    """A table of README.md, between the markers of its name, and the sources of its rows."""

    name: str
    header: str
    sources: Sequence[str]

    @property
    def markers(self) -> tuple[str, str]:
        """The lines before and after it."""
        return f'<!-- {self.name}: begin -->', f'<!-- {self.name}: end -->'

    @property
    def head(self) -> tuple[str, str]:
        """Its first two lines."""
        return self.header, '|' + '---|' * (self.header.count('|') - 1)


TABLES = (
    Table('claims', claim_rows.HEADER, tuple(claim_rows.SOURCES)),
    Table('numbers', '| claim | measured | n | device | command |', tuple(readme_rows.SOURCES)),
)


# What `launch.plan` printed, by its folder: between markers of that name.
PLANS = ('plan_resnet20', 'plan_resnet110')


class Result(NamedTuple):
    """What was written, and what was found anew."""

    files: tuple[pathlib.Path, ...]
    findings: tuple[str, ...]


def run(workdir, report: Callable[[str], None] = print, root: pathlib.Path = ROOT) -> Result:
    """Rewrites the README's tables and docs/ of `root` from what stands in `workdir`."""
    return write(read(workdir, report), workdir, report, root)


def read(workdir, report: Callable[[str], None] = print) -> dict[str, list[NamedTuple]]:
    """The rows of each source that is there; of the others it says why they are not."""
    found = {}
    for name, rows in SOURCES.items():
        try:
            found[name] = rows(pathlib.Path(workdir))
        except errors.UserError as error:
            report(f'{name}: {error}; its rows stay as they are')
    return found


def write(
    found: Mapping[str, Sequence[NamedTuple]],
    workdir,
    report: Callable[[str], None] = print,
    root: pathlib.Path = ROOT,
) -> Result:
    """Puts the rows in place of those of the same sources, and copies the pictures."""
    path = root / 'README.md'
    text = path.read_text(encoding='utf-8')
    for table in TABLES:
        text = _with_rows(text, table, found, path, report)
    for name in PLANS:
        text = _with_plan(text, name, pathlib.Path(workdir) / name / 'plan.txt')
    records.write_text(path, text)
    files = [path, *_copy_pictures(pathlib.Path(workdir), root / 'docs')]
    findings = [f'{row[0]}: {row[1]}' for rows in found.values() for row in rows]
    return Result(tuple(files), tuple(findings))


def rows_of(text: str, table: Table, path) -> tuple[str, dict[str, list[str]], str]:
    """The text before a table, its rows by source ('none' without one), and the text after it."""
    begin, end = table.markers
    before, found, rest = text.partition(begin)
    lines, ended, after = rest.partition(end)
    if not (found and ended):
        raise errors.UserError(
            f'{path} has no table to write: put the lines {begin} and {end} where it shall stand'
        )
    rows = {}
    for line in lines.strip().splitlines()[len(table.head) :]:
        source = _SOURCE.search(line)
        rows.setdefault(source[1] if source else 'none', []).append(line)
    return before, rows, after


def _with_rows(text: str, table: Table, found, path, report) -> str:
    before, old, after = rows_of(text, table, path)
    if unknown := set(old) - set(table.sources):
        report(f'rows that have no source here stay as they are: {", ".join(sorted(unknown))}')
    new = {
        name: [_line(row, name) for row in found[name]] for name in table.sources if name in found
    }
    begin, end = table.markers
    lines = [begin, '', *table.head, *_in_order(table, old, new), '', end]
    return before + '\n'.join(lines) + after


def _with_plan(text: str, name: str, file: pathlib.Path) -> str:
    """The text with what a plan printed between its markers; as it is where there is no such."""
    begin, end = f'<!-- {name}: begin -->', f'<!-- {name}: end -->'
    before, found, rest = text.partition(begin)
    _, ended, after = rest.partition(end)
    if not (file.is_file() and found and ended):
        return text
    return f'{before}{begin}\n\n```text\n{file.read_text().strip()}\n```\n\n{end}{after}'


def _line(row: Sequence[str], source: str) -> str:
    return '| ' + ' | '.join(row) + f' <!-- {source} --> |'


def _in_order(
    table: Table, old: Mapping[str, Sequence[str]], new: Mapping[str, Sequence[str]]
) -> list[str]:
    """All rows, the new ones in place of the old, in the order of the sources; others last."""
    rows = {**old, **new}
    names = [*table.sources, *(name for name in old if name not in table.sources)]
    return [line for name in names for line in rows.get(name, ())]


def _copy_pictures(workdir: pathlib.Path, docs: pathlib.Path) -> list[pathlib.Path]:
    return [
        records.write_bytes(docs / name, (workdir / source).read_bytes())
        for source, name in PICTURES.items()
        if (workdir / source).is_file()
    ]
