"""The rows of the README's table of claims, a source a task: what claims.csv holds, in words.

A claim that is judged by several measures has the counts of their outcomes, and in full the
intervals of two: the depth that is predicted from power gains if paths are uncorrelated, and the
one that the energies of the exact gradient have.
"""

import csv
import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from experiments import depth_over_training
from resnet_dyn import commands, errors
from resnet_dyn.reports import claims

HEADER = '| claim | task | verdict | estimate [95 % interval], n networks | command |'
SHOWN = {'incoherent': 'power gains', 'energies S_k': 'gradient'}  # words of titles, and for people
FOLDERS = {'cifar10': 'dynamics_cifar'}  # of tasks that have one of their own


class Row(NamedTuple):
    """One claim on one task."""

    claim: str
    task: str
    verdict: str
    estimates: str
    command: str


def read(task: str, workdir: pathlib.Path) -> list[Row]:
    """The rows of a task in the order of the claims; RecordError where its file will not do."""
    folder = workdir / FOLDERS.get(task, 'dynamics')
    path, by_claim = folder / 'claims.csv', {}
    again = f'run {commands.said("dynamics")} --workdir={folder} --data={task}'
    try:
        with open(path, newline='', encoding='utf-8') as file:
            for line in csv.DictReader(file):
                if line['task'] == task:
                    by_claim.setdefault(line['claim'], []).append(line)
        known = [one for one in depth_over_training.CLAIMS if one.name in by_claim]
        rows = [_row(one, task, by_claim[one.name], folder) for one in known]
    except FileNotFoundError:
        raise errors.RecordError(f'{path} does not exist: {again}') from None
    except (OSError, KeyError, ValueError, csv.Error) as error:
        raise errors.RecordError(
            f'{path} is damaged, or of another version ({errors.reason(error)}): {again}'
        ) from error
    if not rows:
        raise errors.RecordError(f'{path} has no claim about {task}: {again}')
    return rows


def _row(claim: claims.Claim, task: str, lines: Sequence[Mapping[str, str]], folder) -> Row:
    measured = [line for line in lines if line['outcome'] != claims.NOT_MEASURED]
    verdict, shown = lines[0]['verdict'], measured
    if len(measured) > 2:
        counts = (
            f'{sum(line["outcome"] == outcome for line in measured)} {outcome}'
            for outcome in (claims.HOLDS, claims.FAILS, claims.UNDECIDED)
        )
        verdict += f' ({", ".join(count for count in counts if not count.startswith("0 "))})'
        shown = [line for line in measured if any(word in line['title'] for word in SHOWN)]
    told = 'title' if len({line['run'] for line in shown}) == 1 else 'run'
    estimates = '; '.join(_estimate(line, told if len(shown) > 1 else '') for line in shown)
    return Row(claim.sentence, task, verdict, estimates or '–', f'`{_command(folder, task)}`')


def _estimate(line: Mapping[str, str], told: str) -> str:
    numbers = [f'{float(line[name]):+.3g}' for name in ('estimate', 'low', 'high')]
    text = f'{numbers[0]} [{numbers[1]}, {numbers[2]}], {int(line["n"])}'
    if not told:
        return text
    name = next((said for word, said in SHOWN.items() if word in line['title']), line[told])
    return f'{name}: {text}'.replace('|', '\\|')


def _command(folder: pathlib.Path, task: str) -> str:
    data = '' if task in depth_over_training.DATA else f' --data={task} --config.data.dir=DATA'
    return f'python -m launch.dynamics --workdir=build/{folder.name}{data}'


SOURCES = {f'claims-{task}': functools.partial(read, task) for task in depth_over_training.STUDIES}
