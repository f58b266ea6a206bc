"""``main check``: all that is known of a training before any time of a GPU is spent."""

import os
import sys
from collections.abc import Sequence

from salt.errors import ConfigError

HELP = """\
usage: main check --config FILE [--config FILE ...] [--key value ...]

Sets the training up that main fit would begin with the same words, looks at its config, files and model, takes a few
steps on real batches, and lists all that is wrong or doubtful. Nothing is written: no run folder, no staged file, no
experiment. Options are those of main fit; main fit --help explains them. With --run.run_id a run is looked at that is
to be gone on with.

The last line is the verdict. The exit code is 0 without errors, 1 if files or surroundings have some, 2 if the config
has some.
"""


def run(argv: Sequence[str]) -> int:
    """Runs ``main check`` with the arguments that follow its name.

    Args:
        argv: For example ``["--config", "gnn.yaml"]``.

    Returns:
        The exit code.

    Raises:
        ConfigError: The command line cannot be taken apart.
    """
    if set(argv) & {"-h", "--help"}:
        sys.stdout.write(HELP)
        return 0
    from salt.cli.arguments import parse_flags

    arguments = parse_flags(argv)
    if arguments.print_config:
        raise ConfigError("main check prints no config; main fit --print_config does, with the same words")
    _begin()
    from salt.cli.check import check
    from salt.commands.check_report import exit_code, report

    found = check(arguments)
    sys.stdout.write(report(found))
    return exit_code(found)


def _begin() -> None:
    from salt.cli.lean import import_lightning
    from salt.cli.run import SDK_SETTINGS, quieten

    for key, value in SDK_SETTINGS.items():
        os.environ.setdefault(key, value)
    import_lightning()
    quieten()
