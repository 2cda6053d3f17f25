#!/bin/bash
# Attribution of a pool as a Slurm job array, with no engine: each task makes its own part of the shards.
#
#     RUN=/shared/motive.yaml sbatch docs/jobs/slurm.sh
#     motive status /shared/motive.yaml          # from any machine that sees the files
#     motive score /shared/motive.yaml && motive select /shared/motive.yaml && motive export /shared/motive.yaml
#
# `out` (or `store.at`) has to be where all tasks see it. A task that is killed or requeued goes on from its last finished batch; one
# that is run again with another number of tasks breaks nothing, since a shard is made only once.
#SBATCH --job-name=motive
#SBATCH --array=0-15
#SBATCH --gpus-per-task=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=8
#SBATCH --mem=64G
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --output=motive-%A_%a.log
set -euo pipefail
exec "${MOTIVE:-motive}" index "${RUN:-motive.yaml}" --shard "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT"
