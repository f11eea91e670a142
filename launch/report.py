"""What `launch.analyze` says and draws of the records of a run."""

import pathlib
from typing import NamedTuple

import numpy as np

from launch import columns
from resnet_dyn.analysis import measures, trajectories
from resnet_dyn.plots import style

WIDTH = 100  # characters of a table


def costs(plan: measures.Plan, steps: list[int]) -> str:
    """What the analysis will cost if nothing is there yet, and what cannot be measured."""
    lines = [f'{name} is left out: {why}' for name, why in plan.impossible.items()]
    where = f'step {steps[0]:,}' if len(steps) == 1 else f'steps {steps[0]:,} to {steps[-1]:,}'
    made = ', step 0 made again from the seeds' if 0 in steps else ''
    lines.append(
        f'{_count(len(steps), "checkpoint")} ({where}{made}), '
        f'{_count(plan.networks, "network")} of {_count(plan.blocks, "block")}: '
        f'{", ".join(plan.measures)}'
    )
    visits = len(steps) * plan.networks
    forward, backward = (sum(cost[i] for cost in plan.costs.values()) for i in (0, 1))
    if forward:
        lines.append(
            f'cost: at most {_passes(visits * forward, visits * backward)} passes of '
            f'{plan.examples:,} test examples; records that are there are not made again. For each '
            'network at each checkpoint:'
        )
        width = max(map(len, plan.costs))
        lines += [
            f'    {name:{width}}  {_passes(*cost)}'
            for name, cost in plan.costs.items()
            if any(cost)
        ]
    return '\n'.join(lines)


def visit(visit: trajectories.Visit) -> str:
    """One line for one checkpoint."""
    if visit.damage:
        return f'step {visit.step:>8,}: LOST. {visit.damage}'
    parts = [f'measured {", ".join(visit.made)}'] if visit.made else []
    parts += [f'there already: {", ".join(visit.kept)}'] if visit.kept else []
    return f'step {visit.step:>8,}: {"; ".join(parts)}'


def note(plan: measures.Plan, name: str | None = None) -> str:
    """What must be said beside the numbers, of one measure or of all."""
    source = plan.source
    names = [name] if name else list(plan.measures)
    parts = [f'Data: {source.name}' + (f' ({source.note})' if source.note else '')]
    if plan.examples and names != ['gammas']:
        parts.append(f'{plan.examples:,} test examples')
        parts.append('running statistics (at step 0 those of the examples)')
    parts.append(_count(plan.networks, 'network'))
    if plan.networks > 1:
        parts.append('mean ± standard deviation over networks')
    if 'depth' in names:
        parts.append(
            f'r = 1..{plan.blocks + 1}: a path of length r uses r − 1 of the {plan.blocks} '
            'blocks; sigma as it is at the checkpoint'
        )
    return '; '.join(parts) + '.'


def table(found: dict[str, list]) -> str:
    """The closing table: a line a step, a column a number, mean ± std over networks.

    What is wider than `WIDTH` goes on in another table below, which begins with the step again.
    """
    tables: list[list[_Column]] = []
    for name, records_T in found.items():
        for title, value, form in columns.COLUMNS[name]:
            cells = {int(record.step): _plus_minus(value(record), form) for record in records_T}
            column = _Column(title, cells)
            if not tables or max(map(len, _lines([*tables[-1], column]))) > WIDTH:
                tables.append([])
            tables[-1].append(column)
    return '\n\n'.join('\n'.join(_lines(table)) for table in tables)


def draw(
    workdir, found: dict[str, list], plan: measures.Plan, seed: int | None
) -> list[pathlib.Path]:
    """Draws a picture for each measure that has records, as PNG and PDF; returns the paths."""
    paths: list[pathlib.Path] = []
    which = '' if seed is None else f'-network{seed}'
    for name, records_T in found.items():
        if not records_T:
            continue
        function, heading = columns.PICTURES[name]
        if name in columns.LAST_ONLY:
            records_T = records_T[-1:]
        when = 'over training' if len(records_T) > 1 else f'at step {int(records_T[0].step):,}'
        with style.context():
            fig = function(records_T, f'{heading} {when}', note(plan, name))
            paths += style.save(fig, pathlib.Path(workdir) / 'pictures' / f'{name}{which}')
    return paths


class _Column(NamedTuple):
    title: str
    cells: dict[int, str]  # by step


def _lines(table: list[_Column]) -> list[str]:
    steps = sorted({step for column in table for step in column.cells})
    rows = [['step', *(column.title for column in table)]]
    rows += [[f'{step:,}', *(column.cells.get(step, '') for column in table)] for step in steps]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        '  '.join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    ]


def _count(number: int, word: str) -> str:
    return f'{number} {word}' if number == 1 else f'{number} {word}s'


def _passes(forward: float, backward: float) -> str:
    """Passes in words: '5 forward, 1 backward'."""
    kinds = {'forward': forward, 'backward': backward}
    return ', '.join(
        f'{number:,.0f} {kind}' if number >= 100 else f'{number:.3g} {kind}'
        for kind, number in kinds.items()
        if number
    )


def _plus_minus(values_S, form: str) -> str:
    mean, std = style.over_seeds(np.asarray(values_S, float))
    return f'{mean:{form}} ± {std:{form}}' if len(values_S) > 1 else f'{mean:{form}}'
