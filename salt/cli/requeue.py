"""Asks Slurm to start this job again, from where its checkpoint is."""

import logging
import os
import subprocess

log = logging.getLogger(__name__)

INTERACTIVE = ("bash", "interactive")
"""Names of jobs that nobody wants to be started again."""


def is_batch_job() -> bool:
    """Whether this process is part of a job that Slurm can start again."""
    return "SLURM_JOB_ID" in os.environ and os.environ.get("SLURM_JOB_NAME") not in INTERACTIVE


def job_id() -> str:
    """The job, or the task of an array, as ``scontrol`` knows it."""
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        return f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    return os.environ["SLURM_JOB_ID"]


def requeue() -> bool:
    """Puts the job back into the queue; Slurm ends its processes soon after.

    Returns:
        Whether that went well; if not, a warning says why, and the training may as well go on.
    """
    command = ["scontrol", "requeue", job_id()]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        trouble = (done.stderr or done.stdout).strip() if done.returncode else ""
    except (OSError, subprocess.SubprocessError) as error:
        trouble = str(error)
    if trouble:
        log.warning("the state is saved, but job %s cannot be put back into the queue: %s", job_id(), trouble)
        return False
    log.info("the state is saved, and job %s is back in the queue", job_id())
    return True
