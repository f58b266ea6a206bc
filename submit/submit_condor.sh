#!/usr/bin/env bash
# What submit_condor.sub runs. All that there is to adapt is in that file.

set -euo pipefail
if [ -f submit_condor.sub ]; then cd ..; fi
mkdir -p logs/condor
job="${SALT_JOB#condor:}"
exec >>"logs/condor/salt-$job.log" 2>&1
echo "job $job on $(hostname), $(date)"

main=(main)
set +u # What other people's scripts do to activate an environment may use variables that are not set.
if [ -n "$IMAGE" ]; then
    main=(apptainer exec --nv "$IMAGE" main)
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
    echo "error: there is no command '${main[0]}' here; set venv, conda or image at the top of submit_condor.sub"
    exit 1
fi

ARGUMENTS=("$@")
if [ "$SALT_RUNS" -gt 1 ]; then ARGUMENTS=(--seed_everything $((${job#*.} + 1)) "${ARGUMENTS[@]}"); fi
if [ "${SALT_GPUS:-0}" -gt 1 ]; then ARGUMENTS=(--trainer.devices "$SALT_GPUS" "${ARGUMENTS[@]}"); fi
exec "${main[@]}" fit "${ARGUMENTS[@]}" # It shall get the signals itself.
