"""SkyPilot: GPUs of whatever cloud has them, by a YAML file; machines.yaml is that without the run.

The machines of a cluster are the processes of one program; that of rank 0 coordinates.
"""

import json
from typing import NamedTuple

from launch.schedulers import away, jobs

TOOL = 'sky'
MISSING = (
    "sky is not on the PATH: pip install 'skypilot[gcp]' (or aws, azure, lambda, ..) in an "
    'environment of its own, then sky check, or see what would run by --dry_run'
)
EXTRA = 'cuda'
GPUS = 'A100:1'
PORT = 8476  # of the coordinator


class Options(NamedTuple):
    """What is asked of the clouds; None is left to SkyPilot."""

    accelerators: str = GPUS
    nodes: int = 1
    infra: str | None = None
    spot: bool = False
    code: str | None = None


def plan(job: jobs.Job, options: Options) -> jobs.Plan:
    """The YAML, both scripts, the wheel, and the start of the one that runs here."""
    command = away.only(job, together=options.nodes > 1)
    requirement, before = away.wheel(job, options.code, EXTRA)
    rank = (
        f' --coordinator="$(head -n 1 <<< "$SKYPILOT_NODE_IPS"):{PORT}"'
        ' --num_processes="$SKYPILOT_NUM_NODES" --process_id="$SKYPILOT_NODE_RANK"'
    )
    yaml = task(job, options)
    files = {
        job.logs / 'sky.yaml': yaml,
        job.logs / 'machines.yaml': yaml.partition('run: |')[0],
        job.logs / 'there.sh': away.there(
            job, command, requirement, rank if options.nodes > 1 else ''
        ),
        job.logs / 'here.sh': away.here(job, _FUNCTIONS),
    }
    return jobs.Plan(files, [*before, ['bash', str(job.logs / 'here.sh')]])


def task(job: jobs.Job, options: Options) -> str:
    """The YAML of the task; strings are those of JSON, which YAML reads alike."""
    resources = {'accelerators': options.accelerators, 'infra': options.infra}
    lines = [f'  {name}: {json.dumps(value)}' for name, value in resources.items() if value]
    lines += ['  use_spot: true'] if options.spot else []
    listed = '\n'.join(lines)
    return f"""name: {job.name}
num_nodes: {options.nodes}
resources:
{listed}
file_mounts:
  ~/{away.home(job)}: {json.dumps(str(job.workdir))}
run: |
  bash ~/{away.home(job)}/{jobs.LOGS}/there.sh
"""


_FUNCTIONS = {
    'ask': f'sky launch --yes --cluster $name "$W/{jobs.LOGS}/machines.yaml"\n',
    'fetch': 'rsync -a "$name:$home/" "$W/"\n',
    'gone': """\
local said
said=$(sky status --refresh $name 2>&1) || return 1
case $said in *'Failed to refresh'*) return 1 ;; esac
case $(grep "^$name " <<< "$said") in *UP*) return 1 ;; esac
""",
    'push': ':  # file_mounts did\n',
    'run': f'sky exec $name "$W/{jobs.LOGS}/sky.yaml"\n',
    'give_back': 'sky down --yes $name\n',
    'by_hand': """\
echo "fetch by: rsync -a $name:$home/ FOLDER/"
echo "delete by: sky down $name"
""",
}
