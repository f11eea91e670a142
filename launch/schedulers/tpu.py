"""TPUs of Google Cloud by queued resources: asked for, waited for, used by all their workers.

Workers find each other by what the machines know of themselves.
"""

import shlex
from typing import NamedTuple

from launch.schedulers import away, jobs

TOOL = 'gcloud'
MISSING = (
    'gcloud is not on the PATH: install the Google Cloud CLI (cloud.google.com/sdk/docs/install) '
    'and log in by gcloud auth login, or see what would run by --dry_run'
)
EXTRA = 'tpu'
TYPE = 'v5litepod-8'

_RUNTIMES = {  # images by how a type begins, as Google recommends them for JAX
    'v5p': 'v2-alpha-tpuv5',
    'v5lite': 'v2-alpha-tpuv5-lite',
    'v6e': 'v2-alpha-tpuv6e',
}
_RUNTIME = 'tpu-ubuntu2204-base'  # of all others


class Options(NamedTuple):
    """What is asked of the cloud; None is left to gcloud's own settings."""

    accelerator_type: str = TYPE
    zone: str | None = None
    project: str | None = None
    runtime_version: str | None = None
    spot: bool = False
    code: str | None = None


def plan(job: jobs.Job, options: Options) -> jobs.Plan:
    """Both scripts, the wheel, and the start of the one that runs here."""
    command = away.only(job, together=False)
    requirement, before = away.wheel(job, options.code, EXTRA)
    files = {
        job.logs / 'there.sh': away.there(job, command, requirement),
        job.logs / 'here.sh': away.here(job, _functions(job, command, options)),
    }
    return jobs.Plan(files, [*before, ['bash', str(job.logs / 'here.sh')]])


def _functions(job: jobs.Job, command: jobs.Command, options: Options) -> dict[str, str]:
    place = {'zone': options.zone, 'project': options.project}
    where = shlex.join(f'--{name}={value}' for name, value in place.items() if value is not None)
    at = f' {where}' if where else ''
    kind = options.accelerator_type
    known = [runtime for start, runtime in _RUNTIMES.items() if kind.startswith(start)]
    runtime = options.runtime_version or (known or [_RUNTIME])[0]
    asked = [f'--accelerator-type={kind}', f'--runtime-version={runtime}']
    asked += ['--spot'] if options.spot else []
    workers = 'all' if command.verb in jobs.TOGETHER else '0'
    return {
        'tpu': f'gcloud compute tpus "$@" {where} --quiet\n',
        'state': 'tpu queued-resources describe $name --format="value(state.state)" 2>/dev/null\n',
        'ask': f"""\
case $(state) in
  FAILED | SUSPENDED) give_back ;;  # of an earlier start
esac
if [ -z "$(state)" ]; then
  tpu queued-resources create $name --node-id=$name {shlex.join(asked)} || return
fi
while :; do
  case $(state) in
    ACTIVE) return 0 ;;
    FAILED | SUSPENDED)
      tpu queued-resources describe $name
      return 1
      ;;
  esac
  sleep 30
done
""",
        'gone': """\
local said
if said=$(tpu queued-resources describe $name --format="value(state.state)" 2>&1); then
  case $said in '' | *ACTIVE*) return 1 ;; esac
else
  case $said in *NOT_FOUND*) ;; *) return 1 ;; esac
fi
""",
        'fetch': """\
local new="$W/.fetch"
rm -rf "$new"
mkdir -p "$new/W" || return
tpu tpu-vm ssh $name --worker=0 \\
  --command="mkdir -p $home && { tar -C $home -cf - . || [ \\$? -eq 1 ]; }" > "$new/tar" &&
  tar -C "$new/W" --no-same-owner -xf "$new/tar" &&
  (
    cd "$new/W" &&
      find . -type d -exec mkdir -p "$W/{}" \\; &&
      find . ! -type d -exec mv -f {} "$W/{}" \\; &&
      [ -z "$(find . ! -type d)" ]
  )
local done=$?
rm -rf "$new"
return $done
""",
        'push': f"""\
local archive
archive=$(mktemp) &&
  tar -C "$W" --exclude=./.fetch -czf "$archive" . &&
  tpu tpu-vm scp "$archive" "$name:$name.tgz" --worker={workers} &&
  rm "$archive" &&
  tpu tpu-vm ssh $name --worker={workers} \\
    --command="mkdir -p $home && tar -C $home -xzf $name.tgz"
""",
        'run': f"""\
tpu tpu-vm ssh $name --worker={workers} --command="bash $home/{jobs.LOGS}/there.sh"
""",
        'give_back': 'tpu queued-resources delete $name --force\n',
        'by_hand': f"""\
echo "fetch by: gcloud compute tpus tpu-vm ssh $name --worker=0{at} \\
--command='tar -C $home -cf - .' > run.tar"
echo "delete by: gcloud compute tpus queued-resources delete $name --force{at}"
""",
    }
