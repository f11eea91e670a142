"""A run that several processes make: what the lead finds, decides and writes, known to them all.

The lead alone reads and writes the workdir, which the others need not see; data are read by each,
and must be the same. With one process all of this is what it stands for, and nothing more.

Collective, as all of `processes`: each function is called by all processes in the same order.
"""

import pathlib
from collections.abc import Callable, Mapping
from importlib import metadata
from typing import Any

from resnet_dyn import commit, config, fields, processes
from resnet_dyn.data import datasets
from resnet_dyn.training import checkpoints, description, runs

_SAME = 'Start all with the same flags, code and packages'
_SAME_DATA = (
    'Copy the data to where each machine reads them, or name a folder that all see '
    '(config.data.dir)'
)


def look(workdir, cfg: config.Config | None, changes: Mapping[str, Any] | None) -> runs.Start:
    """`runs.look`, which is the lead's; ProcessError where processes were started otherwise."""
    if processes.count() == 1:
        return runs.look(workdir, cfg, changes)
    given = changes if cfg is None else dict(fields.flatten(config.to_dict(cfg)))
    flags = {f'config.{path}': value for path, value in (given or {}).items()}
    processes.check_same({**flags, **_code()}, _SAME)
    found = []

    def looked():
        found.append(runs.look(workdir, cfg, changes))
        return _plain(found[0])

    told = by_lead(looked)
    return found[0] if found else _start(told)


def prepare(start: runs.Start, dataset: datasets.Dataset) -> runs.Run:
    """`runs.prepare`, whose lock is the lead's; ProcessError where data are not the same."""
    if processes.count() == 1:
        return runs.prepare(start, dataset)
    facts = {'the digest of the data': dataset.source.digest, 'their name': dataset.source.name}
    processes.check_same(facts, _SAME_DATA)
    held = []

    def locked() -> bool:
        held.append(runs.prepare(start, dataset))
        return held[0].finished

    finished = by_lead(locked)
    if held:
        return held[0]
    total = config.total_steps(start.config, len(dataset.train.labels))
    return runs.Run(start.workdir, start.config, total, start.stored, finished, lock=None)


def restore(run: runs.Run, expected: Mapping[str, Any]):
    """`checkpoints.restore_training`, read by the lead and sent to all."""

    return by_lead(lambda: checkpoints.restore_training(run.workdir, expected))


def by_lead(function: Callable[[], Any]) -> Any:
    """What the lead's `function()` returns, which reads or writes the workdir."""
    return processes.by_lead(function, 'waiting for process 0 to read or write the workdir')


def agreed(value: int) -> int:
    """The lead's value, where each has one that hangs on its clock."""
    return processes.by_lead(lambda: value, 'agreeing with process 0')


def any_stops(stop: Callable[[], bool]) -> Callable[[], bool]:
    """`stop` of all processes: true at all of them once it is at one."""
    if processes.count() == 1:
        return stop
    return lambda: processes.any_of(stop(), 'asking whether any is told to stop')


def by_lead_alone(report: Callable[[str], None]) -> Callable[[str], None]:
    """`report` at the lead; the others say nothing."""
    return report if processes.is_lead() else lambda line: None


class Unwritten:
    """In the place of what the lead writes, at the others."""

    def write(self, *_, **__) -> None:
        """Nothing."""

    save = cut_after = wait = close = write


def _code() -> dict[str, Any]:
    """What must be the same, besides the flags, for processes to compile one program."""
    versions = {f'the version of {name}': metadata.version(name) for name in ('jax', 'jaxlib')}
    return {'the code': commit.version(), **versions}


def _plain(start: runs.Start) -> dict[str, Any]:
    return {
        'workdir': str(start.workdir),
        'config': config.to_dict(start.config),
        'stored': start.stored and start.stored.everything,
        'finished': start.finished,
    }


def _start(told: Mapping[str, Any]) -> runs.Start:
    everything, stored = told['stored'], None
    if everything is not None:
        cfg = config.from_dict(everything['config'])
        stored = description.Description(
            cfg, everything['total_steps'], everything['data'], everything, stamp=()
        )
    cfg = config.from_dict(told['config'])
    return runs.Start(pathlib.Path(told['workdir']), cfg, stored, told['finished'])
