"""What all figures have in common: their trainings, their files, and what comes of one.

A `fast` figure is rough, and its trainings and files have names of their own, which end in `_fast`.
"""

import csv
import io
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from experiments import study
from resnet_dyn import config, errors, records
from resnet_dyn.plots import style

_FAST = '_fast'


class Result(NamedTuple):
    """What came of it: whether all is done, the files, and the findings in words."""

    finished: bool
    files: tuple[pathlib.Path, ...] = ()
    findings: tuple[str, ...] = ()
    diverged: tuple[str, ...] = ()  # trainings of which networks are left out


class Trained(NamedTuple):
    """The finished trainings behind a figure, in order."""

    configs: tuple[config.Config, ...]
    workdirs: tuple[pathlib.Path, ...]
    diverged: tuple[str, ...]  # in words
    origin: dict[str, Any]  # the provenance of what is made of them


def trainings(
    base: Mapping[str, Any], runs: Mapping[str, Mapping[str, Any]], fast: bool
) -> study.Study:
    """The study of these runs, by the names that they have in a figure."""
    return study.Study(base, {_name(name, fast): own for name, own in runs.items()})


def train(
    planned: study.Study,
    workdir,
    stop: Callable[[], bool],
    report: Callable[[str], None],
    measure: study.Measure = lambda workdir: {},
) -> Trained | None:
    """Trains what is not trained yet in `workdir/runs/`, as `study.run`; None where it was stopped.

    Raises NotFiniteError where all networks of a training diverged.
    """
    found = study.run(planned, workdir, measure, stop, report)
    if not found.finished:
        return None
    report(study.table(found.rows))
    if found.failed:
        raise errors.NotFiniteError(
            f'the figure needs all of its trainings: {"; ".join(found.failed.values())}'
        )
    made = study.configs(planned)
    described = {name.removesuffix(_FAST): config.to_dict(one) for name, one in made.items()}
    configs = tuple(made.values())
    return Trained(
        configs,
        tuple(found.workdirs.values()),
        tuple(f'{name}: {which}' for name, which in found.diverged.items()),
        records.provenance(described, seed=configs[0].seed),
    )


def write(
    workdir, name: str, record, origin: Mapping[str, Any], table: Iterable[Sequence], draw: Callable
) -> tuple[pathlib.Path, ...]:
    """The files of a figure, NAME.npz, .csv, .png and .pdf.

    They hold a record, which says whether it is `fast`, with its provenance; the lines of a table;
    and the picture that `draw` makes of the record.
    """
    stem = pathlib.Path(workdir) / _name(name, bool(record.fast))
    saved = records.save(f'{stem}.npz', record, origin)
    return (saved, write_csv(f'{stem}.csv', table), *style.save(draw(record), stem))


def write_csv(path, table: Iterable[Sequence]) -> pathlib.Path:
    """The lines of a table as a file."""
    csv.writer(lines := io.StringIO()).writerows(table)
    return records.write_text(path, lines.getvalue())


def _name(name: str, fast: bool) -> str:
    return name + _FAST if fast else name
