#!/bin/sh
# A real Slurm of one node on this machine, to try workflow/profiles/slurm: no systemd, no cluster.
#
#   apt-get install slurm-wlm munge              # Debian or Ubuntu, as root
#   sh workflow/slurm_node.sh start              # some seconds
#   .venv/bin/python workflow/make.py quick scores --profile slurm
#   sh workflow/slurm_node.sh stop
#
# Jobs find /etc/slurm/slurm.conf, a link to what is written in /tmp/xlt-slurm (SLURM_NODE_DIR). It has
# the machine's cores and memory, and one GPU by name only, so that jobs that ask for one run.
set -eu
dir=${SLURM_NODE_DIR:-/tmp/xlt-slurm}
conf="$dir/slurm.conf" known=/etc/slurm/slurm.conf

configure() {
    name=$(hostname -s)
    mkdir -p "$dir/state" "$dir/spool"
    cat > "$conf" <<CONF
ClusterName=one
SlurmctldHost=$name(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/slurmd.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=2
JobAcctGatherParams=OverMemoryKill
ReturnToService=2
SlurmctldTimeout=30
SlurmdTimeout=30
SchedulerParameters=sched_interval=2
GresTypes=gpu
NodeName=$name NodeAddr=127.0.0.1 CPUs=$(nproc --all) RealMemory=$(free -m | awk '/^Mem/ {print int($2 * 0.9)}') Gres=gpu:1
PartitionName=all Nodes=$name Default=YES MaxTime=INFINITE State=UP
CONF
    echo "Name=gpu File=/dev/null" > "$dir/gres.conf"
}

daemons() { # those that are not at work
    install -d -o munge -g munge /run/munge /var/log/munge
    pgrep -x munged > /dev/null || setpriv --reuid munge --regid munge --init-groups munged
    alive slurmctld || slurmctld
    alive slurmd || slurmd
}

alive() { [ -f "$dir/$1.pid" ] && kill -0 "$(cat "$dir/$1.pid")" 2> /dev/null; }

case ${1:-} in
start)
    if [ -e "$known" ] && [ "$(readlink "$known")" != "$conf" ]; then
        echo "$known is there: this machine has a Slurm already" >&2
        exit 1
    fi
    [ -f "$conf" ] || configure
    ln -sf "$conf" "$dir/gres.conf" /etc/slurm/
    daemons
    tries=0
    until sinfo -h -o %T 2> /dev/null | grep -Eq 'idle|mixed|allocated'; do
        tries=$((tries + 1))
        [ "$tries" -lt 60 ] || { echo "no node after 60 s: see $dir/*.log" >&2; exit 1; }
        sleep 1
    done
    sinfo
    ;;
stop)
    for daemon in slurmctld slurmd; do
        ! alive "$daemon" || kill "$(cat "$dir/$daemon.pid")"
    done
    ;;
*)
    echo "usage: sh workflow/slurm_node.sh start|stop" >&2
    exit 2
    ;;
esac
