#!/usr/bin/env bash
# A Slurm of one node, this machine, without systemd: munged, slurmctld and slurmd, all in FOLDER.
#
#   apt-get install slurm-wlm munge            # Debian's packages; then, as root:
#   tests/slurm/node.sh start FOLDER           # prints what to set to use it
#   export SLURM_CONF=FOLDER/slurm.conf; sinfo
#   tests/slurm/node.sh stop FOLDER
set -euo pipefail
export PATH="$PATH:/usr/sbin:/sbin"
action=${1:?start or stop} folder=$(mkdir -p "${2:?a folder}" && cd "$2" && pwd)
export SLURM_CONF=$folder/slurm.conf

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("", 0)); print(s.getsockname()[1])'; }

start() {
  mkdir -p "$folder"/{state,spool,munge}
  chmod 755 "$folder" "$folder/munge"
  (umask 077; dd if=/dev/urandom of="$folder/key" bs=128 count=1 status=none)
  cat > "$SLURM_CONF" <<CONF
ClusterName=one
SlurmctldHost=$(hostname)(127.0.0.1)
SlurmctldPort=$(free_port)
SlurmdPort=$(free_port)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge/socket,cred_expire=5
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=bf_interval=3,sched_interval=3
KillWait=30
MinJobAge=3600
ReturnToService=2
NodeName=localhost NodeHostname=$(hostname) NodeAddr=127.0.0.1 CPUs=$(nproc) State=UNKNOWN
PartitionName=short Nodes=localhost Default=YES MaxTime=60 State=UP
CONF
  munged --force --socket="$folder/munge/socket" --key-file="$folder/key" \
    --pid-file="$folder/munge/pid" --log-file="$folder/munge/log" --seed-file="$folder/munge/seed"
  slurmctld
  slurmd -N localhost  # a name that processes of one program find each other by
  for _ in $(seq 60); do
    if sinfo -h -o %T 2>/dev/null | grep -qx idle; then
      echo "export SLURM_CONF=$SLURM_CONF"
      return
    fi
    sleep 0.5
  done
  tail -n 5 "$folder"/*.log >&2
  return 1
}

stop() {
  scancel --state=RUNNING --full --user="$(id -un)" 2>/dev/null || true
  for pid in slurmd.pid slurmctld.pid munge/pid; do
    if [ -f "$folder/$pid" ]; then kill "$(cat "$folder/$pid")" 2>/dev/null || true; fi
  done
}

"$action"
