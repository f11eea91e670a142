"""Checkpoints of a run, under `workdir/checkpoints/<step>/`: whole and sound, or refused aloud.

    <step>/params, gammas, batch_stats, optimizer   items of orbax, one a collection, led by S
    <step>/meta                                     JSON: what opens the rest without model code
    <step>/manifest.json                            size and CRC32 of every file, written last

A step is *whole* when every file of its manifest is there with its recorded size. It is *sound*
when it is the step that its folder says, of the run that goes on, and, of what is read, the CRC32
of every file and of every array agree too. What is not sound is *lost*: it is said, and never
taken. A disk that does not answer is asked again, and then is an error, not a loss. Readers
write nothing; `saving` writes, and `soundness` reads.
"""

from collections.abc import Mapping
from typing import Any

from resnet_dyn import commands, errors
from resnet_dyn.training import saving, soundness, step_folders

OPTIMIZER, DUE = soundness.OPTIMIZER, soundness.DUE

Writer = saving.Writer
steps, folders = step_folders.steps, step_folders.folders
Variables, Meta = soundness.Variables, soundness.Meta


def sound(workdir, step: int, expected: Mapping[str, Any] | None = None) -> bool:
    """Whether all of a step can be restored as it was saved; reads it, the optimizer too."""
    try:
        soundness.read(step_folders.place(workdir) / str(step), step, None, True, expected)
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
    numbers, folder = folders(workdir), step_folders.place(workdir)
    if step not in numbers:
        raise errors.CheckpointError(
            f'{folder} has no step {step}: it has {_listed(numbers)}. Ask for one of those, or '
            'leave the step unset for the newest'
            if numbers
            else _nothing(workdir)
        )
    try:
        return step, *soundness.read(folder / str(step), step, only, False, expected)
    except soundness.Lost as lost:
        others = [number for number in steps(workdir) if number != step]
        raise errors.CheckpointError(
            f'the checkpoint of step {step} in {folder} is lost: {lost}. Ask for '
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
        folder = step_folders.place(workdir)
        if folder.is_dir():
            step_folders.say(f'{folder} has no checkpoint: training starts at step 0')
        return None
    step, trees, meta = found
    return step, {OPTIMIZER: {}} | trees, meta


def _newest(workdir, only, optimizer, expected) -> tuple[int, Variables, Meta] | None:
    """The newest sound step, the lost ones said; None where there is no folder of a step."""
    folder = step_folders.place(workdir)
    step_folders.say_what_is_nearly_a_step(folder)
    for _ in range(step_folders.LISTINGS):
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
                step_folders.say(
                    f'{folder}: lost {step_folders.some(lost)}. Step {step} is taken instead'
                )
            return step, *found
        else:
            if not numbers:
                return None
            raise _none_sound(folder, lost, all_of_another_run=others == len(lost))
    raise step_folders.too_fast(workdir)


def _none_sound(folder, lost: list[str], all_of_another_run: bool) -> errors.CheckpointError:
    reasons = step_folders.some(lost)
    if all_of_another_run:
        return errors.CheckpointError(
            f'no checkpoint in {folder} is of this run: {reasons}. Either config.json was '
            'changed since, or that folder was: put back the one that was (the config of the '
            'checkpoints stands in their meta), or name another workdir for another run'
        )
    return errors.CheckpointError(
        f'no checkpoint in {folder} is sound: {reasons}. Copy them back from where they are '
        'whole; or move that folder away, and training starts again at step 0'
    )


def _nothing(workdir) -> str:
    folder = step_folders.place(workdir)
    workdir = folder.parent
    if not workdir.is_dir():
        return f'{workdir} is no folder: give the workdir of a run'
    return (
        f'{folder} has no checkpoint: the run was stopped before its first, or this is '
        f'no workdir. Start it, or start it again ({commands.said("train")} --workdir={workdir}, '
        'with the flags of the run), or name another workdir'
    )


def _listed(numbers: list[int]) -> str:
    if len(numbers) > 10:
        numbers = [*numbers[:3], '...', *numbers[-3:]]
    return ', '.join(map(str, numbers)) or 'there is none'
