"""Pytrees on disk as orbax items; all that the project asks of orbax is asked here.

    <folder>/<name>/         one item a pytree: nested dicts of arrays
    <folder>/meta/metadata   JSON

Orbax reads `[16]`, `*` and `?` in a path as a pattern, `\\` as `/` and `gs:` as a service. A path
with more than plain characters, or with a `..`, which it takes back by name though a link may lead
elsewhere, is therefore given to it under another name, by way of a file descriptor or of a link, so
that every folder is taken literally.
"""

import contextlib
import functools
import logging
import os
import pathlib
import re
import sys
import tempfile
import threading
import zlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

META = 'meta'
META_FILE = f'{META}/metadata'
UNFINISHED = '.orbax-checkpoint-tmp'  # in the name of what orbax has not finished

_PLAIN = re.compile(r'[A-Za-z0-9_./=+,@ -]*')
_OS_ERROR = re.compile(r"os_error_code='(\d+)'")  # as tensorstore says what the disk told it
_DESCRIPTORS = pathlib.Path('/proc/self/fd')
_TEMPORARY = pathlib.Path('/tmp')
# orbax numbers its operations by process: two at a time take one another's folders for their own
_ONE_AT_A_TIME = threading.Lock()


class FormatError(Exception):
    """Orbax could not write or read; the text says what it said, on one line."""


def save(folder: pathlib.Path, trees: Mapping[str, Any], meta: Mapping[str, Any]) -> None:
    """Writes nested dicts of arrays by name, and `meta`, into `folder`, which must not be there."""
    arguments = {name: ocp.args.PyTreeSave(tree) for name, tree in trees.items()}
    arguments[META] = ocp.args.JsonSave(dict(meta))
    with _literally(folder.parent) as parent, _asking() as library:
        alone = _alone()
        options = ocp.CompositeOptions(multiprocessing_options=alone)
        handler = ocp.CompositeCheckpointHandler(composite_options=options)
        checkpointer = library.enter_context(
            contextlib.closing(ocp.Checkpointer(handler, multiprocessing_options=alone))
        )
        checkpointer.save(parent / folder.name, args=ocp.args.Composite(**arguments))


def restore(folder: pathlib.Path, name: str) -> dict[str, Any]:
    """The item `name` of `folder` as it was saved: NumPy arrays, on no device."""
    with _literally(folder) as place, _asking() as library:
        alone = _alone()
        handler = ocp.PyTreeCheckpointHandler(multiprocessing_options=alone)
        checkpointer = library.enter_context(
            contextlib.closing(ocp.Checkpointer(handler, multiprocessing_options=alone))
        )
        return checkpointer.restore(place / name)


def nested(tree) -> dict[str, Any]:
    """`tree` as nested dicts of copied arrays, all names strings, nothing without leaves."""
    whole: dict[str, Any] = {}
    for path, leaf in jax.tree.leaves_with_path(tree):
        *parents, name = _names(path)
        node = whole
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = np.array(leaf)
    return whole


def named_leaves(tree) -> dict[str, Any]:
    """The leaves by their path, as in 'stem/kernel'."""
    return {'/'.join(_names(path)): leaf for path, leaf in jax.tree.leaves_with_path(tree)}


def describe(leaf: np.ndarray) -> dict[str, Any]:
    """Shape, dtype and CRC32 of an array, as JSON can say them."""
    data = np.ascontiguousarray(leaf).reshape(-1).view(np.uint8)
    return {'shape': list(leaf.shape), 'dtype': str(leaf.dtype), 'crc32': zlib.crc32(data)}


def line(error: BaseException) -> str:
    """The kind of an error and the first line of what it says, a long one without its middle."""
    text = str(error).partition('\n')[0]
    if len(text) > 400:
        text = f'{text[:150]} ... {text[-250:]}'
    return text if isinstance(error, FormatError) else f'{type(error).__name__} {text}'


def _alone() -> ocp.options.MultiprocessingOptions:
    """This process does it by itself: orbax would wait for the others of a run."""
    here = jax.process_index()
    return ocp.options.MultiprocessingOptions(primary_host=here, active_processes={here})


@contextlib.contextmanager
def _literally(folder: pathlib.Path):
    """A path of plain characters that leads to `folder`."""
    if _PLAIN.fullmatch(str(folder)) and '..' not in folder.parts:
        yield folder
    elif _DESCRIPTORS.is_dir():
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            yield _DESCRIPTORS / str(descriptor)
        finally:
            os.close(descriptor)
    else:
        with tempfile.TemporaryDirectory(prefix='checkpoint-', dir=_TEMPORARY) as place:
            link = pathlib.Path(place) / 'folder'
            link.symlink_to(folder, target_is_directory=True)
            yield link


@contextlib.contextmanager
def _asking():
    """A stack for what is to be closed; what goes wrong in it is an OSError or a FormatError."""
    _hush()
    try:
        with _ONE_AT_A_TIME, contextlib.ExitStack() as stack:
            yield stack
    except OSError:
        raise
    except Exception as error:  # orbax raises errors of every kind
        if code := _OS_ERROR.search(str(error)):
            raise OSError(int(code[1]), os.strerror(int(code[1]))) from error
        raise FormatError(line(error)) from error


@functools.cache
def _hush() -> None:
    """From now on the threads of orbax print no tracebacks, also late, of what it raises anyway.

    They log them, asyncio those of writes that nobody waited for once another had failed, and
    tensorstore calls back into the loop of a save that has failed and is closed.
    """
    logging.getLogger('absl').addFilter(lambda record: 'orbax' not in record.pathname)
    logging.getLogger('asyncio').addFilter(_is_not_of_the_disk)
    shown = sys.unraisablehook

    def hook(unraisable):
        if str(unraisable.exc_value) != 'Event loop is closed':
            shown(unraisable)

    sys.unraisablehook = hook


def _is_not_of_the_disk(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    return not _OS_ERROR.search(str(error))


def _names(path) -> list[str]:
    return [jax.tree_util.keystr((key,), simple=True) for key in path]
