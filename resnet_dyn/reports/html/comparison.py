"""Runs side by side in numbers: names, configs, what each measure says at the end and of change.

Every interval is one over networks (`analysis.intervals`); differences between runs are paired by
seed where they share any.
"""

import pathlib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from resnet_dyn import config, fields
from resnet_dyn.analysis import intervals
from resnet_dyn.reports import claims, series

Runs = Mapping[str, series.RunSeries]
Key = tuple[str, str]  # a measure and the title of one of its numbers

SHOWN = 8  # runs that are shown at first where there are more
_OF_A_TASK = 3


class Ends(NamedTuple):
    """What a number is in one run: at its last step, what it changed, and less another run."""

    last: intervals.Interval
    change: intervals.Interval | None  # None where there is one step alone
    difference: intervals.Interval | None  # None where there is nothing to compare it with


def names(folders: Iterable[pathlib.Path]) -> dict[str, pathlib.Path]:
    """The folders by name: that of the folder, led by those above it where it would be another's.

    A folder that is given twice counts once. What is not UTF-8 in a name is shown as an escape.
    """
    folders = list(dict.fromkeys(folders))
    named = {}
    for folder in folders:
        others = [other for other in folders if other != folder]
        length = 1
        while any(other.parts[-length:] == folder.parts[-length:] for other in others):
            length += 1
        name = '/'.join(folder.parts[-length:])
        named[name.encode('utf-8', 'backslashreplace').decode()] = folder
    return named


def settings(runs: Runs) -> tuple[dict[str, list[Any]], dict[str, Any]]:
    """The fields of the configs by path: those that differ, a value a run, and those in common."""
    values = {
        leaf.path: [fields.get(run.config, leaf.path) for run in runs.values()]
        for leaf in config.leaves()
    }
    differ = {path: some for path, some in values.items() if len(set(some)) > 1}
    return differ, {path: some[0] for path, some in values.items() if path not in differ}


def numbers(runs: Runs) -> dict[Key, series.Series]:
    """All numbers that any of the runs has, by measure, those that training wrote last.

    Each is as the first run that has it says it.
    """
    found: dict[Key, series.Series] = {}
    for run in runs.values():
        for key, one in run.series.items():
            found.setdefault(key, one)
    order = list(dict.fromkeys(measure for measure, _ in found))
    order.sort(key=series.TRAINING.__eq__)
    return dict(sorted(found.items(), key=lambda item: order.index(item[0][0])))


def references(runs: Runs) -> dict[str, str]:
    """What each run is compared with: the main run of its task, else the first of all runs.

    A run that would be compared with itself is left out.
    """
    found = {}
    for some in claims.tasks(runs).values():
        mains = [name for name in some if claims.is_main(name)]
        found |= dict.fromkeys(some, mains[0] if mains else next(iter(runs)))
    return {name: found[name] for name in runs if found[name] != name}


def ends(runs: Runs, key: Key, compared: Mapping[str, str]) -> dict[str, Ends]:
    """What a number is in each run that has it; `compared` as `references` says."""
    found = {}
    for name, run in runs.items():
        one = run.series.get(key)
        if one is None:
            continue
        last_S, change, difference = one.values_ST[:, -1], None, None
        if len(one.steps_T) > 1:
            change = intervals.mean(last_S - one.values_ST[:, 0])
        other = runs[compared[name]] if name in compared else None
        if other is not None and key in other.series:
            other_S = other.series[key].values_ST[:, -1]
            difference = intervals.difference(last_S, other_S, run.seeds, other.seeds)
        found[name] = Ends(intervals.mean(last_S), change, difference)
    return found


def shown(runs: Runs) -> list[str]:
    """The runs that are shown at first: all, or a few of each task, main and frozen ones first."""
    if len(runs) <= SHOWN:
        return list(runs)

    def order(name: str) -> tuple[bool, bool]:
        return not claims.is_main(name), runs[name].config.train.gammas != 'frozen'

    tasks = claims.tasks(runs).values()
    some = [name for task in tasks for name in sorted(task, key=order)[:_OF_A_TASK]]
    return [name for name in runs if name in some[:SHOWN]]


def left_out(run: series.RunSeries) -> dict[str, int]:
    """Networks of a run that are not finite in some record or training line, and since when."""
    found: dict[str, int] = {}
    loss = run.series.get((series.TRAINING, 'training loss'))
    for s, values_T in enumerate([] if loss is None else loss.values_ST):
        for step in loss.steps_T[~np.isfinite(values_T)][:1]:
            found[f'network {s} (seed {run.seeds[s]})'] = int(step)
    for records_T in run.records.values():
        for step, _, origin in records_T:
            for network in origin.get('left_out') or {}:
                found[network] = min(step, found.get(network, step))
    return found


def last_step(run: series.RunSeries) -> int:
    """The last step of which anything is known."""
    return max((int(one.steps_T[-1]) for one in run.series.values()), default=0)


def place(run: series.RunSeries) -> str:
    """The last step, and of how many where the run is not at its end."""
    step = f'{last_step(run):,}'
    return step if _is_at_its_end(run) else f'{step} of {run.total_steps:,}'


def unfinished(runs: Runs) -> list[str]:
    """Runs that train, were stopped or have no network left, and the step that each is at."""
    return [f'{name} at step {place(run)}' for name, run in runs.items() if not _is_at_its_end(run)]


def _is_at_its_end(run: series.RunSeries) -> bool:
    return last_step(run) >= run.total_steps
