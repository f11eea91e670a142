"""One job for each of many runs: a run that cannot be used is said, and the others go on."""

import pathlib
from collections.abc import Callable, Sequence

from launch import main
from resnet_dyn import errors

WORST = (main.DONE, main.DIVERGED, main.FAILED)  # of several statuses the last counts


def each(
    folders: Sequence[pathlib.Path], job: Callable[[pathlib.Path], int], stop: main.Stop
) -> int:
    """The exit status of `job(folder)` for all folders, one after the other.

    STOPPED once `stop()` is true; else the worst of all, and the last line names the runs that it
    is of.
    """
    statuses = {}
    for number, folder in enumerate(folders, 1):
        if stop():
            return main.STOPPED
        main.say(f'\n{folder} (run {number} of {len(folders)})')
        try:
            status = job(folder)
        except errors.UserError as error:
            main.say(f'FAILED: {" ".join(str(error).splitlines())}')
            status = main.FAILED
        if status == main.STOPPED:
            return main.STOPPED
        statuses[folder.name] = status
    worst = max(statuses.values(), key=WORST.index)
    if worst != main.DONE:
        names = ', '.join(name for name, status in statuses.items() if status == worst)
        what = 'failed' if worst == main.FAILED else 'without networks that are not finite'
        main.say(f'{what}: {names}')
    return worst
