"""Records: NamedTuples of arrays, each saved beside its provenance in one .npz file.

A record's class may carry a schema version as a plain class attribute `VERSION` (1 without);
raise it when the meaning of a field changes. Pictures and reports read records, never the memory
of a run.
"""

import collections
import contextlib
import dataclasses
import datetime
import io
import json
import os
import pathlib
import re
import shlex
import sys
import uuid
from collections.abc import Mapping
from importlib import metadata
from typing import Any, NamedTuple

import numpy as np

from resnet_dyn import commit, errors, unsaved

_BY_NETWORK = re.compile(r'_S[A-Z0-9]*$')
_HEADER = 'record_json'
_OWN = uuid.uuid4().hex[:8]  # of this process and those that it forks


def save(path, record: NamedTuple, provenance: Mapping[str, Any]) -> pathlib.Path:
    """Writes `record` and its provenance to `path` (.npz) at once: a reader sees all or nothing.

    Fields are arrays of numbers, booleans or strings, or what NumPy makes such arrays of; others
    (objects, bfloat16, which .npz cannot hold) raise errors.RecordError. Returns the absolute path.
    """
    path = _absolute(path)
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
    header = {
        'kind': kind.__name__,
        'version': _version(kind),
        'fields': list(arrays),
        'provenance': provenance,
    }
    data = io.BytesIO()
    np.savez(data, **{_HEADER: np.array(json.dumps(header))}, **arrays)
    return write_bytes(path, data.getbuffer())


def write_text(path, text: str) -> pathlib.Path:
    """Writes `path` as UTF-8 with the ends of lines that `text` has, as `write_bytes` does."""
    return write_bytes(path, text.encode())


def write_bytes(path, data) -> pathlib.Path:
    """Writes `path` at once, making its folder: a reader sees all or nothing of it.

    What stood there stays where RecordError says that the file cannot be written. Returns the
    absolute path.
    """
    path = _absolute(path)
    temporary = _beside(path)
    try:
        with unsaved.work():  # so that a signal leaves no half of it under another name
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(data)
            os.replace(temporary, path)
    except OSError as error:
        _try_to_remove(temporary)
        raise errors.RecordError(
            f'{path} cannot be written ({error}): look for free space there and for the right to '
            'write, and ask for it again'
        ) from error
    return path


def is_by_network(field: str) -> bool:
    """Whether a field of a record is led by the axis S of networks, as its name says: loss_SL."""
    return _BY_NETWORK.search(field) is not None


def check_writable(folder) -> None:
    """Raises RecordError if records could not be written into `folder`; changes nothing there.

    To be asked before what takes long: the folder is made if it is not there, and a small file is
    written into it and removed.
    """
    folder = _absolute(folder)
    probe = _beside(folder / 'probe')
    made: list[pathlib.Path] = []
    try:
        made += [path for path in (folder, *folder.parents) if not path.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b'probe')
        probe.unlink()
    except OSError as error:
        _try_to_remove(probe)
        raise errors.RecordError(
            f'records cannot be written to {folder} ({error}): get the right to write there, look '
            'for free space, or copy what is to be measured to where you may write, and ask there'
        ) from error
    finally:
        for path in made:
            _try_to_remove(path)


def load(path, kind: type | None = None) -> tuple[NamedTuple, dict[str, Any]]:
    """(record, provenance) of a file that `save` wrote.

    With `kind`, the record is of that class, and a file of another class or schema version raises
    RecordError. Without, its class is made of the names in the file.
    """
    path = pathlib.Path(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise errors.RecordError(f'{path} does not exist: make the record first') from None
    except OSError as error:
        raise errors.RecordError(
            f'{path} cannot be read ({error}): see that the disk answers and that you may read '
            'there, and try again'
        ) from error
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        header = json.loads(str(arrays.pop(_HEADER)))
        name, version, origin = header['kind'], header['version'], header['provenance']
        if set(header.get('fields', arrays)) != set(arrays):
            raise ValueError(f'it has not the fields {", ".join(header["fields"])}')
        generic = collections.namedtuple(name, arrays)
    except MemoryError:
        raise
    except Exception as error:  # damaged archives raise errors of many kinds
        raise errors.RecordError(
            f'{path} is no record, or a damaged one ({error}): make it again'
        ) from error
    if kind is None:
        return generic(**arrays), origin
    found, wanted = (name, version, set(arrays)), (kind.__name__, _version(kind), set(kind._fields))
    if found != wanted:
        raise errors.RecordError(
            f'{path} holds {name}, version {version} ({", ".join(arrays)}), and '
            f'{kind.__name__}, version {_version(kind)} ({", ".join(kind._fields)}) was asked '
            'for: make it again with this version of the code'
        )
    return kind(**arrays), origin


def provenance(
    config=None,
    *,
    seed: int | None = None,
    network: int | None = None,
    wall_time: float | None = None,
) -> dict[str, Any]:
    """What to write beside a number: where, when, of what and by which command it came.

    `config` is a frozen dataclass or a mapping; `seed` is the config's, `network` the index of the
    one network that the number is of, None for all; `wall_time` is in seconds. `code` is the
    version of the package and the commit (`-dirty` with uncommitted changes): of the git checkout,
    or of that which the installed package was built from; None where that is not known.
    """
    if dataclasses.is_dataclass(config):
        config = dataclasses.asdict(config)
    return {
        'config': config,
        'code': {'version': metadata.version('resnet_dyn'), 'commit': commit.current()},
        'seed': seed,
        'network': network,
        'device': _device(),
        'wall_time': wall_time,
        'command': shlex.join(sys.orig_argv),
        'date': datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds'),
        'versions': {name: metadata.version(name) for name in ('jax', 'jaxlib', 'numpy')},
    }


def _absolute(path) -> pathlib.Path:
    return pathlib.Path(os.path.expanduser(path)).absolute()


def _beside(path: pathlib.Path) -> pathlib.Path:
    """A name of this process alone: machines that share a disk have processes of one number."""
    return path.with_name(f'.{path.name}.{os.getpid()}-{_OWN}.tmp')


def _try_to_remove(path: pathlib.Path) -> None:
    """Removes a file or an empty folder of ours, where it is."""
    with contextlib.suppress(OSError):
        path.rmdir() if path.is_dir() else path.unlink()


def _version(kind: type) -> int:
    return getattr(kind, 'VERSION', 1)


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
