"""The workdir of a run: made, checked against the config when a run goes on, and opened.

    config.json      all values, code version, device, command, and what the networks need to know
                     of the data; written once, before the first step
    metrics.jsonl, dynamics.jsonl, events/, checkpoints/<step>/, records/, pictures/

A run goes on when every field that changes its result is as it was; it may be made longer. Nothing
in a workdir is ever overwritten by a run of another config.
"""

import fcntl
import json
import os
import pathlib
import time
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from resnet_dyn import config, errors, records
from resnet_dyn.data import datasets
from resnet_dyn.models import presets, seed_axis
from resnet_dyn.training import checkpoints, metrics, state

CONFIG, METRICS, DYNAMICS, EVENTS = 'config.json', 'metrics.jsonl', 'dynamics.jsonl', 'events'

_FACTS = ('classes', 'input_shape', 'train_size', 'source')
_LOCK, _TEMPORARY = '.lock', '.config.json.tmp'
_LOCK_TRIES, _LOCK_PAUSE = 20, 0.1  # a process that was just killed lets go in no time, not in none


class Run(NamedTuple):
    """A prepared run; `with` it, or close it, so that another process may go on with it."""

    workdir: pathlib.Path
    config: config.Config  # resolved, `train.seed_axis` settled
    total_steps: int
    finished: bool  # all is there: nothing to do, and nothing was changed
    lock: int | None

    def close(self) -> None:
        """Lets go of the workdir; the kernel does it for a process that dies."""
        if self.lock is not None:
            os.close(self.lock)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def check(workdir, cfg: config.Config) -> None:
    """Raises RunError if `cfg` cannot start or go on in `workdir`; reads little, writes nothing."""
    workdir = _absolute(workdir)
    _check_name(workdir)
    try:
        stored = _load(workdir)
        if stored is None:
            _check_free(workdir)
    except OSError as error:
        raise _no_access(workdir, error) from error
    if stored is not None:
        _check_config(workdir, stored, cfg)


def prepare(workdir, cfg: config.Config, dataset: datasets.Dataset) -> Run:
    """Makes the workdir of a run, or finds that the run there may go on, and locks it.

    `cfg` is validated, `dataset` loaded from it. Raises RunError, with nothing on disk changed, if
    `check` does, if the data are not those that the run began with, or if another process has the
    workdir. A finished run is returned as such, unlocked.
    """
    workdir = _absolute(workdir)
    run = _inspect(workdir, cfg, dataset)
    if run.finished:
        return run
    lock = _lock(workdir)
    try:
        run = _inspect(workdir, cfg, dataset)._replace(lock=lock)
        if not run.finished:
            _write_config(run, dataset)
    except BaseException:
        os.close(lock)
        raise
    return run


def identity(cfg: config.Config, digest: str) -> dict[str, Any]:
    """What tells a run from others, by name: what decides its steps, and the digest of its data."""
    return {**config.deciding(cfg), 'data.digest': digest}


def stored_identity(workdir) -> dict[str, Any]:
    """The identity of the run in `workdir`; {} where there is none."""
    stored = _load(_absolute(workdir))
    return identity(stored.config, stored.data['source']['digest']) if stored else {}


def meta(run: Run, dataset: datasets.Dataset) -> dict[str, Any]:
    """What goes into every checkpoint of a run, so that it opens without anything else."""
    return {
        'run': identity(run.config, dataset.source.digest),
        'model': config.to_dict(run.config)['model'],
        **_facts(dataset),
        'provenance': records.provenance(run.config, seed=run.config.seed),
    }


def read_config(workdir) -> config.Config:
    """The resolved config of the run in `workdir`; RunError where there is none."""
    return _load_present(_absolute(workdir)).config


def open_run(
    workdir, step: int | None = None, seed: int = 0
) -> tuple[nn.Module, dict[str, Any], dict[str, Any]]:
    """(model, variables, meta) of one network of a run, for `model.apply` and `stack.from_model`.

    `seed` is the index of the network, 0..S-1; `step` as in `checkpoints.restore`. Inputs go
    through `batches.normalise(inputs, meta['mean'], meta['std'])` first.
    """
    try:
        expected = stored_identity(workdir)
    except errors.RunError:  # a checkpoint opens without its config.json
        expected = {}
    _, variables, meta = checkpoints.restore(workdir, step, expected=expected)
    networks = len(jax.tree.leaves(variables)[0])
    if not 0 <= seed < networks:
        raise errors.RunError(
            f'seed={seed}: the run in {_absolute(workdir)} has {networks} networks, so it is one '
            f'of 0..{networks - 1}'
        )
    model = presets.from_config(config.part('model', meta['model']), classes=meta['classes'])
    return model, jax.tree.map(lambda leaf: jnp.asarray(leaf[seed]), variables), meta


def initial(workdir) -> dict[str, Any]:
    """The variables at step 0, made again from the seeds: NumPy arrays led by S, as restored."""
    stored = _load_present(_absolute(workdir))
    model = presets.from_config(stored.config.model, classes=stored.data['classes'])
    keys_S = state.keys(stored.config)
    return jax.device_get(state.initial_variables(model, keys_S, stored.data['input_shape']))


class _Stored(NamedTuple):
    """What `config.json` says."""

    config: config.Config
    total_steps: int
    data: dict[str, Any]
    everything: dict[str, Any]


def _inspect(workdir: pathlib.Path, cfg: config.Config, dataset: datasets.Dataset) -> Run:
    """The run that `cfg` starts or goes on with in `workdir`, not locked; writes nothing."""
    check(workdir, cfg)
    stored = _load(workdir)
    cfg = seed_axis.settle(cfg, stored and stored.config)
    total = config.total_steps(cfg, len(dataset.train.labels))
    if stored is not None:
        _check_source(workdir, stored.data['source'], dataset.source)
    expected = identity(cfg, dataset.source.digest)
    finished = stored is not None and _finished(workdir, total, expected)
    return Run(workdir, cfg, total, finished, lock=None)


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
    if workdir.exists() and {path.name for path in workdir.iterdir()} - {_LOCK, _TEMPORARY}:
        raise errors.RunError(
            f'{workdir} is not empty and has no {CONFIG}, so it is not the workdir of a run: name '
            'a folder that is empty or not there yet'
        )


def _check_config(workdir: pathlib.Path, stored: _Stored, cfg: config.Config) -> None:
    cfg = seed_axis.settle(cfg, stored.config)
    if changed := config.differences(stored.config, cfg):
        raise errors.RunError(
            f'{workdir} holds a run of another config: {"; ".join(changed)}. Give these fields '
            'their old values to go on with that run, or name another workdir for a new one'
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
        raise errors.RunError(
            f'the run in {workdir} began with other data: {before["name"]} of SHA-256 '
            f'{before["digest"][:12]}, and now {now.name} of {now.digest[:12]}. Set '
            'config.data.dir to the data that it began with, or name another workdir'
        )


def _finished(workdir: pathlib.Path, total: int, expected: dict[str, Any]) -> bool:
    lines = metrics.read(workdir / METRICS)
    done = bool(lines) and lines[-1]['step'] == total and 'test_accuracy' in lines[-1]
    return done and checkpoints.sound(workdir, total, expected)


def _lock(workdir: pathlib.Path) -> int:
    """A file descriptor that holds the lock of the workdir, which is made if it is not there."""
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        lock = os.open(workdir / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise _no_access(workdir, error) from error
    for _ in range(_LOCK_TRIES):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        except BlockingIOError:
            time.sleep(_LOCK_PAUSE)
        except OSError:  # a file system without locks: nothing to hold on to
            return lock
    os.close(lock)
    raise errors.RunError(
        f'another process is training in {workdir}: wait until it is done or stop it, or name '
        'another workdir'
    )


def _write_config(run: Run, dataset: datasets.Dataset) -> None:
    stored = _load(run.workdir)
    if stored is None:
        everything = records.provenance(run.config, seed=run.config.seed)
        everything['data'] = _facts(dataset)
    elif (stored.config, stored.total_steps) == (run.config, run.total_steps):
        return
    else:
        everything = stored.everything
    everything |= {'config': config.to_dict(run.config), 'total_steps': run.total_steps}
    temporary = run.workdir / _TEMPORARY
    with open(temporary, 'w') as file:
        json.dump(everything, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, run.workdir / CONFIG)


def _facts(dataset: datasets.Dataset) -> dict[str, Any]:
    return {
        'classes': int(dataset.classes),
        'input_shape': list(dataset.train.inputs.shape[1:]),
        'train_size': len(dataset.train.labels),
        'test_size': len(dataset.test.labels),
        'mean': dataset.mean.tolist(),
        'std': dataset.std.tolist(),
        'source': dataset.source._asdict(),
    }


def _load(workdir: pathlib.Path) -> _Stored | None:
    """What `config.json` says; None where there is none, RunError where it cannot be read."""
    path = workdir / CONFIG
    try:
        everything = json.loads(path.read_bytes())
        stored = config.from_dict(everything['config'])
        facts = {name: everything['data'][name] for name in _FACTS}
        return _Stored(stored, int(everything['total_steps']), facts, everything)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise errors.RunError(
            f'{path} is damaged, or of another version of the code ({error!r}). Put back a copy '
            'of it (the config stands in the meta of every checkpoint too), or name another workdir'
        ) from error


def _load_present(workdir: pathlib.Path) -> _Stored:
    stored = _load(workdir)
    if stored is None:
        raise errors.RunError(
            f'{workdir} has no {CONFIG}, so it is not the workdir of a run: give the folder that '
            'launch.train was given'
        )
    return stored


def _no_access(workdir: pathlib.Path, error: OSError) -> errors.RunError:
    return errors.RunError(
        f'the workdir {workdir} cannot be used ({error}): get the right to read and write there, '
        'or name another'
    )


def _absolute(workdir) -> pathlib.Path:
    return pathlib.Path(workdir).expanduser().absolute()
