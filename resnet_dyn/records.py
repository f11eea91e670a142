"""Records: NamedTuples of arrays, each saved beside its provenance in one .npz file.

A record's class may carry a schema version as a plain class attribute `VERSION` (1 without);
raise it when the meaning of a field changes. Pictures and reports read records, never the memory
of a run.
"""

import collections
import dataclasses
import datetime
import json
import os
import pathlib
import shlex
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from typing import Any, NamedTuple

import numpy as np

from resnet_dyn import errors

_HEADER = 'record_json'


def save(path, record: NamedTuple, provenance: Mapping[str, Any]) -> pathlib.Path:
    """Writes `record` and its provenance to `path` (.npz) at once: a reader sees all or nothing.

    Fields are arrays of numbers, booleans or strings, or what NumPy makes such arrays of; others
    (objects, bfloat16, which .npz cannot hold) raise errors.RecordError. Returns the absolute path.
    """
    path = pathlib.Path(path).expanduser().absolute()
    if path.suffix != '.npz':
        raise errors.RecordError(f'{path} does not end in .npz, the format of records: rename it')
    kind = type(record)
    arrays = {name: np.asarray(value) for name, value in record._asdict().items()}
    for name, array in arrays.items():
        if array.dtype.kind in 'OV':
            raise errors.RecordError(
                f'field {name!r} of {kind.__name__} has dtype {array.dtype}, which a record '
                'cannot hold: make it an array of float32, say'
            )
    header = {'kind': kind.__name__, 'version': _version(kind), 'provenance': provenance}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
    with open(temporary, 'wb') as file:
        np.savez(file, **{_HEADER: np.array(json.dumps(header))}, **arrays)
    os.replace(temporary, path)
    return path


def load(path, kind: type | None = None) -> tuple[NamedTuple, dict[str, Any]]:
    """(record, provenance) of a file that `save` wrote.

    With `kind`, the record is of that class, and a file of another class or schema version raises
    RecordError. Without, its class is made of the names in the file.
    """
    path = pathlib.Path(path)
    try:
        with open(path, 'rb') as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        header = json.loads(str(arrays.pop(_HEADER)))
        name, version = header['kind'], header['version']
    except FileNotFoundError:
        raise errors.RecordError(f'{path} does not exist: make the record first') from None
    except Exception as error:  # damaged archives raise errors of many kinds
        raise errors.RecordError(
            f'{path} is no record, or a damaged one ({error}): make it again'
        ) from error
    if kind is None:
        return collections.namedtuple(name, arrays)(**arrays), header['provenance']
    found, wanted = (name, version, set(arrays)), (kind.__name__, _version(kind), set(kind._fields))
    if found != wanted:
        raise errors.RecordError(
            f'{path} holds {name}, version {version} ({", ".join(arrays)}), and '
            f'{kind.__name__}, version {_version(kind)} ({", ".join(kind._fields)}) was asked '
            'for: make it again with this version of the code'
        )
    return kind(**arrays), header['provenance']


def check_writable(folder) -> None:
    """Raises RecordError where no file can be written to `folder`, made if it is not there.

    For long work to ask before it begins.
    """
    folder = pathlib.Path(folder).expanduser().absolute()
    probe = folder / f'.writable.{os.getpid()}.tmp'
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b'.')
        probe.unlink()
    except OSError as error:
        raise errors.RecordError(
            f'records cannot be written to {folder} ({error}): get the right to write there, or '
            'free space'
        ) from error


def provenance(config=None, *, seed: int | None = None, wall_time: float | None = None) -> dict:
    """What to write beside a number: where, when, of what and by which command it came.

    `config` is a frozen dataclass or a mapping, `wall_time` in seconds. `code` is the version of
    the package and, in a git checkout, the commit (`-dirty` with uncommitted changes).
    """
    if dataclasses.is_dataclass(config):
        config = dataclasses.asdict(config)
    return {
        'config': config,
        'code': {'version': metadata.version('resnet_dyn'), 'commit': _commit()},
        'seed': seed,
        'device': _device(),
        'wall_time': wall_time,
        'command': shlex.join(sys.orig_argv),
        'date': datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds'),
        'versions': {name: metadata.version(name) for name in ('jax', 'jaxlib', 'numpy')},
    }


def _version(kind: type) -> int:
    return getattr(kind, 'VERSION', 1)


def _commit() -> str | None:
    root = pathlib.Path(__file__).parent.parent
    if not (root / '.git').exists():
        return None
    command = ['git', '-C', str(root), 'describe', '--always', '--dirty', '--abbrev=40']
    try:
        answer = subprocess.run(
            [*command, '--exclude=*'], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None


def _device() -> dict[str, Any]:
    import jax

    devices = jax.devices()
    allotted = getattr(os, 'sched_getaffinity', None)
    cores = len(allotted(0)) if allotted else os.cpu_count()
    return {
        'platform': devices[0].platform,
        'kind': devices[0].device_kind,
        'count': len(devices),
        'cpu_cores': cores,
    }
