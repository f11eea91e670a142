"""Machines that are asked for, used and given back, which share no disk with this one.

Two scripts: `there.sh` runs on each of them, brings a Python with the package, and the command;
`here.sh` runs on this machine and goes through

    fetch -> ask, push -> run, fetching now and then -> fetch -> give back

Machines that are gone afterwards, as the place says, were taken away: it asks for others, and the
run goes on from what was fetched last. Those that are there and do not answer, or whose command has
left no status, are kept, and said. A place says how each of these is done, as functions of bash;
`$W` is the workdir here, `$home` the same there.
"""

import shlex
import sys
from collections.abc import Mapping
from importlib import metadata

from launch import main
from launch.schedulers import jobs
from resnet_dyn import commands as forms
from resnet_dyn import errors

EVERY = 300  # seconds between two looks at what there is to fetch
TRIES = 10  # to fetch from machines that are there
PAUSE = 30  # seconds between two of them

_PYTHON = '3.12'
_VENV = '.resnet_dyn'


def home(job: jobs.Job) -> str:
    """The workdir there, below the home of the user."""
    return f'resnet_dyn_runs/{job.name}'


def only(job: jobs.Job, together: bool) -> jobs.Command:
    """The one command of a job; ConfigError where there are several, or processes of one that
    runs as a single process alone."""
    if len(job.commands) != 1:
        raise errors.ConfigError(
            f'{len(job.commands)} commands at once are for --on=slurm: submit one, or the sweep '
            'itself, which runs them there one after another'
        )
    (command,) = job.commands
    if together:
        jobs.check_together(command)
    return command


def wheel(job: jobs.Job, code: str | None, extra: str) -> tuple[str, list[list[str]]]:
    """(what pip installs there, commands that make it here) of the option `code`."""
    if code is not None:
        return jobs.one_line('--code', code), []
    if forms.installed():
        raise errors.ConfigError(
            'this package is installed, and the machines there need it too: say what pip installs '
            f"there by --code, as in --code='resnet_dyn[{extra}] @ git+https://..'"
        )
    file = f'resnet_dyn-{metadata.version("resnet_dyn")}-py3-none-any.whl'
    make = ['pip', 'wheel', '-q', '--no-deps', f'--wheel-dir={job.logs}', str(forms.folder())]
    return f'./{home(job)}/{jobs.LOGS}/{file}[{extra}]', [[sys.executable, '-m', *make]]


def there(job: jobs.Job, command: jobs.Command, requirement: str, more: str = '') -> str:
    """The script that runs on each machine; `more` are further words of shell."""
    words = [f'{_VENV}/bin/{forms.NAME}', command.verb, f'--workdir={home(job)}', *command.flags]
    status = f'{home(job)}/{jobs.LOGS}/status'
    lines = [
        '#!/usr/bin/env bash',
        'cd',
        f'rm -f {status}',
        '(',
        'set -e',
        'python3 -m pip install -q --user uv',
        f'python3 -m uv venv -q --allow-existing --python {_PYTHON} {_VENV}',
        f'python3 -m uv pip install -q --python {_VENV}/bin/python {shlex.quote(requirement)}',
        *job.setup,
        f'{shlex.join(words)}{more}',
        ')',
        'status=$?',
        f'echo $status > {status}',
        'exit $status',
    ]
    return '\n'.join(lines) + '\n'


def here(job: jobs.Job, functions: Mapping[str, str]) -> str:
    """The script that runs on this machine; `functions` has the bodies of ask, fetch, push, run,
    gone, give_back and by_hand (says how to fetch and to delete): lines of bash, each with its end.
    """
    defined = '\n'.join(
        f'{name}() {{\n{jobs.indented(body.splitlines(), 2)}}}' for name, body in functions.items()
    )
    return f"""#!/usr/bin/env bash
# {job.commands[0].verb} on machines that are asked for and given back. Started again, it goes on.
set -uo pipefail
name={job.name}
home={home(job)}
W={shlex.quote(str(job.workdir))}
status=

{defined}

fetch_now_and_then() {{
  trap 'kill $pause; exit' TERM
  while :; do
    sleep {EVERY} &
    pause=$!
    wait $pause
    fetch
  done
}}

bring() {{  # fetches; 1: the machines are gone, 2: they are there and cannot be reached
  for try in $(seq {TRIES}); do
    if fetch; then return 0; fi
    if gone; then return 1; fi
    sleep {PAUSE}
  done
  return 2
}}

end_jobs() {{
  trap - EXIT
  kill $(jobs -p) 2>/dev/null
  wait
}}

keep() {{
  end_jobs
  echo "the machines of $name are KEPT, and cost: $1."
  echo "The same command goes on with them, once none runs there. Or, by hand:"
  by_hand
  exit {main.FAILED}
}}

leave() {{
  end_jobs
  if [ -z "$status" ]; then
    bring
    if [ $? -eq 2 ]; then keep "what they have could not be fetched"; fi
  fi
  give_back
}}

trap leave EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
for start in $(seq 0 {job.max_restarts}); do
  bring  # from machines that are there still
  if [ $? -eq 2 ]; then keep "what they have could not be fetched"; fi
  rm -f "$W/{jobs.LOGS}/status"
  ask && push || exit 1
  fetch_now_and_then &
  fetching=$!
  run &
  wait $!
  kill $fetching
  wait $fetching
  bring
  case $? in
    0) status=$(cat "$W/{jobs.LOGS}/status" 2>/dev/null) ;;
    2) keep "what they have could not be fetched" ;;
  esac
  if [ -z "$status" ]; then
    gone || keep "the connection ended, and the command may run there still"
    echo "the machines are gone: others are asked for, and the run goes on"
    give_back
  elif [ "$status" -ne {main.STOPPED} ]; then
    exit "$status"
  fi
  status=
done
echo "not started again: it was {job.max_restarts} times already"
exit {main.STOPPED}
"""
