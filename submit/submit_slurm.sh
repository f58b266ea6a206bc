#!/usr/bin/env bash
# Trains on a cluster with Slurm, for as many jobs as it takes:
#   sbatch submit_slurm.sh                                    from submit/, with ARGUMENTS below
#   sbatch submit/submit_slurm.sh --config gn2.yaml           from anywhere; what follows is for `main fit`
#   sbatch --array=1-3 submit/submit_slurm.sh --config ...    three runs, with the seeds 1, 2 and 3
#
# ======================= Adapt this block. Options of sbatch on the command line win over it. =======================
#SBATCH --job-name=salt
##SBATCH --partition=gpu            (remove one # to use a line)
##SBATCH --account=myproject
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1         # processes on each node, one for each GPU
#SBATCH --gpus-per-node=1           # as many
#SBATCH --cpus-per-task=4           # for each process: itself and those that read for it
#SBATCH --time=24:00:00             # one job; 90 seconds before its end the state is saved and the job put back
# Leave these as they are.
#SBATCH --signal=SIGUSR1@90
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=/dev/null
# The environment, one of: a folder of a virtual environment, a conda environment, an apptainer image.
VENV="${VENV:-}"
CONDA="${CONDA:-}"
IMAGE="${IMAGE:-}"
# What to train where nothing follows the script.
ARGUMENTS=(--config gnn.yaml)
# ====================================================================================================================

set -euo pipefail
cd "${SLURM_SUBMIT_DIR:?this script is for sbatch: sbatch $0}"
if [ -f submit_slurm.sh ]; then cd ..; fi
mkdir -p logs/slurm
job="${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}"
exec >>"logs/slurm/$SLURM_JOB_NAME-$job.log" 2>&1
echo "job $job on $SLURM_JOB_NODELIST, start ${SLURM_RESTART_COUNT:-0}, $(date)"

main=(main)
set +u # What other people's scripts do to activate an environment may use variables that are not set.
if [ -n "$IMAGE" ]; then
    # There is no Slurm in a container, so what it would have Slurm do is done in its place below.
    requests="$PWD/logs/slurm/.requests-$job"
    mkdir -p "$requests"
    trap 'rm -rf "$requests"' EXIT
    printf '#!/bin/sh\ntouch "%s/requeue"\n' "$requests" >"$requests/scontrol"
    chmod +x "$requests/scontrol"
    export APPTAINERENV_PREPEND_PATH="$requests"
    main=(apptainer exec --nv --bind "$PWD" "$IMAGE" main)
elif [ -n "$CONDA" ]; then
    source "$(conda info --base)/etc/profile.d/conda.sh"
    conda activate "$CONDA"
elif [ -n "$VENV" ]; then
    source "$VENV/bin/activate"
elif ! command -v main >/dev/null && [ -f .venv/bin/activate ]; then
    source .venv/bin/activate
fi
set -u
if ! command -v "${main[0]}" >/dev/null; then
    echo "error: there is no command '${main[0]}' here; set VENV, CONDA or IMAGE at the top of submit_slurm.sh"
    exit 1
fi

if [ $# -gt 0 ]; then ARGUMENTS=("$@"); fi
if [ -n "${SLURM_ARRAY_TASK_ID:-}" ]; then ARGUMENTS=(--seed_everything "$SLURM_ARRAY_TASK_ID" "${ARGUMENTS[@]}"); fi
export SRUN_CPUS_PER_TASK="${SLURM_CPUS_PER_TASK:-1}" # srun would not ask for what the job has.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-$SRUN_CPUS_PER_TASK}"
# A signal that comes before Python can hear it waits, where `env` knows how to have it wait.
if env --block-signal=USR1 true 2>/dev/null; then main=(env --block-signal=USR1 "${main[@]}"); fi
srun --kill-on-bad-exit=1 "${main[@]}" fit "${ARGUMENTS[@]}"
if [ -n "$IMAGE" ] && [ -e "$requests/requeue" ]; then
    rm -rf "$requests"
    scontrol requeue "$SLURM_JOB_ID"
fi
