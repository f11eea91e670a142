"""What `launch.analyze` says and draws of the records of a run."""

import pathlib

import numpy as np

from resnet_dyn.analysis import measures, trajectories
from resnet_dyn.plots import depth, gammas, lesions, style

_PICTURES = {
    'gammas': (gammas.profiles, 'Gammas over training'),
    'depth': (depth.law, 'Predicted depth of the virtual ensemble over training'),
    'singles': (lesions.singles, 'Single lesions over training'),
}
_COLUMNS = {
    'gammas': (('mean |gamma|', lambda r: np.nanmean(r.mean_SLN[..., -1], -1), '.3f'),),
    'depth': (
        ('E[r] incoherent', lambda r: r.incoherent_mean_S, '.2f'),
        ('E[r] coherent', lambda r: r.coherent_mean_S, '.2f'),
    ),
    'singles': (
        ('error %', lambda r: 100 * r.full_error_S, '.2f'),
        ('one deleted, mean', lambda r: 100 * r.error_SL.mean(-1), '.2f'),
        ('worst', lambda r: 100 * r.error_SL.max(-1), '.2f'),
    ),
}


def costs(plan: measures.Plan, steps: list[int]) -> str:
    """What the analysis will cost if nothing is there yet, and what cannot be measured."""
    lines = [f'{name} is left out: {why}' for name, why in plan.impossible.items()]
    visits = len(steps) * plan.networks
    lines.append(
        f'{len(steps)} checkpoints (step 0 made again from the seeds), {plan.networks} networks of '
        f'{plan.blocks} blocks: {", ".join(plan.measures)}'
    )
    if plan.passes:
        lines.append(
            f'cost: at most {visits * plan.passes:,} forward passes of {plan.examples:,} test '
            f'examples ({plan.passes} for each network at each checkpoint); records that are '
            'there are not made again'
        )
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
    parts.append(f'{plan.networks} networks' if plan.networks > 1 else '1 network')
    if plan.networks > 1:
        parts.append('mean ± standard deviation over networks')
    if 'depth' in names:
        parts.append(
            f'r = 1..{plan.blocks + 1}: a path of length r uses r − 1 of the {plan.blocks} '
            'blocks; sigma as it is at the checkpoint'
        )
    return '; '.join(parts) + '.'


def table(found: dict[str, list]) -> str:
    """The closing table: a line a step, a column a number, mean ± std over networks."""
    cells: dict[int, dict[str, str]] = {}
    for name, records_T in found.items():
        for title, value, form in _COLUMNS[name]:
            for record in records_T:
                row = cells.setdefault(int(record.step), {})
                row[title] = _plus_minus(value(record), form)
    titles = [title for name in found for title, *_ in _COLUMNS[name]]
    rows = [['step', *titles]]
    rows += [[f'{step:,}', *(cells[step].get(t, '') for t in titles)] for step in sorted(cells)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return '\n'.join(
        '  '.join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    )


def draw(
    workdir, found: dict[str, list], plan: measures.Plan, seed: int | None
) -> list[pathlib.Path]:
    """Draws a picture for each measure that has records, as PNG and PDF; returns the paths."""
    paths: list[pathlib.Path] = []
    which = '' if seed is None else f'-network{seed}'
    for name, records_T in found.items():
        if not records_T:
            continue
        function, heading = _PICTURES[name]
        with style.context():
            fig = function(records_T, heading, note(plan, name))
            paths += style.save(fig, pathlib.Path(workdir) / 'pictures' / f'{name}{which}')
    return paths


def _plus_minus(values_S, form: str) -> str:
    mean, std = style.over_seeds(np.asarray(values_S, float))
    return f'{mean:{form}} ± {std:{form}}' if len(values_S) > 1 else f'{mean:{form}}'
