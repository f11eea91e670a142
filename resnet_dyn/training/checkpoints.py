"""Checkpoints of a run, under `workdir/checkpoints/<step>/`: whole and sound, or refused aloud.

    <step>/params, gammas, batch_stats, optimizer   items of orbax, one a collection, led by S
    <step>/meta                                     JSON: what opens the rest without model code
    <step>/manifest.json                            size and CRC32 of every file, written last

A step is *whole* when every file of its manifest is there with its recorded size. It is *sound*
when it is the step that its folder says, of the run that goes on, and, of what is read, the CRC32
of every file and of every array agree too. What is not sound is *lost*: it is said, and never
taken. A disk that does not answer is asked again, and then is an error, not a loss. A step is
written under another name, read back, and renamed when all of it is there, so that a killed
process leaves whole steps and rubbish that the next writer removes. Readers write nothing.
"""

import concurrent.futures
import contextlib
import os
import pathlib
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from resnet_dyn import errors
from resnet_dyn.training import items, manifest, soundness

OPTIMIZER = soundness.OPTIMIZER

_TEMPORARY, _DAMAGED = '.tmp-', 'damaged-'
_NEARLY = re.compile(r'[-+\s]*\d[\d_.]*\s*')  # what may have been meant as a step
_SAID = 3  # of a list in a message
_LISTINGS = 20  # how often the steps are listed again because one that was listed has gone

Variables = soundness.Variables
Meta = soundness.Meta


class Writer:
    """Saves steps in the background, one at a time.

    `keep` N keeps the last N whole steps; those in `spared` are no part of them and stay, as does
    step 0: where the trajectory begins.
    """

    def __init__(self, workdir, keep: int | None = None, spared: Sequence[int] = ()):
        self._folder, self._keep, self._spared = _folder(workdir), keep, {0, *spared}
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            rubbish = [path for path in self._folder.iterdir() if _is_rubbish(path.name)]
        except OSError as error:
            raise errors.CheckpointError(
                f'{self._folder} cannot be written to ({error}): get the right to write there, or '
                'name another workdir'
            ) from error
        for path in rubbish:
            _try_to_remove(path)
        self._thread = concurrent.futures.ThreadPoolExecutor(1, 'checkpoint')
        self._saving: concurrent.futures.Future | None = None

    def save(self, step: int, trees: Mapping[str, Any], meta: Mapping[str, Any]) -> None:
        """Starts to save; returns once `trees` are copied, so that their buffers may be reused.

        `trees` are pytrees of arrays by collection; a collection without leaves is left out, a
        leaf without elements is refused. `meta` is what JSON can say; its `run` is what
        `expected` is compared with when the step is restored. A step already there is left alone
        if it is sound and has the same arrays; else it is moved to `damaged-<step>-<n>`. What
        went wrong in the save before is raised here, or by `wait`.
        """
        self.wait()
        trees = jax.device_get(dict(trees))
        copies = {name: items.nested(tree) for name, tree in trees.items() if jax.tree.leaves(tree)}
        self._saving = self._thread.submit(self._write, int(step), copies, dict(meta))

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

    def _write(self, step: int, trees: Variables, meta: Meta) -> None:
        target, temporary = self._folder / str(step), self._folder / f'{_TEMPORARY}{step}'
        leaves = {
            f'{collection}/{name}': items.describe(leaf)
            for collection, tree in trees.items()
            for name, leaf in items.named_leaves(tree).items()
        }
        if soundness.holds(target, step, leaves):
            return
        try:
            if os.path.lexists(temporary):
                _remove(temporary)
            items.save(temporary, trees, meta | {'step': step, 'leaves': leaves})
            manifest.write(temporary)
            if not soundness.holds(temporary, step, leaves):
                raise items.FormatError('it does not read back as it was written')
            if os.path.lexists(target):
                _move_aside(target)
            temporary.rename(target)
        except (OSError, items.FormatError) as error:
            _remove_unfinished(temporary)
            raise errors.CheckpointError(
                f'the checkpoint of step {step} could not be written to {self._folder} '
                f'({items.line(error)}). Look for free space there and for the right to write, and '
                'start the run again: it goes on from its last checkpoint'
            ) from error
        self._drop_old(step, meta.get('run'))

    def _drop_old(self, newest: int, run: Mapping[str, Any] | None) -> None:
        """Of the steps up to the one just saved; a later one is not of this run, or was lost.

        One whose meta is of another step or run takes the place of none, and stays.
        """
        if self._keep is None:
            return
        whole = [step for step in steps(self._folder.parent) if step <= newest]
        ours = [
            step
            for step in whole
            if step not in self._spared and soundness.fits(self._folder / str(step), step, run)
        ]
        for step in ours[: -self._keep]:
            old, doomed = self._folder / str(step), self._folder / f'{_TEMPORARY}old-{step}'
            try:
                old.rename(doomed)  # at once, so that no reader finds half of it
            except OSError as error:
                _say(f'the old checkpoint {old} cannot be removed ({error}): it stays')
                continue
            _try_to_remove(doomed)


def steps(workdir) -> list[int]:
    """The whole steps of a run in order; [] where there is none. Reads manifests and sizes only."""
    for _ in range(_LISTINGS):
        with contextlib.suppress(soundness.Gone):
            return [
                step
                for step in folders(workdir)
                if soundness.is_whole(_folder(workdir) / str(step))
            ]
    raise _too_fast(workdir)


def folders(workdir) -> list[int]:
    """The steps that have a folder, whole or damaged, in order; [] where there is none.

    CheckpointError where `checkpoints` is there and is no folder.
    """
    folder = _folder(workdir)
    return sorted(int(name) for name in _names(folder) if _is_step(name))


def sound(workdir, step: int, expected: Mapping[str, Any] | None = None) -> bool:
    """Whether all of a step can be restored as it was saved; reads it, the optimizer too."""
    try:
        soundness.read(_folder(workdir) / str(step), step, None, True, expected)
    except soundness.Lost:
        return False
    return True


def restore(
    workdir,
    step: int | None = None,
    only: str | tuple[str, ...] | None = None,
    expected: Mapping[str, Any] | None = None,
) -> tuple[int, Variables, Meta]:
    """(step, variables, meta): NumPy arrays led by the seed axis S, on any device, of any run.

    `only` names the collections to read, 'gammas' or ('gammas', 'params'), () for meta alone;
    nothing else is read from disk. Without it: all but the optimizer. `step` None is the newest
    sound step; those that are lost are said on stderr and the next older taken. A step that was
    asked for is read or raises CheckpointError. `expected` is what the `run` of meta must say, as
    in `restore_training`.

    `meta` has what the run wrote (`runs.meta`), `step`, and `leaves`: shape, dtype and CRC32 of
    every array by name, as in 'params/stem/kernel'.
    """
    only = (only,) if isinstance(only, str) else only
    if step is None:
        newest = _newest(workdir, only, False, expected)
        if newest is None:
            raise errors.CheckpointError(_nothing(workdir))
        return newest
    numbers = folders(workdir)
    if step not in numbers:
        raise errors.CheckpointError(
            f'{_folder(workdir)} has no step {step}: it has {_listed(numbers)}. Ask for one of '
            'those, or leave the step unset for the newest'
            if numbers
            else _nothing(workdir)
        )
    try:
        return step, *soundness.read(_folder(workdir) / str(step), step, only, False, expected)
    except soundness.Lost as lost:
        others = [number for number in steps(workdir) if number != step]
        raise errors.CheckpointError(
            f'the checkpoint of step {step} in {_folder(workdir)} is lost: {lost}. Ask for '
            f'another ({_listed(others)}), leave the step unset for the newest sound one, or copy '
            f'the folder {step} back from where it is whole'
        ) from lost


def restore_training(
    workdir, expected: Mapping[str, Any] | None = None
) -> tuple[int, Variables, Meta] | None:
    """The newest sound step with `optimizer` among its collections; None where there is no step.

    Every collection comes back as nested dicts; a collection without leaves as none, but for the
    optimizer, which is then {}. `expected` (`runs.identity`) is what the `run` of meta must say,
    as far as it says it; the optimizer's counts must then be those of the step.
    """
    found = _newest(workdir, None, True, expected)
    if found is None:
        if _folder(workdir).is_dir():
            _say(f'{_folder(workdir)} has no checkpoint: training starts at step 0')
        return None
    step, trees, meta = found
    return step, {OPTIMIZER: {}} | trees, meta


def _folder(workdir) -> pathlib.Path:
    return pathlib.Path(os.path.expanduser(workdir)).absolute() / 'checkpoints'


def _names(folder: pathlib.Path) -> list[str]:
    if not os.path.lexists(folder):
        return []
    if not folder.is_dir():
        raise errors.CheckpointError(
            f'{folder} is a file, or a link that leads to no folder, and the checkpoints are to be '
            'in it: see that what it leads to is there, or move it away'
        )
    return soundness.patiently(folder, lambda: os.listdir(folder))


def _is_step(name: str) -> bool:
    return name.isdecimal() and str(int(name)) == name


def _say_what_is_nearly_a_step(folder: pathlib.Path) -> None:
    names = [name for name in _names(folder) if _NEARLY.fullmatch(name) and not _is_step(name)]
    if names:
        _say(
            f'{folder} has {_some([repr(name) for name in sorted(names)])}, which no step is '
            'written as (40 is), so they are passed over: rename those that are steps'
        )


def _newest(workdir, only, optimizer, expected) -> tuple[int, Variables, Meta] | None:
    """The newest sound step, the lost ones said; None where there is no folder of a step."""
    folder = _folder(workdir)
    _say_what_is_nearly_a_step(folder)
    for _ in range(_LISTINGS):
        numbers, lost, others = folders(workdir), [], 0
        for step in reversed(numbers):
            try:
                found = soundness.read(folder / str(step), step, only, optimizer, expected)
            except soundness.Gone:
                break
            except soundness.Lost as reason:
                others += isinstance(reason, soundness.OtherRun)
                lost.append(f'step {step} ({reason})')
                continue
            if lost:
                _say(f'{folder}: lost {_some(lost)}. Step {step} is taken instead')
            return step, *found
        else:
            if not numbers:
                return None
            raise _none_sound(folder, lost, all_of_another_run=others == len(lost))
    raise _too_fast(workdir)


def _none_sound(folder, lost: list[str], all_of_another_run: bool) -> errors.CheckpointError:
    if all_of_another_run:
        return errors.CheckpointError(
            f'no checkpoint in {folder} is of this run: {_some(lost)}. Either config.json was '
            'changed since, or that folder was: put back the one that was (the config of the '
            'checkpoints stands in their meta), or name another workdir for another run'
        )
    return errors.CheckpointError(
        f'no checkpoint in {folder} is sound: {_some(lost)}. Copy them back from where they are '
        'whole; or move that folder away, and training starts again at step 0'
    )


def _is_rubbish(name: str) -> bool:
    return name.startswith(_TEMPORARY) or items.UNFINISHED in name


def _remove(path: pathlib.Path) -> None:
    """Removes a folder or a file; of a link, the link and nothing that it leads to."""
    if path.is_symlink() or not path.is_dir():
        path.unlink()
    else:
        shutil.rmtree(path)


def _try_to_remove(path: pathlib.Path) -> None:
    try:
        _remove(path)
    except OSError as error:
        _say(f'{path} is no longer needed and cannot be removed ({error})')


def _remove_unfinished(temporary: pathlib.Path) -> None:
    """Gives back the space of a save that failed, as far as that can be."""
    for path in (temporary, temporary.with_name(f'{temporary.name}{items.UNFINISHED}')):
        with contextlib.suppress(OSError):
            _remove(path)


def _move_aside(folder: pathlib.Path) -> None:
    count = 0
    while os.path.lexists(aside := folder.with_name(f'{_DAMAGED}{folder.name}-{count}')):
        count += 1
    folder.rename(aside)
    _say(f'{folder} was damaged or other than what is saved now: it is kept as {aside.name}')


def _nothing(workdir) -> str:
    workdir = _folder(workdir).parent
    if not workdir.is_dir():
        return f'{workdir} is no folder: give the workdir of a run, as launch.train was given it'
    return (
        f'{_folder(workdir)} has no checkpoint: the run was stopped before its first, or this is '
        f'no workdir. Start it, or start it again (python -m launch.train --workdir={workdir}, '
        'with the flags of the run), or name another workdir'
    )


def _too_fast(workdir) -> errors.CheckpointError:
    return errors.CheckpointError(
        f'{_folder(workdir)} changes faster than it can be read: try again, or let the run that '
        'writes there keep more (config.checkpoint.keep)'
    )


def _listed(numbers: list[int]) -> str:
    if len(numbers) > 10:
        numbers = [*numbers[:3], '...', *numbers[-3:]]
    return ', '.join(map(str, numbers)) or 'there is none'


def _some(words: list[str]) -> str:
    """The first of many, and how many more there are."""
    more = len(words) - _SAID
    return '; '.join(words[:_SAID]) + (f'; and {more} more' if more > 0 else '')


def _say(line: str) -> None:
    print(f'warning: {line}', file=sys.stderr, flush=True)
