"""The workdir of a run: made, checked against the config when a run goes on, and opened.

    config.json      what the run is, and every start that it had (`description`); written when all
                     is known that could keep the first step from being made
    metrics.jsonl, dynamics.jsonl, events/, checkpoints/<step>/, records/, pictures/

A run goes on when every field that changes its result is as it was; it may be made longer. Nothing
in a workdir is ever overwritten by a run of another config.

    start = look(workdir, cfg)           reads config.json, once; writes nothing
    with prepare(start, dataset) as run: locks; writes nothing else
        begin(run, dataset, step)        writes config.json
"""

import errno
import os
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax

from resnet_dyn import commands, config, errors, fields, records
from resnet_dyn.data import datasets
from resnet_dyn.models import presets, seed_axis, stack
from resnet_dyn.training import checkpoints, description, formats, locks, metrics

METRICS, DYNAMICS, EVENTS = 'metrics.jsonl', 'dynamics.jsonl', 'events'

_MENDS = {
    errno.ENAMETOOLONG: 'give it a shorter name',
    errno.ELOOP: 'mend the links on its way, which lead in a circle',
    errno.EACCES: 'get the right to read and write there',
    errno.EROFS: 'get the right to read and write there',
    errno.ENOSPC: 'free space there',
    errno.EDQUOT: 'free space there',
}
_BEFORE_A_RUN = {description.TEMPORARY, 'logs'}  # logs: of who starts it


class Start(NamedTuple):
    """What a start of a run finds in its workdir."""

    workdir: pathlib.Path
    config: config.Config  # `train.seed_axis` settled
    stored: description.Description | None  # of the run that is there
    finished: bool  # all is there: nothing to do, and nothing is to be changed


class Known(NamedTuple):
    """A run as its config.json has it."""

    config: config.Config
    identity: dict[str, Any]  # what its checkpoints are compared with


class Run(NamedTuple):
    """A run whose workdir is locked; `with` it, or close it, so that another may go on with it."""

    workdir: pathlib.Path
    config: config.Config
    total_steps: int
    stored: description.Description | None
    finished: bool  # another process brought it to its end meanwhile
    lock: locks.Lock | locks.Holder | None

    def check(self) -> None:
        """RunError where another process took the workdir; asked before anything is written."""
        if self.lock is not None:
            self.lock.check()

    def close(self) -> None:
        """Lets go of the workdir; the kernel does it for a process that dies."""
        if self.lock is not None:
            self.lock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def look(
    workdir, cfg: config.Config | None = None, changes: Mapping[str, Any] | None = None
) -> Start:
    """What a start of `cfg` finds in `workdir`; reads little, writes nothing.

    Without a `cfg` it is that of the run there, or the default where there is none, with
    `changes`, by dotted path. Raises RunError if it can neither start nor go on.
    """
    workdir = _absolute(workdir)
    _check_name(workdir)
    stored = _read(workdir)
    try:
        if stored is None:
            _check_free(workdir)
    except OSError as error:
        raise _no_access(workdir, error) from error
    if cfg is None:
        cfg = config.parse(changes) if stored is None else _changed(stored.config, changes or {})
    cfg = seed_axis.settle(cfg, stored and stored.config)
    if stored is None:
        return Start(workdir, cfg, stored, finished=False)
    _check_config(workdir, stored, cfg)
    checkpoints.folders(workdir)  # refuses what is no folder before the data are loaded
    return Start(workdir, cfg, stored, _finished(workdir, stored, cfg))


def prepare(start: Start, dataset: datasets.Dataset) -> Run:
    """Locks the workdir of a run that is to start or to go on, making the folder if need be.

    Raises RunError, with nothing on disk changed, if the data, loaded from `start.config`, are not
    those that the run began with, or if another process has the workdir or has changed the run.
    """
    workdir, stored = start.workdir, start.stored
    total = config.total_steps(start.config, len(dataset.train.labels))
    if stored is not None:
        _check_source(workdir, stored.data['source'], dataset.source)
    lock = _lock(workdir)
    try:
        if not description.unchanged(workdir, stored):
            raise errors.RunError(
                f'another process changed {workdir / description.NAME} meanwhile: start again'
            )
        finished = stored is not None and _finished(workdir, stored, start.config)
        return Run(workdir, start.config, total, stored, finished, lock)
    except BaseException:
        lock.close()
        raise


def begin(run: Run, dataset: datasets.Dataset, step: int) -> None:
    """Writes config.json: the run, and a segment that begins at `step`."""
    run.check()
    try:
        description.write(run.workdir, run.config, (step, run.total_steps), dataset, run.stored)
    except OSError as error:
        raise _no_access(run.workdir, error) from error


def identity(cfg: config.Config, digest: str) -> dict[str, Any]:
    """What tells a run from others, by name: what decides its steps, and the digest of its data."""
    return {**config.deciding(cfg), 'data.digest': digest}


def read(workdir) -> Known:
    """The run in `workdir`, by one look at its config.json; RunError where there is none."""
    stored = _read_present(workdir)
    return Known(stored.config, identity(stored.config, stored.data['source']['digest']))


def meta(run: Run, dataset: datasets.Dataset) -> dict[str, Any]:
    """What goes into every checkpoint of a run, so that it opens without anything else."""
    return {
        formats.KEY: formats.FORMAT,
        'run': identity(run.config, dataset.source.digest),
        'model': config.to_dict(run.config)['model'],
        'survival': run.config.train.survival,
        **description.facts(dataset),
        'provenance': records.provenance(run.config, seed=run.config.seed),
    }


def read_config(workdir) -> config.Config:
    """The config of the run in `workdir`; RunError where there is none."""
    return read(workdir).config


def open_run(
    workdir, step: int | None = None, seed: int = 0
) -> tuple[nn.Module, dict[str, Any], dict[str, Any]]:
    """(model, variables, meta) of one network of a run, for `model.apply` and `stack.from_model`.

    `seed` is the index of the network, 0..S-1; `step` as in `checkpoints.restore`. Inputs go
    through `batches.normalise(inputs, meta['mean'], meta['std'])` first.
    """
    try:
        expected = read(workdir).identity
    except errors.RunError:  # a checkpoint opens without its config.json
        expected = {}
    _, variables, meta = checkpoints.restore(workdir, step, expected=expected)
    networks = len(jax.tree.leaves(variables)[0])
    if not 0 <= seed < networks:
        raise errors.RunError(
            f'seed={seed}: the run in {_absolute(workdir)} has {networks} networks, so it is one '
            f'of 0..{networks - 1}'
        )
    part, survival = config.part('model', meta['model']), meta.get('survival', 1.0)
    model = presets.from_config(part, meta['classes'], survival)
    return model, jax.tree.map(lambda leaf: stack.array(leaf[seed]), variables), meta


def _changed(cfg: config.Config, changes: Mapping[str, Any]) -> config.Config:
    """The config with other values; one length given takes the place of the other."""
    if not changes:
        return cfg
    values = dict(fields.flatten(config.to_dict(cfg))) | changes
    if not changes.keys().isdisjoint(config.LENGTH):
        values |= {path: changes.get(path) for path in config.LENGTH}
    return config.from_dict(values)


def _check_name(workdir: pathlib.Path) -> None:
    name = str(workdir)
    try:
        name.encode()
    except UnicodeEncodeError:
        bad = 'is not UTF-8, and its name could not be printed'
    else:
        if '\0' not in name:
            return
        bad = 'holds the character NUL, which no path can'
    raise errors.RunError(f'the workdir {name!a} {bad}: rename that folder, or name another')


def _check_free(workdir: pathlib.Path) -> None:
    for path in (workdir, *workdir.parents):
        if path.exists() and not path.is_dir():
            raise errors.RunError(
                f'{path} is a file, and the workdir {workdir} has to be a folder: name another'
            )
    there = set(os.listdir(workdir)) if workdir.exists() else set()
    if not all(name in _BEFORE_A_RUN or locks.is_of_a_lock(name) for name in there):
        raise errors.RunError(
            f'{workdir} is not empty and has no {description.NAME}, so it is not the workdir of a '
            'run: name a folder that is empty or not there yet'
        )


def _check_config(
    workdir: pathlib.Path, stored: description.Description, cfg: config.Config
) -> None:
    """RunError where anything but the length of the run and neutral fields is not as it was."""
    if changed := config.differences(stored.config, cfg):
        raise errors.RunError(
            f'{workdir} holds a run of another config: {"; ".join(changed)}. Give these fields '
            'their old values to go on with that run, or leave all fields of the config out, and '
            'those of the run are taken; or name another workdir for a new one'
        )
    total = config.total_steps(cfg, stored.data['train_size'])
    if total < stored.total_steps:
        raise errors.RunError(
            f'the run in {workdir} is {stored.total_steps} steps long, and now {total}: a run may '
            f'be made longer, not shorter. Set config.train.steps={stored.total_steps} or more, '
            'or name another workdir'
        )


def _check_source(workdir: pathlib.Path, before, now: datasets.Source) -> None:
    if before['digest'] != now.digest:
        mend = 'Set config.data.dir to the data that it began with'
        if now.name in ('gaussians', 'digits'):  # made of the config, or of a package
            mend = (
                'Go on with the code and packages that it began with (config.json names the code)'
            )
        if now.name == 'text':
            mend = (
                f'It was {before["note"]}, and is {now.note}: go on with the text, or the version '
                'of Python, that it began with'
            )
        raise errors.RunError(
            f'the run in {workdir} began with other data: {before["name"]} of SHA-256 '
            f'{before["digest"][:12]}, and now {now.name} of {now.digest[:12]}. '
            f'{mend}, or name another workdir'
        )


def _finished(workdir: pathlib.Path, stored: description.Description, cfg: config.Config) -> bool:
    total = config.total_steps(cfg, stored.data['train_size'])
    lines = metrics.read(workdir / METRICS)
    done = bool(lines) and lines[-1]['step'] == total and 'test_accuracy' in lines[-1]
    expected = identity(cfg, stored.data['source']['digest'])
    return done and checkpoints.sound(workdir, total, expected)


def _lock(workdir: pathlib.Path) -> locks.Lock | locks.Holder:
    """The workdir for this process alone; it is made if it is not there."""
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        return locks.take(workdir)
    except OSError as error:
        raise _no_access(workdir, error) from error


def _read(workdir: pathlib.Path) -> description.Description | None:
    try:
        return description.read(workdir)
    except OSError as error:
        raise _no_access(workdir, error) from error


def _read_present(workdir) -> description.Description:
    workdir = _absolute(workdir)
    stored = _read(workdir)
    if stored is None:
        raise errors.RunError(
            f'{workdir} has no {description.NAME}, so it is not the workdir of a run: give the '
            f'folder that {commands.said("train")} was given'
        )
    return stored


def _no_access(workdir: pathlib.Path, error: OSError) -> errors.RunError:
    mend = _MENDS.get(error.errno, 'get the right to read and write and free space there')
    return errors.RunError(
        f'the workdir {workdir} cannot be used ({error}): {mend}, or name another'
    )


def _absolute(workdir) -> pathlib.Path:
    return pathlib.Path(os.path.expanduser(workdir)).absolute()
