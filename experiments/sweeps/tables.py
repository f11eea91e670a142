"""The table of a sweep, a tidy row a run: its config, its metrics at the end, what was measured.

    run, state, why          the folder in W, and how it stands
    config.<path>            every field of the config
    step, loss, ..           the last of metrics.jsonl: the mean over networks, `_std` and `_n`
    <measure>/<number>       every number of the closing tables of `launch.analyze`, at the last
                             step that was measured, `<measure>/step`; also `_std` and `_n`
    training/<number>        what training recorded of gammas, weights and depth, in the same way

table.jsonl has the same, and beside each mean `_networks`, the list over networks; what is not
finite is null there, and nan in table.csv.
"""

import json
import math
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from experiments import study
from experiments.sweeps import members, standing
from resnet_dyn import config, errors, fields, records
from resnet_dyn.reports import series
from resnet_dyn.training import run_folders

NAMES = ('table.csv', 'table.jsonl')

_OF_METRICS = ('test accuracy', 'test loss', 'training accuracy', 'training loss')


def write(
    workdir: pathlib.Path,
    runs: Sequence[members.Member],
    standings: Mapping[str, standing.Standing],
) -> list[pathlib.Path]:
    """Writes both files, each at once; a run of which something cannot be read has the reason."""
    begun = ((one, standings[one.name]) for one in runs)
    return _write(workdir, [row(workdir, _head(one, found)) for one, found in begun])


def renew(workdir: pathlib.Path) -> list[pathlib.Path]:
    """Writes both files anew, if they are there, with what was measured since; all else stays."""
    try:
        lines = (workdir / NAMES[1]).read_text().splitlines()
        heads = [{k: v for k, v in json.loads(line).items() if _of_head(k)} for line in lines]
        return _write(workdir, [row(workdir, head) for head in heads])
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise errors.RecordError(
            f'{workdir / NAMES[1]} is damaged ({errors.reason(error)}): give the command of the '
            'sweep again, which makes it anew'
        ) from error


def row(workdir: pathlib.Path, head: Mapping[str, Any]) -> dict[str, Any]:
    """All that is known of a run, by column; arrays are over its networks (S,)."""
    folder = workdir / head['run']
    if not run_folders.is_run(folder):
        return dict(head)
    try:
        known = series.read(folder)
        found = _fields(known.config) | study.final_metrics(folder) | dict(_measured(known))
    except errors.UserError as error:
        return {**head, 'why': head['why'] or str(error)}
    return {**head, **found}


def _write(workdir: pathlib.Path, rows: Sequence[Mapping[str, Any]]) -> list[pathlib.Path]:
    lines = (json.dumps(dict(_with_lists(one)), allow_nan=False) for one in rows)
    table, tidy = (workdir / name for name in NAMES)
    return [study.write_csv(table, rows), records.write_text(tidy, '\n'.join((*lines, '')))]


def _head(one: members.Member, found: standing.Standing) -> dict[str, Any]:
    return {'run': one.name, 'state': found.state, 'why': found.why} | _fields(one.config)


def _of_head(column: str) -> bool:
    return column in ('run', 'state', 'why') or column.startswith('config.')


def _fields(cfg: config.Config) -> dict[str, Any]:
    return {f'config.{leaf.path}': fields.get(cfg, leaf.path) for leaf in config.leaves()}


def _measured(run: series.RunSeries) -> Iterator[tuple[str, Any]]:
    steps: dict[str, int] = {}
    for (measure, title), one in run.series.items():
        if measure == series.TRAINING and title in _OF_METRICS:
            continue
        if measure not in steps and measure != series.TRAINING:
            yield f'{measure}/step', int(one.steps_T[-1])
        steps[measure] = int(one.steps_T[-1])
        yield f'{measure}/{title}', one.values_ST[:, -1]


def _with_lists(row: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in study.flat_row(row):
        yield name, _plain(value)
    for name, value in row.items():
        if np.ndim(value):
            yield f'{name}_networks', [_plain(float(one)) for one in np.ravel(value)]


def _plain(value: Any) -> Any:
    """The value, or None for a number that JSON does not have."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
