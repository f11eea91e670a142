"""One process or several: flags that say which, JAX's distributed runtime, and ways out of it.

    --processes=N                                             N on this machine (`supervisor`)
    --coordinator=HOST:PORT --process_id=I --num_processes=N  this one is I of N, started by hand
    neither                                                   found out (`ranks`): Slurm, Open MPI,
                                                              a TPU pod; else this process alone

Every way out of a process of several goes past the others: at the end they wait for one another and
shut the runtime down together; one that fails says so first, so that none waits for it.
"""

import atexit
import os
import pathlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import NoReturn

from absl import flags

from launch import main, ranks, supervisor, teams
from resnet_dyn import errors

LEFT, CRASHED, PARENT = teams.LEFT, teams.CRASHED, teams.PARENT

_PROCESSES = flags.DEFINE_integer(
    'processes',
    None,
    'start so many processes on this machine, which make the run together; their logs are in '
    'WORKDIR/logs. 1: this one alone, whatever the environment says',
    lower_bound=1,
)
_COORDINATOR = flags.DEFINE_string(
    'coordinator', None, 'HOST:PORT at which process 0 of several, started by hand, listens'
)
_PROCESS_ID = flags.DEFINE_integer(
    'process_id', None, 'which of them this process is, from 0 on', lower_bound=0
)
_NUM_PROCESSES = flags.DEFINE_integer(
    'num_processes', None, 'how many they are, on all machines', lower_bound=1
)
_MAX_RESTARTS = flags.DEFINE_integer(
    'max_restarts',
    0,
    'with --processes: how often all of them are started again, from the last whole step, after '
    'one died or was stuck',
    lower_bound=0,
)
_STUCK_AFTER = flags.DEFINE_float(
    'stuck_after',
    300.0,
    'seconds after which one of several processes that is alive but does not move is named and all '
    'are ended; ten times as long while it compiles or evaluates. More than the longest single '
    'training step takes',
    lower_bound=1.0,
)

_LONGEST_SILENCE = 100  # seconds: JAX's own limit, behind ours
_START_TIMEOUT = 300  # seconds for all to be there
_BEATS = 5.0  # seconds in which each process is sure to give a sign of life
_FAREWELL = 10.0  # seconds that the lead, which keeps what is said, waits for the others


def run(job: Callable[[], int], stop: main.Stop, workdir: pathlib.Path, agreed: bool = True) -> int:
    """The exit status of `job()`, done by this process, or by several together.

    What cannot be is refused before JAX is imported. The process, or of several the lead, may be
    ended at any moment by a signal, but for what is unsaved; the others ask `stop()`. Where the
    processes have not `agreed` that they stop, one that does takes the others with it.
    """
    place = find(os.environ)
    if (_PROCESSES.value or 1) > 1:
        return supervisor.run(_PROCESSES.value, _MAX_RESTARTS.value, workdir, stop)
    main.at_any_moment(stop)
    if place is None:
        return job()
    _die_with_the_parent()
    return _together(job, stop, place, agreed)


def find(environment: Mapping[str, str]) -> ranks.Place | None:
    """This process's place among several by flags and environment; None where it is alone.

    Raises a flag error for what does not go together.
    """
    by_hand = {
        'coordinator': _COORDINATOR.value,
        'process_id': _PROCESS_ID.value,
        'num_processes': _NUM_PROCESSES.value,
    }
    missing = [name for name, value in by_hand.items() if value is None]
    if len(missing) < len(by_hand):
        return _by_hand(missing)
    if _PROCESSES.value == 1:
        return None
    found = ranks.found(environment)
    if found is not None and _PROCESSES.value is not None:
        raise flags.ValidationError(
            f'--processes={_PROCESSES.value} starts processes on this machine, and this one is '
            f'already one of several by {found.where}: leave the flag out, or set --processes=1 '
            'for each of them to work by itself'
        )
    if _MAX_RESTARTS.value and _PROCESSES.value is None:
        raise flags.ValidationError(
            f'--max_restarts={_MAX_RESTARTS.value} is for --processes=N, whose processes are '
            'started here: give that too, or leave it to what starts this process'
        )
    return found


def _by_hand(missing: list[str]) -> ranks.Place | None:
    if missing:
        raise flags.ValidationError(
            f'--{" and --".join(missing)} {"are" if missing[1:] else "is"} not given: a process '
            'started by hand needs --coordinator=HOST:PORT, --process_id=I and --num_processes=N, '
            'the first and the last the same for all'
        )
    if (_PROCESSES.value or 1) > 1 or _MAX_RESTARTS.value:
        name, value = 'max_restarts', _MAX_RESTARTS.value
        if (_PROCESSES.value or 1) > 1:
            name, value = 'processes', _PROCESSES.value
        raise flags.ValidationError(
            f'--{name}={value} is for processes that are started here, and --coordinator for one '
            'that is started by hand: leave one of them out'
        )
    return ranks.by_hand(_COORDINATOR.value, _PROCESS_ID.value, _NUM_PROCESSES.value)


def _together(job: Callable[[], int], stop: main.Stop, place: ranks.Place, agreed: bool) -> int:
    """`job()` as one of several processes, from the first greeting to the farewell."""
    import jax

    stuck_after = _STUCK_AFTER.value

    # its handler of SIGTERM would take the place of ours
    jax.config.update('jax_enable_preemption_service', False)
    # XLA:CPU runs what is dispatched in any order: two collectives could cross, and hang
    jax.config.update('jax_cpu_enable_async_dispatch', False)
    _greet(jax, place)
    from resnet_dyn import processes
    from resnet_dyn.processes import watch as watch_lib

    processes.set_limit(20 * stuck_after)
    watch = watch_lib.Watch(stuck_after, lambda verdict: _end(verdict, watch))
    watch.start()
    if processes.is_lead():
        main.at_any_moment(stop, lambda: _say_stopped(watch))
    else:
        main.when_asked(stop)
        main.be_silent()
    try:
        status = job()
        if status == main.STOPPED and not agreed:
            sys.exit(status)
        processes.doing('done, waiting for the others', processes.LONG)
        processes.barrier('the end of the run')
    except BaseException as error:
        _fail(error, watch)
        raise
    watch.close()
    jax.distributed.shutdown()
    return status


def _greet(jax, place: ranks.Place) -> None:
    try:
        jax.distributed.initialize(
            **place.given,
            initialization_timeout=_START_TIMEOUT,
            heartbeat_timeout_seconds=_LONGEST_SILENCE,
            shutdown_timeout_seconds=60,
        )
        jax.devices()  # all make their devices known to all, which waits for all
    except (jax.errors.JaxRuntimeError, RuntimeError, ValueError) as error:
        raise errors.ProcessError(
            f'the processes, by {place.where}, did not find one another '
            f'({errors.reason(error)}): see that all are started, with one coordinator that each '
            'machine can reach, and that proxy variables are unset'
        ) from error


def _say_stopped(watch) -> None:
    watch.tell('stopped by a signal, and all is saved', main.STOPPED)
    watch.all_told(_FAREWELL / 2)


def _fail(error: BaseException, watch) -> None:
    """Tells the others; when the interpreter goes, it does not wait for them as JAX would.

    An error may be due to another's death, which the watch then names: it ends this process.
    """
    from resnet_dyn import processes

    of_user = isinstance(error, errors.UserError | flags.Error | OSError)
    if isinstance(error, Exception) and not of_user and not watch.all_beat(_BEATS):
        time.sleep(2 * watch.silence)
    status = 1 if of_user else CRASHED
    if isinstance(error, errors.ProcessError):
        status = LEFT
    if isinstance(error, SystemExit) and isinstance(error.code, int):
        status = error.code
    stopped = main.STOPPED if status == main.STOPPED else LEFT
    watch.tell(str(error) if of_user else errors.reason(error), stopped)

    def leave():
        if processes.is_lead():
            watch.all_told(_FAREWELL)
        _exit(status)

    atexit.register(leave)  # before JAX's, which was registered earlier


def _end(verdict, watch) -> NoReturn:
    """The end of this process by its watch, whatever its main thread waits for."""
    from resnet_dyn import processes

    time.sleep(1.0)  # the main thread may be on its way out with words of its own
    print(f'{main.program()}: {verdict.text}', file=sys.stderr, flush=True)
    watch.tell(verdict.text, verdict.status)
    if processes.is_lead():
        watch.all_told(_FAREWELL / 10)
    _exit(CRASHED if processes.index() in verdict.guilty else verdict.status)


def _exit(status: int) -> NoReturn:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(status)


def _die_with_the_parent() -> None:
    """A process that a supervisor started does not outlive it, be that killed by SIGKILL."""
    parent = os.environ.get(PARENT, '')
    if not parent.isdecimal():
        return
    if sys.platform == 'linux':
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG

    def look():
        while os.getppid() == int(parent):
            time.sleep(1.0)
        _exit(LEFT)

    threading.Thread(target=look, name='parent', daemon=True).start()
