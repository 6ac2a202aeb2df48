#!/bin/bash
# A search on SLURM: Ray on every node of the allocation, the driver on the first.
#
#   MLFLOW_TRACKING_URI=http://your-server:5000 sbatch cluster/slurm.sh tune/studies/paper.yaml
#
# Submit it again after a timeout: the search resumes. Run it from the project's root on a file system that all nodes
# share; state lies in var/ there, or in $T5VQVAE_STATE.
#SBATCH --job-name=t5vqvae
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=32
#SBATCH --time=24:00:00
#SBATCH --exclusive
set -euo pipefail

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export PATH="$PWD/.venv/bin:$PATH" T5VQVAE_STATE="${T5VQVAE_STATE:-$PWD/var}" RAY_USAGE_STATS_ENABLED=0

# Other users reach these nodes: Ray asks for a token, which lies in the user's home, where all nodes read it.
export RAY_AUTH_MODE=token
ray get-auth-token --generate >/dev/null

# --exclusive matters: when its command ends, symmetric-run stops every Ray process of the user on these nodes.
# srun does not take the CPUs of a task from sbatch (Slurm 22.05): without its own word all of Ray may sit on one core.
srun --cpus-per-task="$SLURM_CPUS_PER_TASK" ray symmetric-run --address "$head:6379" --min-nodes "$SLURM_NNODES" \
  --num-cpus "$SLURM_CPUS_PER_TASK" --num-gpus "${SLURM_GPUS_ON_NODE:-0}" \
  -- python tune/search.py "$@"
