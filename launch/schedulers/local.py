"""Here and now: the command alone."""

import sys

from launch.schedulers import jobs
from resnet_dyn import errors

TOOL = sys.executable
MISSING = 'this Python is gone from where it was'


def plan(job: jobs.Job, options: None = None) -> jobs.Plan:
    """The command itself; ConfigError for several, which need somebody who queues them."""
    if len(job.commands) > 1:
        raise errors.ConfigError(
            f'{len(job.commands)} commands do not run in the place of this process: they need a '
            'scheduler'
        )
    return jobs.Plan({}, [job.commands[0].words()])
