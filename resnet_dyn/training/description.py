"""`config.json`: what a run is, and every start that it had.

    config, total_steps       of the run as it stands
    data                      what the networks need to know of the data, and their digest
    code, device, command, .. the provenance of the first start
    format                    `formats.FORMAT`
    segments                  a list, one entry a start: {steps: [from, planned to], config, code,
                              device, command, date}

The length of a run may grow, and with a schedule that is not constant the result is then not that
of a straight run: the segments say which steps were trained under which plan.
"""

import contextlib
import json
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from resnet_dyn import config, errors, records
from resnet_dyn.data import datasets
from resnet_dyn.training import formats

NAME, TEMPORARY = 'config.json', '.config.json.tmp'

_OF_A_START = ('config', 'code', 'device', 'command', 'date')


class Description(NamedTuple):
    """What `config.json` says."""

    config: config.Config
    total_steps: int
    data: dict[str, Any]  # `facts`
    everything: dict[str, Any]
    stamp: tuple[int, ...]  # of the file that was read: another one has another


class Start(NamedTuple):
    """One of the segments: the plan of a start."""

    config: config.Config
    first: int  # the step at which it began
    planned: int  # the steps of the run, as planned then


def read(workdir: pathlib.Path) -> Description | None:
    """What `config.json` says; None where there is none, RunError, naming the field, for nonsense.

    An OSError is the caller's to tell: the folder cannot be read.
    """
    path = workdir / NAME
    try:
        stamp, text = _stamp(path), path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        everything = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, error) from error
    if why := formats.newer(everything):
        raise errors.RunError(f'{path} cannot be read: {why}')
    try:
        _check(everything)
        cfg = config.from_dict(everything['config'])
        _check_length(everything, cfg)
    except (ValueError, RecursionError) as error:  # of the config, of ours
        if why := formats.by_a_newer_version(everything):
            raise errors.RunError(f'{path} cannot be read ({error}): {why}') from error
        raise _damaged(path, error) from error
    return Description(cfg, everything['total_steps'], everything['data'], everything, stamp)


def starts(stored: Description | None) -> list[Start]:
    """The plans of all starts that a file tells of; without those that cannot be read."""
    if stored is None:
        return []
    found, whole = [], {'steps': [0, stored.total_steps], 'config': stored.everything['config']}
    for segment in stored.everything.get('segments', [whole]):
        steps, planned = segment.get('steps'), segment.get('config', {})
        if not (_is_counts(steps) and len(steps) == 2 and isinstance(planned, dict)):
            continue
        if planned == stored.everything['config']:  # it is parsed already
            found.append(Start(stored.config, *steps))
            continue
        with contextlib.suppress(ValueError):
            found.append(Start(config.from_dict(planned), *steps))
    return found


def unchanged(workdir: pathlib.Path, found: Description | None) -> bool:
    """Whether the file is still the one that was read, or still absent; it is not read again."""
    path = workdir / NAME
    return (_stamp(path) if path.exists() else None) == (found and found.stamp)


def write(
    workdir: pathlib.Path,
    cfg: config.Config,
    steps: tuple[int, int],
    dataset: datasets.Dataset,
    before: Description | None,
) -> None:
    """Writes the file of a new run, or of one that goes on, with a segment for this start."""
    now = records.provenance(cfg, seed=cfg.seed)
    everything = {**now, 'data': facts(dataset)}
    segments = []
    if before is not None:
        everything = dict(before.everything)
        whole = {'steps': [0, before.total_steps], **_of_a_start(everything)}
        segments = everything.pop('segments', [whole])  # runs of earlier versions have none
    everything |= {'config': config.to_dict(cfg), 'total_steps': steps[1]}
    everything[formats.KEY] = formats.FORMAT
    everything['segments'] = [*segments, {'steps': list(steps), **_of_a_start(now)}]
    try:
        with open(workdir / TEMPORARY, 'w') as file:
            json.dump(everything, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        os.replace(workdir / TEMPORARY, workdir / NAME)
    except OSError:
        with contextlib.suppress(OSError):
            (workdir / TEMPORARY).unlink()
        raise


def facts(dataset: datasets.Dataset) -> dict[str, Any]:
    """What opens a run without its data: shapes, classes, what normalises inputs, the origin."""
    return {
        'classes': int(dataset.classes),
        'input_shape': list(dataset.train.inputs.shape[1:]),
        'train_size': len(dataset.train.labels),
        'test_size': len(dataset.test.labels),
        'mean': dataset.mean.tolist(),
        'std': dataset.std.tolist(),
        'source': dataset.source._asdict(),
    }


def _damaged(path: pathlib.Path, error: Exception) -> errors.RunError:
    return errors.RunError(
        f'{path} is damaged, edited by hand or of another version of the code: {error}. Mend '
        'that, or put back a copy (the config stands in the meta of every checkpoint too), or '
        'name another workdir'
    )


def _of_a_start(provenance: Mapping[str, Any]) -> dict[str, Any]:
    return {name: provenance[name] for name in _OF_A_START if name in provenance}


def _stamp(path: pathlib.Path) -> tuple[int, ...]:
    found = path.stat()
    return found.st_ino, found.st_mtime_ns, found.st_size


def _is_count(value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_counts(value) -> bool:
    return isinstance(value, list) and all(map(_is_count, value))


def _is_numbers(value) -> bool:
    return isinstance(value, list) and all(isinstance(number, int | float) for number in value)


def _is(kind: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, kind)


_FIELDS = {
    'config': (_is(dict), 'an object'),
    'total_steps': (_is_count, 'a whole number of steps'),
    'data': (_is(dict), 'an object'),
    'data.classes': (_is_count, 'a whole number'),
    'data.input_shape': (_is_counts, 'a list of whole numbers'),
    'data.train_size': (_is_count, 'a whole number'),
    'data.test_size': (_is_count, 'a whole number'),
    'data.mean': (_is_numbers, 'a list of numbers'),
    'data.std': (_is_numbers, 'a list of numbers'),
    'data.source': (_is(dict), 'an object'),
    'data.source.name': (_is(str), 'a word'),
    'data.source.digest': (_is(str), 'a word'),
    'data.source.note': (_is(str), 'a text'),
}


def _check(everything: Any) -> None:
    """ValueError, naming the field, where something is missing or of another kind."""
    if not isinstance(everything, dict):
        raise ValueError(f'it holds a {type(everything).__name__}, and an object was expected')
    for path, (right, expected) in _FIELDS.items():
        value = everything
        for name in path.split('.'):
            if name not in value:
                raise ValueError(f'the field {path} is missing')
            value = value[name]
        if not right(value):
            raise ValueError(f'{path}={value!r} is not {expected}')
    segments = everything.get('segments', [])
    if not (isinstance(segments, list) and all(isinstance(entry, dict) for entry in segments)):
        raise ValueError(f'segments={segments!r} is not a list of objects')


def _check_length(everything: Mapping[str, Any], cfg: config.Config) -> None:
    length = config.total_steps(cfg, everything['data']['train_size'])
    if length != everything['total_steps']:
        raise ValueError(
            f'total_steps={everything["total_steps"]}, and its config makes {length} steps'
        )
