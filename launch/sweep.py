"""Trains many runs that differ in some fields, so many at a time, into one table.

    python -m launch.sweep --workdir=runs/depths --sweep=depths.toml --jobs=2 --config.seeds=3

depths.toml, keys in quotes, is all combinations of

    [grid]
    "config.model.depth" = [4, 8, 12]
    "config.model.norm" = ["batch", "none"]

or, under [list], lists of one length that go side by side. Config flags are what all runs have in
common. The file and every run of it are checked before the first begins; --dry_run lists them.

A run is a folder of W, named by what differs and a hash, and a workdir of launch.train. The same
command goes on where it was, after a signal (exit status 42) or whatever ended it: what is done is
left as it is, what still runs is waited for, and a larger file adds to what is there. Runs that
failed are listed with the end of their log, W/logs/<run>.log, and tried again with --retry.

Jobs at a time divide the cores or the devices of this machine between them. W/table.csv and
W/table.jsonl have a row a run: its config, its metrics at the end, and all that launch.analyze
--workdir=W measures of every run. Exit status 1 if a run failed, 3 if networks diverged.

--on=slurm submits an array, a training each, --jobs of them at a time: runs that wait in the queue
are not known here, so do not submit again while the array waits or runs. --on=tpu and --on=sky run
the sweep there. --dry_run then prints what would be submitted; launch.submit --help says more.
"""

import os
import pathlib
import shlex
import sys
import time

from absl import flags

from launch import flags as config_flags
from launch import main, places
from launch.schedulers import jobs
from resnet_dyn import backend, commands, errors, records

flags.adopt_module_key_flags(config_flags)
flags.adopt_module_key_flags(main)
places.define()
flags.adopt_module_key_flags(places)

_SWEEP = flags.DEFINE_string('sweep', None, 'the file of TOML that says which runs')
_JOBS = flags.DEFINE_integer('jobs', 1, 'runs at a time', lower_bound=1)
_RETRY = flags.DEFINE_boolean('retry', False, 'try runs that failed again')

PAUSE = 0.2  # seconds between two looks at the runs


def sweep(stop: main.Stop) -> int:
    workdir, base, place = main.workdir(), config_flags.given(), places.chosen()
    if not _SWEEP.value:
        raise flags.ValidationError(
            '--sweep is not given: name the file that says which runs, as in --sweep=depths.toml '
            '(--help shows one)'
        )

    from experiments.sweeps import files, members

    file = _file(workdir)
    rows = [config_flags.absolute(row) for row in files.read(file)]
    runs = members.make(workdir, base, rows)
    for path in (path for path in rows[0] if path in base):
        main.say(f'config.{path} is of the file, which wins over its flag')
    if place == 'slurm':
        return _as_array(workdir, runs, stop)
    if place != 'local':
        return _as_one(workdir, file, base, stop)
    if flags.FLAGS.dry_run:
        main.say('\n'.join(f'{one.name}\n    {shlex.join(_command(one))}' for one in runs))
        return main.DONE
    return _train(workdir, runs, stop)


def _file(workdir) -> pathlib.Path:
    """The file of the sweep; one that is not there may be in the workdir, as on other machines."""
    named = pathlib.Path(os.path.expanduser(_SWEEP.value))
    return named if named.exists() or not (workdir / named).exists() else workdir / named


def _as_array(workdir, runs, stop: main.Stop) -> int:
    """Hands the runs that are left to Slurm, an array of trainings."""
    os.environ['JAX_PLATFORMS'] = 'cpu'

    from experiments.sweeps import standing

    leave = (*standing.FINISHED, standing.RUNNING, *(() if _RETRY.value else (standing.FAILED,)))
    left = [one for one in runs if standing.of(one).state not in leave]
    if not left:
        main.say('no run is left to submit: without --on the same command writes the table')
        return main.DONE
    if not flags.FLAGS.dry_run:
        _make_folder(workdir)
        main.say(
            f'{len(left)} of {len(runs)} runs; submit no more while they wait or run; later, '
            'without --on, this writes the table'
        )
    at_once = _JOBS.value if flags.FLAGS['jobs'].present else None
    listed = [jobs.Command('train', one.workdir, tuple(one.flags)) for one in left]
    return places.run(listed, stop, at_once)


def _as_one(workdir, file: pathlib.Path, base, stop: main.Stop) -> int:
    """Hands the whole sweep to machines elsewhere, which get the file with the workdir."""
    if not flags.FLAGS.dry_run:
        _make_folder(workdir)
        if file.parent != workdir:
            records.write_bytes(workdir / file.name, file.read_bytes())
    words = [f'--sweep={file.name}', f'--jobs={_JOBS.value}']
    words += ['--retry'] if _RETRY.value else []
    words += [f'--config.{path}={value}' for path, value in base.items()]
    return places.run([jobs.Command('sweep', workdir, tuple(words))], stop)


def _train(workdir, runs, stop: main.Stop) -> int:
    """Brings the runs to their ends, those of them that can be; the exit status."""
    from experiments.sweeps import shares

    _make_folder(workdir)
    backend.keep_programs(workdir / 'programs')
    environment = {**os.environ, **commands.environment()}
    divided = shares.divide(min(_JOBS.value, len(runs)), environment)
    os.environ['JAX_PLATFORMS'] = 'cpu'  # of this process: devices are for the runs

    from experiments.sweeps import boards, pool, standing, tables

    board = boards.Board(runs, main.say, sys.stdout.isatty())
    going = pool.Pool(runs, _command, environment, divided, _RETRY.value, board.tell)
    asked = False
    while True:
        if stop() and not asked:
            asked = True
            main.say('stopping: the runs save themselves')
            for one in going.stop():
                main.say(f'{one.name} cannot be told, and goes on by itself')
        if not going.step():
            break
        board.look(going.standings)
        time.sleep(PAUSE)
    board.look(going.standings, last=True)
    for line in boards.failures(runs, going.standings):
        main.say(line)
    for file in tables.write(workdir, runs, going.standings):
        main.say(str(file))
    return _status(going.standings, standing, asked)


def _command(one) -> list[str]:
    """What trains a run: a process by itself, also where this one is one of several."""
    return [*commands.command('train'), f'--workdir={one.workdir}', '--processes=1', *one.flags]


def _make_folder(workdir) -> None:
    """Makes the folder of the sweep; RunError where it cannot be one."""
    if (workdir / 'config.json').exists():
        raise errors.RunError(
            f'{workdir} is the workdir of one run, and that of a sweep holds runs: name another'
        )
    try:
        (workdir / 'logs').mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise errors.RunError(
            f'the workdir {workdir} cannot be used ({error}): get the right to write and free '
            'space there, or name another'
        ) from error


def _status(standings, standing, asked: bool) -> int:
    """The exit status, whose reason the last line says."""
    by_state = {}
    for name, found in standings.items():
        by_state.setdefault(found.state, []).append(name)
    done = sum(len(by_state.get(state, ())) for state in standing.FINISHED)
    failed = by_state.get(standing.FAILED, ())
    said = f'{done} of {len(standings)} runs are done'
    if failed:
        said += f', {len(failed)} failed (--retry tries them again)'
    if diverged := by_state.get(standing.DIVERGED):
        said += f'; networks diverged in {", ".join(diverged)}'
    if unfinished := len(standings) - done - len(failed):
        said += f'; {unfinished} stopped with all saved, or not begun: start again to go on'
    main.say(said)
    if unfinished or (asked and done < len(standings)):
        return main.FAILED if failed and not asked else main.STOPPED
    if failed:
        return main.FAILED
    return main.DIVERGED if diverged else main.DONE


if __name__ == '__main__':
    main.run(sweep)
