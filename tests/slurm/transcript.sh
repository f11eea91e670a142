#!/usr/bin/env bash
# What a real Slurm of one node does with our jobs, as a transcript (docs/slurm.txt):
#
#   tests/slurm/transcript.sh PYTHON > docs/slurm.txt       as root, after
#   apt-get install slurm-wlm munge
#
# Names of this machine and its folders are not shown. Takes some ten minutes on two cores.
set -euo pipefail
python=${1:?a Python that has the package}
here=$(cd "$(dirname "$0")" && pwd)
checkout=$(cd "$here/../.." && pwd)
scratch=$(mktemp -d)
export JAX_PLATFORMS=cpu SLURM_TIME_FORMAT=%H:%M:%S
trap '"$here/node.sh" stop "$scratch/slurm"; rm -rf "$scratch"' EXIT
eval "$("$here/node.sh" start "$scratch/slurm")"
cd "$scratch"
export PYTHONPATH=$checkout
python() { "$python" "$@"; }

shown() {
  sed -u -e "s#$python#python#g" -e "s#$checkout#/checkout#g" -e "s#$scratch#/home/me#g" \
    -e "s#\b$(hostname)\b#localhost#g"
}

show() {  # a command as it is typed, and what it says
  printf '\n$ %s\n' "$1"
  eval "$1" 2>&1
}

wait_for() {  # the states of a job as they change, until it is done
  local state before=''
  printf '\n$ while sleep 1; do squeue -h -j %s -o "%%i %%T %%r"; done | uniq\n' "$1"
  while state=$(squeue -h -j "$1" -o '%i %T %r' 2> /dev/null) && [ -n "$state" ]; do
    if [ "$state" != "$before" ]; then printf '%s\n' "$state"; fi
    before=$state
    sleep 1
  done
}

small='--config.model.width=8 --config.data.train_size=256'
small="$small --config.log.every=100000 --config.log.tensorboard=false"
train="launch.train $small --config.model.depth=4 --config.train.steps=${STEPS:-400000} --config.checkpoint.every=200000"

transcript() {
  echo '# A run that is longer than its time limit. It is told to stop at least 20 seconds before that,'
  echo '# saves, goes back into the queue and goes on, until it is done.'
  show 'sinfo'
  show "python -m launch.submit --on=slurm --workdir=long --time=2 --signal_before=20 -- $train"
  show 'cat long/logs/long.sbatch'
  wait_for 2>/dev/null "$(squeue -h -o %i | tail -n 1)"
  show 'cat long/logs/slurm-*.txt'
  show 'scontrol show job 1 | grep -o -E "(JobState|Restarts|ExitCode|TimeLimit)=[^ ]*"'

  printf '\n# The same without Slurm, in one go: the same bits.\n'
  show "python -m launch.submit --on=local --workdir=once -- $train"
  show "python $here/same.py long once"

  printf '\n# What is cancelled does not come back.\n'
  show "python -m launch.submit --on=slurm --workdir=cancelled --time=10 -- $train"
  job=$(squeue -h -o %i | tail -n 1)
  until grep -q 'test loss' cancelled/logs/slurm-*.txt 2> /dev/null; do sleep 0.5; done
  show "scancel $job"
  wait_for "$job"
  show 'tail -n 3 cancelled/logs/slurm-*.txt'
  show "scontrol show job $job | grep -o -E '(JobState|Restarts)=[^ ]*'"

  printf '\n# A sweep is an array of jobs, two at a time.\n'
  printf '[grid]\n"config.model.depth" = [4, 5]\n"config.seed" = [0, 1]\n' > sweep.toml
  sweep="launch.sweep --sweep=sweep.toml --jobs=2 $small --config.train.steps=500"
  show 'cat sweep.toml'
  show "python -m launch.submit --on=slurm --workdir=many --time=5 -- $sweep"
  wait_for "$(squeue -h -o %F | tail -n 1)"
  show "python -m $sweep --workdir=many"
  show 'cut -c1-36 many/table.csv'

  printf '\n# Two tasks are two processes of one program, which find each other by Slurm.\n'
  two="launch.train $small --config.model.depth=4 --config.seeds=2 --config.train.steps=500"
  show "python -m launch.submit --on=slurm --workdir=two --time=4 --tasks=2 -- $two"
  wait_for "$(squeue -h -o %i | tail -n 1)"
  show 'cat two/logs/slurm-*.txt'
}

transcript | shown
