"""The file of a benchmark: benchmark_<what>.json, its numbers beside their provenance.

Every timing in it is a `timing.Spread`: median, low, high and the number of rounds. The sizes that
were measured stand beside them, so that words about a number are made of what was measured.
"""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

from experiments.benchmarks import timing
from resnet_dyn import commands, errors, records

FORMAT = 2  # 1: a median without its rounds, sizes in the code alone


def path(workdir, what: str) -> pathlib.Path:
    """Where the numbers of the benchmark `what` stand."""
    return pathlib.Path(workdir) / f'benchmark_{what}.json'


def write(workdir, what: str, numbers: Mapping[str, Any], seconds: float) -> pathlib.Path:
    """Writes the numbers of a benchmark that took so many seconds; returns the file."""
    found = {
        'format': FORMAT,
        'numbers': _plain(numbers),
        'provenance': records.provenance(wall_time=seconds),
    }
    return records.write_text(path(workdir, what), json.dumps(found, indent=1) + '\n')


def read(workdir, what: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """(numbers, provenance) of a file that `write` wrote; RecordError where there is none."""
    file = path(workdir, what)
    again = f'run {commands.said("benchmark")} --what={what} --workdir={file.parent}'
    if not file.exists():
        raise errors.RecordError(f'{file} does not exist: {again}')
    try:
        found = json.loads(file.read_text())
        stored, numbers, provenance = found['format'], found['numbers'], found['provenance']
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise errors.RecordError(
            f'{file} is damaged, or of an earlier version ({error!r}): {again}'
        ) from error
    if stored != FORMAT:
        raise errors.RecordError(f'{file} has the format {stored}, not {FORMAT}: {again}')
    return _spreads(numbers), provenance


def _plain(numbers):
    """A tree as JSON has it: a `Spread` as a mapping of its fields."""
    if isinstance(numbers, timing.Spread):
        return numbers._asdict()
    if isinstance(numbers, Mapping):
        return {str(name): _plain(value) for name, value in numbers.items()}
    return [_plain(value) for value in numbers] if isinstance(numbers, list | tuple) else numbers


def _spreads(tree):
    """The inverse of `_plain`, but that names are words."""
    if isinstance(tree, Mapping):
        if set(tree) == set(timing.Spread._fields):
            return timing.Spread(**tree)
        return {name: _spreads(value) for name, value in tree.items()}
    return [_spreads(value) for value in tree] if isinstance(tree, list) else tree
