"""The verbs of a Trainer: from YAML, environment and flags to a run."""
