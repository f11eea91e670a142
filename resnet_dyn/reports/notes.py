"""What is said in words: the cost before an analysis, what came of each step, and reservations."""

from collections.abc import Sequence

from resnet_dyn.analysis import trajectories
from resnet_dyn.reports import selection as selection_lib


def costs(selection: selection_lib.Selection, steps: Sequence[int] | None = None) -> str:
    """What the analysis will cost if nothing is there yet, and what cannot be measured.

    `steps` are those of a training, None for networks at one moment.
    """
    lines = [f'{name} is left out: {why}' for name, why in selection.impossible.items()]
    what, each = '', ''
    if steps is not None:
        where = f'step {steps[0]:,}' if len(steps) == 1 else f'steps {steps[0]:,} to {steps[-1]:,}'
        what, each = f'{count(len(steps), "checkpoint")} ({where}), ', ' at each checkpoint'
    lines.append(
        f'{what}{count(selection.networks, "network")} of {count(selection.blocks, "block")}: '
        f'{", ".join(selection.requests)}'
    )
    visits = len(steps or [0]) * selection.networks
    forward, backward, heads = (
        visits * sum(numbers) for numbers in zip(*selection.costs.values(), strict=True)
    )
    if forward:
        lines.append(
            f'cost: at most {_passes(forward, backward)} passes of {selection.examples:,} examples'
            f'{_heads(heads)}; records that are there are not made again. For each network{each}:'
        )
        width = max(map(len, selection.costs))
        lines += [
            f'    {name:{width}}  {_passes(cost.forward, cost.backward)}{_heads(cost.heads)}'
            for name, cost in selection.costs.items()
            if any(cost)
        ]
    return '\n'.join(lines)


def visit(visit: trajectories.Visit, step: bool = True) -> str:
    """One line for one checkpoint, and one for each network that is left out there."""
    if visit.damage:
        return f'step {visit.step:>8,}: LOST. {visit.damage}'
    parts = [f'measured {", ".join(visit.made)}'] if visit.made else []
    parts += [f'there already: {", ".join(visit.kept)}'] if visit.kept else []
    where = f'step {visit.step:>8,}: ' if step else ''
    lines = [f'{where}{"; ".join(parts) or "nothing could be measured"}']
    lines += [f'    {network} is left out: {why}' for network, why in visit.left_out.items()]
    if visit.unsaved:
        lines.append(f'    WARNING: not kept: {visit.unsaved}')
    return '\n'.join(lines)


def losses(visits: Sequence[trajectories.Visit]) -> str:
    """The last line of an analysis in which something was left out; '' where nothing was."""
    lost = [visit.step for visit in visits if visit.damage]
    out: dict[str, list[int]] = {}
    for visit in visits:
        for network in visit.left_out:
            out.setdefault(network, []).append(visit.step)
    parts = [f'{network} at {_steps(steps)}, not finite' for network, steps in out.items()]
    if lost:
        parts.append(
            f'the checkpoint{"s" if lost[1:] else ""} at {_steps(lost)}, which could not be taken'
        )
    return f'left out: {"; ".join(parts)}' if parts else ''


def stopped(visits: Sequence[trajectories.Visit], steps: Sequence[int]) -> str:
    """What is said of an analysis that was stopped by a signal."""
    done = sum(not visit.damage for visit in visits)
    return (
        f'stopped after {done} of {count(len(steps), "checkpoint")}: whole records are saved, '
        'start again to go on'
    )


def note(
    source: str,
    selection: selection_lib.Selection,
    name: str | None = None,
    left_out: Sequence[int] = (),
) -> str:
    """What must be said beside the numbers, of one measure or of all.

    `source` is what is said of the data; `left_out` how many networks are, step by step.
    """
    names = [name] if name else list(selection.requests)
    number = selection.networks
    parts = [source] if source else []
    parts.append(count(number, 'network'))
    if number > 1:
        parts.append('mean ± standard deviation over networks')
    if any(left_out):
        most = 'up to ' if min(left_out) < max(left_out) else ''
        parts.append(f'{most}{max(left_out)} of {number} networks left out, not finite')
    if 'depth' in names:
        L = selection.blocks
        parts.append(
            f'r = 1..{L + 1}: a path of length r uses r − 1 of the {L} blocks; sigma as it is at '
            'the step'
        )
    return '; '.join(parts) + '.'


def count(number: int, word: str) -> str:
    """'1 block', '2 blocks'."""
    return f'{number:,} {word}' if number == 1 else f'{number:,} {word}s'


def _steps(steps: Sequence[int]) -> str:
    if len(steps) > 6:
        return f'{len(steps)} steps from {steps[0]:,} to {steps[-1]:,}'
    return f'step{"s" if steps[1:] else ""} {", ".join(f"{step:,}" for step in steps)}'


def _passes(forward: float, backward: float) -> str:
    """Passes in words: '5 forward, 1 backward'."""
    kinds = {'forward': forward, 'backward': backward}
    return ', '.join(f'{_number(number)} {kind}' for kind, number in kinds.items() if number)


def _heads(heads: float) -> str:
    """'' or ', the head at 13 depths'."""
    return f', the head at {_number(heads)} depths' if heads else ''


def _number(number: float) -> str:
    return f'{number:,.0f}' if number >= 100 else f'{number:.3g}'
