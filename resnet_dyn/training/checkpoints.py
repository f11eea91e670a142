"""Checkpoints of a run, under `workdir/checkpoints/<step>/`: whole and sound, or refused aloud.

    <step>/params, gammas, batch_stats, optimizer   orbax items, one a collection, led by S
    <step>/meta                                     JSON: what opens the rest without model code
    <step>/manifest.json                            size and CRC32 of every file, written last

A step is *whole* when every file of its manifest is there with its recorded size. It is *sound*
when, of what is read, the CRC32 of every file and of every array agree too: the first keeps
damaged bytes from orbax, the second is of the arrays that come out of it. A step is
written under another name and renamed when all of it is there, so that a killed process leaves
whole steps and rubbish that the next writer removes. Readers write nothing.
"""

import concurrent.futures
import json
import pathlib
import shutil
import sys
import zlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from resnet_dyn import errors
from resnet_dyn.training import manifest

OPTIMIZER = 'optimizer'

_META, _META_FILE = 'meta', 'metadata'  # names of the item, and of orbax's file in it
_TEMPORARY, _ORBAX_TEMPORARY, _DAMAGED = '.tmp-', '.orbax-checkpoint-tmp', 'damaged-'

Variables = dict[str, Any]
Meta = dict[str, Any]


class _Damage(Exception):
    """Why a step cannot be trusted."""


class Writer:
    """Saves steps in the background, one at a time; `keep` N keeps the last N whole steps."""

    def __init__(self, workdir, keep: int | None = None):
        self._workdir, self._keep = pathlib.Path(workdir).absolute(), keep
        self._folder = _folder(workdir)
        self._folder.mkdir(parents=True, exist_ok=True)
        for path in self._folder.iterdir():
            if path.name.startswith(_TEMPORARY) or _ORBAX_TEMPORARY in path.name:
                shutil.rmtree(path)
        self._checkpointer = ocp.Checkpointer(ocp.CompositeCheckpointHandler())
        self._thread = concurrent.futures.ThreadPoolExecutor(1, 'checkpoint')
        self._saving: concurrent.futures.Future | None = None

    def save(self, step: int, trees: Mapping[str, Any], meta: Mapping[str, Any]) -> None:
        """Starts to save; returns once `trees` are copied, so that their buffers may be reused.

        `trees` are pytrees of arrays by collection; a collection without leaves is left out, a
        leaf without elements is refused. `meta` is what JSON can say. A step already there is
        left alone if it is sound and has the same arrays; else it is moved to
        `damaged-<step>-<n>`. What went wrong in the save before is raised here, or by `wait`.
        """
        self.wait()
        trees = jax.device_get(dict(trees))
        items = {name: _nested(tree) for name, tree in trees.items() if jax.tree.leaves(tree)}
        self._saving = self._thread.submit(self._write, int(step), items, dict(meta))

    def wait(self) -> None:
        """Returns when the step being saved is on disk; raises CheckpointError if it is not."""
        saving, self._saving = self._saving, None
        if saving is not None:
            saving.result()

    def close(self) -> None:
        """Waits, and gives the thread back."""
        try:
            self.wait()
        finally:
            self._thread.shutdown()
            self._checkpointer.close()

    def _write(self, step: int, items: Variables, meta: Meta) -> None:
        target, temporary = self._folder / str(step), self._folder / f'{_TEMPORARY}{step}'
        leaves = {
            f'{collection}/{name}': _describe(leaf)
            for collection, tree in items.items()
            for name, leaf in _named_leaves(tree).items()
        }
        if _holds(target, leaves):
            return
        arguments = {name: ocp.args.PyTreeSave(tree) for name, tree in items.items()}
        arguments[_META] = ocp.args.JsonSave(meta | {'step': step, 'leaves': leaves})
        try:
            self._checkpointer.save(temporary, args=ocp.args.Composite(**arguments))
            manifest.write(temporary)
            if target.exists():
                _move_aside(target)
            temporary.rename(target)
            self._drop_old()
        except (OSError, ValueError) as error:
            raise errors.CheckpointError(
                f'the checkpoint of step {step} could not be written to {self._folder} '
                f'({_line(error)}). Look for free space there and for the right to write, and '
                'start the run again: it goes on from its last checkpoint'
            ) from error

    def _drop_old(self) -> None:
        if self._keep is None:
            return
        for step in steps(self._workdir)[: -self._keep]:
            doomed = self._folder / f'{_TEMPORARY}old-{step}'
            (self._folder / str(step)).rename(doomed)
            shutil.rmtree(doomed)


def steps(workdir) -> list[int]:
    """The whole steps of a run in order; [] where there is none. Reads manifests and sizes only."""
    return [
        step for step in folders(workdir) if not manifest.incomplete(_folder(workdir) / str(step))
    ]


def folders(workdir) -> list[int]:
    """The steps that have a folder, whole or damaged, in order; [] where there is none."""
    folder = _folder(workdir)
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return sorted(int(name) for name in names if name.isdecimal() and str(int(name)) == name)


def sound(workdir, step: int) -> bool:
    """Whether all of a step can be restored as it was saved; reads it, the optimizer too."""
    try:
        _read(_folder(workdir) / str(step), None, optimizer=True)
    except _Damage:
        return False
    return True


def restore(
    workdir, step: int | None = None, only: str | tuple[str, ...] | None = None
) -> tuple[int, Variables, Meta]:
    """(step, variables, meta): NumPy arrays led by the seed axis S, on any device, of any run.

    `only` names the collections to read, 'gammas' or ('gammas', 'params'), () for meta alone;
    nothing else is read from disk. Without it: all but the optimizer. `step` None is the newest
    sound step; one that is damaged is said on stderr and the next older taken. A step that was
    asked for is read or raises CheckpointError.

    `meta` has what the run wrote (`runs.meta`), `step`, and `leaves`: shape, dtype and CRC32 of
    every array by name, as in 'params/stem/kernel'.
    """
    numbers = folders(workdir)
    if not numbers:
        raise errors.CheckpointError(_nothing(workdir))
    only = (only,) if isinstance(only, str) else only
    if step is None:
        return _newest(workdir, numbers, only)
    if step not in numbers:
        raise errors.CheckpointError(
            f'{_folder(workdir)} has no step {step}: it has {_listed(numbers)}. Ask for one of '
            'those, or leave the step unset for the newest'
        )
    try:
        return step, *_read(_folder(workdir) / str(step), only)
    except _Damage as damage:
        others = [number for number in steps(workdir) if number != step]
        raise errors.CheckpointError(
            f'the checkpoint of step {step} in {_folder(workdir)} is damaged: {damage}. Ask for '
            f'another ({_listed(others)}), leave the step unset for the newest sound one, or copy '
            f'the folder {step} back from where it is whole'
        ) from damage


def restore_training(workdir) -> tuple[int, Variables, Meta] | None:
    """The newest sound step with `optimizer` among its collections; None where there is no step.

    Every collection comes back as nested dicts; a collection without leaves as none, but for the
    optimizer, which is then {}.
    """
    numbers = folders(workdir)
    if not numbers:
        if _folder(workdir).is_dir():
            _say(f'{_folder(workdir)} has no checkpoint: training starts at step 0')
        return None
    step, trees, meta = _newest(workdir, numbers, None, optimizer=True)
    return step, {OPTIMIZER: {}} | trees, meta


def _folder(workdir) -> pathlib.Path:
    return pathlib.Path(workdir).expanduser().absolute() / 'checkpoints'


def _newest(workdir, numbers, only, optimizer=False) -> tuple[int, Variables, Meta]:
    lost = []
    for step in reversed(numbers):
        try:
            variables, meta = _read(_folder(workdir) / str(step), only, optimizer)
        except _Damage as damage:
            lost.append(f'step {step} ({damage})')
            continue
        if lost:
            _say(f'{_folder(workdir)}: lost {"; ".join(lost)}. Step {step} is taken instead')
        return step, variables, meta
    raise errors.CheckpointError(
        f'no checkpoint in {_folder(workdir)} is sound: {"; ".join(lost)}. Copy them back from '
        'where they are whole; or move that folder away, and training starts again at step 0'
    )


def _read(folder: pathlib.Path, only, optimizer=False) -> tuple[Variables, Meta]:
    """The collections of one step and its meta, all checked; raises _Damage."""
    if problem := manifest.incomplete(folder) or manifest.damaged(folder, _META):
        raise _Damage(problem)
    meta = json.loads((folder / _META / _META_FILE).read_bytes())
    recorded: dict[str, dict[str, Any]] = {}
    for name, description in meta['leaves'].items():
        collection, _, leaf = name.partition('/')
        recorded.setdefault(collection, {})[leaf] = description
    if only is None:
        only = [name for name in recorded if optimizer or name != OPTIMIZER]
    for name in only:
        if name not in recorded:
            raise errors.CheckpointError(
                f'{folder} has no collection {name!r}: it has {", ".join(recorded)} '
                "(gammas are there unless the model's norm is none)"
            )
    return {name: _read_item(folder, name, recorded[name]) for name in only}, meta


def _read_item(folder: pathlib.Path, name: str, recorded: Mapping[str, Any]) -> Variables:
    """The arrays of one collection, restored as they were saved: by NumPy, with no device."""
    if problem := manifest.damaged(folder, name):
        raise _Damage(problem)
    checkpointer = ocp.Checkpointer(ocp.PyTreeCheckpointHandler())
    try:
        tree = checkpointer.restore(folder / name)
    except Exception as error:  # damaged files raise errors of every kind
        raise _Damage(f'{name} cannot be read: {_line(error)}') from error
    finally:
        checkpointer.close()
    found = _named_leaves(tree)
    if found.keys() != recorded.keys():
        raise _Damage(f'{name} has not the arrays that were saved')
    for leaf, array in found.items():
        if _describe(array) != recorded[leaf]:
            raise _Damage(f'{name}/{leaf} fails its CRC32')
    return tree


def _holds(folder: pathlib.Path, leaves: Mapping[str, Any]) -> bool:
    """Whether `folder` is a sound step with just these arrays."""
    try:
        return folder.exists() and _read(folder, None, optimizer=True)[1]['leaves'] == leaves
    except _Damage:
        return False


def _move_aside(folder: pathlib.Path) -> None:
    count = 0
    while (aside := folder.with_name(f'{_DAMAGED}{folder.name}-{count}')).exists():
        count += 1
    folder.rename(aside)
    _say(f'{folder} was damaged or other than what is saved now: it is kept as {aside.name}')


def _describe(leaf: np.ndarray) -> dict[str, Any]:
    data = np.ascontiguousarray(leaf).reshape(-1).view(np.uint8)
    return {'shape': list(leaf.shape), 'dtype': str(leaf.dtype), 'crc32': zlib.crc32(data)}


def _nested(tree) -> dict[str, Any]:
    """`tree` as nested dicts of copied arrays, all names strings, nothing without leaves."""
    nested: dict[str, Any] = {}
    for path, leaf in jax.tree.leaves_with_path(tree):
        *parents, name = _names(path)
        node = nested
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = np.array(leaf)
    return nested


def _named_leaves(tree) -> dict[str, Any]:
    return {'/'.join(_names(path)): leaf for path, leaf in jax.tree.leaves_with_path(tree)}


def _names(path) -> list[str]:
    return [jax.tree_util.keystr((key,), simple=True) for key in path]


def _nothing(workdir) -> str:
    workdir = pathlib.Path(workdir).expanduser().absolute()
    if not workdir.is_dir():
        return f'{workdir} is no folder: give the workdir of a run, as launch.train was given it'
    return (
        f'{_folder(workdir)} has no checkpoint: the run was stopped before its first, or this is '
        f'no workdir. Start it, or start it again (python -m launch.train --workdir={workdir}, '
        'with the flags of the run), or name another workdir'
    )


def _listed(numbers: list[int]) -> str:
    if len(numbers) > 10:
        numbers = [*numbers[:3], '...', *numbers[-3:]]
    return ', '.join(map(str, numbers)) or 'there is none'


def _line(error: Exception) -> str:
    return f'{type(error).__name__} {str(error).partition(chr(10))[0][:300]}'


def _say(line: str) -> None:
    print(f'warning: {line}', file=sys.stderr, flush=True)
