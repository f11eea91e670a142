"""Here and now: the command alone."""

import sys
from typing import NamedTuple

from launch.schedulers import jobs
from resnet_dyn import errors

TOOL = sys.executable
MISSING = 'this Python is gone from where it was'


class Options(NamedTuple):
    """There is nothing to ask for."""


def plan(job: jobs.Job, options: Options) -> jobs.Plan:
    """The command itself; ConfigError for several, which need somebody who queues them."""
    if len(job.commands) > 1:
        raise errors.ConfigError(
            f'{len(job.commands)} commands do not run in the place of this process: they need a '
            'scheduler'
        )
    return jobs.Plan({}, [job.commands[0].words()])
