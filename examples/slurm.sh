#!/bin/bash
# Trains on all nodes of a Slurm job, with one launcher on each:
#
#     sbatch --nodes 4 examples/slurm.sh
#
# Before the time limit, or if the job is preempted, the run is saved. A job that Slurm starts again goes on with it.

#SBATCH --job-name=scanline
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --time=04:00:00
#SBATCH --signal=TERM@60
#SBATCH --requeue
#SBATCH --no-kill
#SBATCH --output=scanline-%j.log

set -u

# A path that all nodes share.
run=${RUN:-$SLURM_SUBMIT_DIR/runs/slurm-$SLURM_JOB_ID}
port=$((20000 + SLURM_JOB_ID % 10000))

# The launchers meet here, on the first node. Without the wait, one of them would open the port itself.
scanline rendezvous --port "$port" &
place=$!
trap 'kill $place' EXIT
until (: > "/dev/tcp/127.0.0.1/$port") 2> /dev/null; do
    kill -0 $place || exit 1
    sleep 0.5
done

# --no-kill and --kill-on-bad-exit=0: the nodes that are left go on without one that is lost.
srun --no-kill --kill-on-bad-exit=0 --cpus-per-task="$SLURM_CPUS_PER_TASK" \
    scanline train mnist --set train.slices=8 --run "$run" \
    --nodes "1:$SLURM_JOB_NUM_NODES" --rendezvous "$(hostname):$port" --job "slurm-$SLURM_JOB_ID"
