"""Whether the folder of a step may be taken, and what is in it when it may.

Sound is a folder that is whole, is the step that its name says, of the run that goes on, and, of
what is read, agrees with every CRC32: that of a file keeps damaged bytes from orbax, that of an
array is of what comes out of it. The rest is lost, for a reason in words. A disk that does not
answer is asked again, and then is an error: only bytes that disagree are damage.
"""

import json
import os
import pathlib
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from resnet_dyn import config, errors
from resnet_dyn.training import formats, items, manifest, totals

OPTIMIZER = 'optimizer'
DUE = 'due'  # true in the meta of a step at which what is due was not all done when it was saved

_PAUSES = (0.05, 0.2, 1.0)  # seconds before a disk that did not answer is asked again

_FORMS = {  # of what meta says, where it does
    **dict.fromkeys(('run', 'source', 'provenance', 'model', 'leaves', totals.META), dict),
    **dict.fromkeys(('input_shape', 'mean', 'std'), list),
    'classes': int,
    'survival': float,
    DUE: bool,
}

Variables = dict[str, Any]
Meta = dict[str, Any]


class Lost(Exception):
    """Why a step cannot be taken."""


class OtherRun(Lost):
    """The step is of another run than the one that goes on."""


class Gone(Lost):
    """The step was there when it was listed, and is there no more."""


def read(
    folder: pathlib.Path, step: int, only, optimizer=False, expected=None
) -> tuple[Variables, Meta]:
    """(collections, meta) of the folder of a step, all checked; raises Lost.

    `only` are the collections to read, None for all, the optimizer where asked for. `expected` is
    compared with the `run` of meta, as far as that says it.
    """
    return patiently(folder, lambda: _read_once(folder, step, only, optimizer, expected))


def is_whole(folder: pathlib.Path) -> bool:
    """Whether every file of the manifest is there in its size; raises Gone."""

    def look() -> bool:
        if problem := manifest.incomplete(folder):
            raise Lost(problem)
        return True

    try:
        return patiently(folder, look)
    except Gone:
        raise
    except Lost:
        return False


def holds(folder: pathlib.Path, step: int, leaves: Mapping[str, Any]) -> bool:
    """Whether `folder` is a sound step with just these arrays."""
    try:
        return read(folder, step, None, optimizer=True)[1]['leaves'] == leaves
    except Lost:
        return False


def fits(folder: pathlib.Path, step: int, expected: Mapping[str, Any] | None) -> bool:
    """Whether the meta of a whole folder is of this step, of this run; no array is read."""
    try:
        read(folder, step, (), expected=expected)
    except Lost:
        return False
    return True


def patiently(folder: pathlib.Path, look: Callable[[], Any]) -> Any:
    """look(), again after pauses while the disk does not answer; Gone if `folder` has gone."""
    for pause in (*_PAUSES, None):
        try:
            return look()
        except Lost as lost:
            if _has_gone(folder):
                raise Gone('it is there no more') from lost
            raise
        except (OSError, items.FormatError) as error:
            if _has_gone(folder):
                raise Gone('it is there no more') from error
            if pause is None:
                raise errors.CheckpointError(
                    f'{folder} could not be read ({items.line(error)}). That is no damage that a '
                    'checkpoint shows, so none older is taken for it: see that the disk answers '
                    'and that you may read there, and start again'
                ) from error
            time.sleep(pause)


def _read_once(folder, step, only, optimizer, expected) -> tuple[Variables, Meta]:
    if problem := manifest.incomplete(folder) or manifest.damaged(folder, items.META):
        raise Lost(problem)
    meta, recorded = _read_meta(folder)
    if meta.get('step') != step:
        raise Lost(f'its folder says step {step}, and what is in it is of step {meta.get("step")}')
    if problem := _misfit(meta, expected or {}):
        raise OtherRun(problem)
    if only is None:
        only = [name for name in recorded if optimizer or name != OPTIMIZER]
    for name in only:
        if name not in recorded:
            raise errors.CheckpointError(
                f'{folder} has no collection {name!r}: it has {", ".join(recorded)} '
                '(gammas are there where the model has norms, or trained scales of branches)'
            )
    trees = {name: _read_item(folder, name, recorded[name]) for name in only}
    if expected and (problem := _miscount(trees.get(OPTIMIZER, {}), step)):
        raise Lost(problem)
    return trees, meta


def _read_meta(folder: pathlib.Path) -> tuple[Meta, dict[str, dict[str, Any]]]:
    """The meta of a step, and its description of every leaf by collection and name."""
    try:
        text, recorded = (folder / items.META_FILE).read_bytes(), {}
    except (FileNotFoundError, NotADirectoryError) as error:  # and not in the manifest either
        raise Lost(f'{items.META_FILE} is missing') from error
    try:
        meta = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Lost(f'its meta is not what a run writes ({items.line(error)})') from error
    if why := formats.newer(meta):  # no damage: an older one is not taken in its place
        raise errors.CheckpointError(f'the checkpoint {folder} cannot be read: {why}')
    try:
        _check_forms(meta)
        for name, description in meta['leaves'].items():
            collection, _, leaf = name.partition('/')
            recorded.setdefault(collection, {})[leaf] = description
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Lost(f'its meta is not what a run writes ({items.line(error)})') from error
    return meta, recorded


def _read_item(folder: pathlib.Path, name: str, recorded: Mapping[str, Any]) -> Variables:
    """The arrays of one collection, restored as they were saved."""
    if not (folder / name).is_dir():
        raise Lost(f'{name} is missing')
    if problem := manifest.damaged(folder, name):
        raise Lost(problem)
    tree = items.restore(folder, name)
    found = items.named_leaves(tree)
    if found.keys() != recorded.keys():
        raise Lost(f'{name} has not the arrays that were saved')
    for leaf, array in found.items():
        if items.describe(array) != recorded[leaf]:
            raise Lost(f'{name}/{leaf} fails its CRC32')
    return tree


def _check_forms(meta: Any) -> None:
    """ValueError, naming the field, where meta is not of the forms that its readers take."""
    if not isinstance(meta, dict):
        raise ValueError(f'it holds a {type(meta).__name__}')
    said = [(name, meta.get(name), kind) for name, kind in _FORMS.items()]
    if isinstance(provenance := meta.get('provenance'), dict):
        said.append(('provenance.config', provenance.get('config'), dict))
    for name, value, kind in said:
        if value is not None and not isinstance(value, kind):
            raise ValueError(f'{name}={value!r:.60} is no {kind.__name__}')
    if not meta['leaves']:
        raise ValueError('it names no array')
    _check_totals(meta.get(totals.META))


def _check_totals(said: Mapping[str, Any] | None) -> None:
    if said is None:  # in checkpoints of earlier versions
        return
    sizes = {np.shape(part) for part in totals.from_json(said)}
    if len(sizes) > 1 or sizes == {()}:
        raise ValueError(f'{totals.META} are not one number a network')
    for name in ('steps', 'seconds'):
        if not isinstance(said.get(name, 0), int | float):
            raise ValueError(f'{totals.META}.{name}={said[name]!r:.60} is no number')


def _misfit(meta: Meta, expected: Mapping[str, Any]) -> str:
    """Why a checkpoint is not that of this run, in words; '' where it is.

    What one of the two does not say, or was left unset, is not compared: the fields of a config
    change with the version of the code.
    """
    there = config.renewed(meta.get('run') or _said_elsewhere(meta))
    wanted = json.loads(json.dumps(dict(expected)))
    other = [
        f'{name} is {there[name]!r} there and {value!r} here'
        for name, value in wanted.items()
        if there.get(name) is not None and there[name] != value
    ]
    return f'it is of another run: {", ".join(other[:3])}' if other else ''


def _said_elsewhere(meta: Meta) -> dict[str, Any]:
    """The `run` of a checkpoint from before there was one, as far as its provenance says it."""
    said = {'data.digest': (meta.get('source') or {}).get('digest')}
    for name, value in ((meta.get('provenance') or {}).get('config') or {}).items():
        inner = value if isinstance(value, Mapping) else {None: value}
        said |= {name if leaf is None else f'{name}.{leaf}': item for leaf, item in inner.items()}
    return said


def _miscount(optimizer: Mapping[str, Any], step: int) -> str:
    for name, leaf in items.named_leaves(optimizer).items():
        if name.rpartition('.')[2] == 'count' and (np.asarray(leaf) != step).any():
            return f'its optimizer has counted {np.unique(leaf).tolist()} steps, not {step}'
    return ''


def _has_gone(folder: pathlib.Path) -> bool:
    try:
        os.lstat(folder)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False
