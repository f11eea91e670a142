"""Saves the steps of a run in the background, and drops those that are not to be kept.

A step is written under another name, read back, and renamed when all of it is there, so that a
killed process leaves whole steps and rubbish that the next writer removes. That name is of one
writer: one that was taken for gone while it saved writes into nothing that is another's.
"""

import concurrent.futures
import contextlib
import os
import pathlib
import shutil
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from resnet_dyn import errors
from resnet_dyn.training import items, manifest, soundness, step_folders

_TEMPORARY, _DAMAGED = '.tmp-', 'damaged-'


class Writer:
    """Saves steps in the background, one at a time.

    `keep` N keeps the last N whole steps; those in `spared` are no part of them and stay, as does
    step 0: where the trajectory begins. `check` is called before anything on disk is touched, and
    may raise.
    """

    def __init__(
        self,
        workdir,
        keep: int | None = None,
        spared: Sequence[int] = (),
        check: Callable[[], None] = lambda: None,
    ):
        self._folder, self._keep, self._spared = step_folders.place(workdir), keep, {0, *spared}
        self._check, self._own = check, uuid.uuid4().hex[:8]
        check()
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            rubbish = [path for path in self._folder.iterdir() if _is_rubbish(path.name)]
        except OSError as error:
            raise errors.CheckpointError(
                f'{self._folder} cannot be written to ({error}): get the right to write there, or '
                'name another workdir'
            ) from error
        for path in rubbish:
            self._remove_rubbish(path)
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

    def _write(self, step: int, trees: soundness.Variables, meta: soundness.Meta) -> None:
        target = self._folder / str(step)
        temporary = self._folder / f'{_TEMPORARY}{step}-{self._own}'
        leaves = {
            f'{collection}/{name}': items.describe(leaf)
            for collection, tree in trees.items()
            for name, leaf in items.named_leaves(tree).items()
        }
        if soundness.holds(target, step, leaves):
            return
        self._check()
        try:
            if os.path.lexists(temporary):
                _remove(temporary)
            items.save(temporary, trees, meta | {'step': step, 'leaves': leaves})
            manifest.write(temporary)
            if not soundness.holds(temporary, step, leaves):
                raise items.FormatError('it does not read back as it was written')
            self._check()
            if os.path.lexists(target):
                _move_aside(target)
            temporary.rename(target)
        except (OSError, items.FormatError) as error:
            _remove_unfinished(temporary)
            self._check()  # who took over removes what we had begun
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
        whole = [step for step in step_folders.steps(self._folder.parent) if step <= newest]
        ours = [
            step
            for step in whole
            if step not in self._spared and soundness.fits(self._folder / str(step), step, run)
        ]
        for step in ours[: -self._keep]:
            old, doomed = self._folder / str(step), self._folder / f'{_TEMPORARY}old-{step}'
            self._check()
            try:
                old.rename(doomed)  # at once, so that no reader finds half of it
            except OSError as error:
                step_folders.say(f'the old checkpoint {old} cannot be removed ({error}): it stays')
                continue
            self._remove_rubbish(doomed)

    def _remove_rubbish(self, path: pathlib.Path) -> None:
        self._check()
        try:
            _remove(path)
        except OSError as error:
            step_folders.say(f'{path} is no longer needed and cannot be removed ({error})')


def _is_rubbish(name: str) -> bool:
    return name.startswith(_TEMPORARY) or items.UNFINISHED in name


def _remove(path: pathlib.Path) -> None:
    """Removes a folder or a file; of a link, the link and nothing that it leads to."""
    if path.is_symlink() or not path.is_dir():
        path.unlink()
    else:
        shutil.rmtree(path)


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
    step_folders.say(
        f'{folder} was damaged or other than what is saved now: it is kept as {aside.name}'
    )
