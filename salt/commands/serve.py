"""``main serve``: jets for trainings on other machines, or in containers without the files."""

import os
import sys
from argparse import RawDescriptionHelpFormatter

from salt.commands.words import Words
from salt.data.served import PARTS, TOKEN
from salt.errors import ConfigError

KEY = "main serve"
BIND = "127.0.0.1:8088"

DESCRIPTION = f"""\
Gives the jets of files to trainings, which name it by data.source in place of files, or -d:

  main serve --files.train 'train_*.h5' --files.val val.h5 --bind unix:jets.sock
  main fit --config gnn.yaml -d unix:jets.sock

These files are read and no others. Without --bind only programs of this machine can ask. Where others can, as with
--bind 0.0.0.0:8088, both sides need the same secret in the environment variable {TOKEN}.
It ends by Ctrl-C. A training waits for a server that ends and starts again, and goes on if the files are the same.
"""


def run(argv: list[str]) -> int:
    """Runs ``main serve`` with the words that follow it, until a signal ends it.

    Args:
        argv: For example ``["--files.train", "a.h5", "--bind", "unix:jets.sock"]``.

    Returns:
        The exit code.

    Raises:
        SaltError: A mistake of the user's.
        SystemExit: Help was asked for, or SIGTERM came.
    """
    parser = Words(KEY, description=DESCRIPTION, formatter_class=RawDescriptionHelpFormatter, allow_abbrev=False)
    for part in PARTS:
        words = f"what data.source gives for data.{part}_file: a file, a wildcard in quotes, or sample:{part}"
        parser.add_argument(f"--files.{part}", metavar="FILE", dest=part, help=words)
    parser.add_argument(
        "--bind", default=BIND, metavar="WHERE", help=f"where to listen: unix:PATH or HOST:PORT (default: {BIND})"
    )
    found = vars(parser.parse_args(argv))
    options = {part: found[part] for part in PARTS if found[part] is not None}
    if not options:
        raise ConfigError(f"{KEY}: no files; give at least one of {', '.join(f'--files.{part}' for part in PARTS)}")
    try:
        from salt.serve.app import Jets
        from salt.serve.listen import check_token, listening, serve
    except ImportError as error:
        raise ConfigError(f"{KEY} needs a further package ({error}); pip install 'salt-tagger[serve]'") from error
    from salt.serve.files import opened_files

    token = os.environ.get(TOKEN) or None
    check_token(found["bind"], token)
    with opened_files(options) as files, listening(found["bind"]) as (socket, source):
        for part, of_part in files.items():
            sys.stdout.write(f"{part}: {', '.join(str(file.path) for file in of_part)}\n")
        sys.stdout.write(f"serving at {source}; train with: main fit --data.source {source}\n")
        sys.stdout.flush()
        serve(Jets(files, token).app(), socket)
    return 0
