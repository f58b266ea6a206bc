"""``main stage``: what lies on fast storage, and the removal of what nobody uses."""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from salt.data.space import in_words
from salt.data.staged import Staged, clean_staged, find_staged, storage_folder
from salt.errors import ConfigError, DataError, unknown

OPTION = "--data.move_files_temp"
NAMES = ("PL_DATA__MOVE_FILES_TEMP", "PL_FIT__DATA__MOVE_FILES_TEMP")
"""Where the environment names the folder for trainings."""

HELP = f"""\
list shows what trainings of yours have staged in a folder: what it is, its size, how many processes use it, and the
files that it was made from. clean removes what no process uses, which is what killed trainings have left; the next
training that uses the folder does so, too.

FOLDER may be left out if {OPTION} or the environment ({NAMES[0]}) names it.
"""


def run(argv: Sequence[str]) -> int:
    """Runs ``main stage`` with the arguments that follow its name.

    Args:
        argv: For example ``["list", "/dev/shm/me"]``.

    Returns:
        The exit code, 0.

    Raises:
        ConfigError: The command line is wrong, or no folder is named.
        DataError: There is no such folder.
        SystemExit: Help was asked for.
    """
    verbs = {"list": show, "clean": clean}
    parser = argparse.ArgumentParser(
        "main stage",
        f"main stage list|clean [FOLDER] [{OPTION} FOLDER]",
        HELP,
        exit_on_error=False,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("verb", metavar="list|clean", nargs="?", help="what to do")
    parser.add_argument("folder", metavar="FOLDER", nargs="?", help="folder on fast storage of this machine")
    parser.add_argument(OPTION, metavar="FOLDER", dest="option", help="the same, as it is given to main fit")
    try:
        found, rest = parser.parse_known_args(argv)
    except argparse.ArgumentError as error:
        raise ConfigError(f"{error}; see main stage --help") from None
    if rest:
        raise ConfigError(f"main stage does not know '{rest[0]}'; see main stage --help")
    if found.verb is None:
        raise ConfigError("main stage: list or clean? see main stage --help")
    if found.verb not in verbs:
        raise ConfigError("main stage: " + unknown("verb", found.verb, verbs))
    sys.stdout.write(verbs[found.verb](_folder(found.folder or found.option, os.environ)))
    return 0


def show(folder: Path) -> str:
    """A line for each thing that lies staged in a folder."""
    found = find_staged(folder)
    if not found:
        return f"nothing is staged in {folder}\n"
    total = in_words(sum(one.size for one in found))
    return "".join([f"{len(found)} staged in {folder}, {total}\n", *(_line(one) for one in found)])


def clean(folder: Path) -> str:
    """Removes what nobody uses; says what that was, and what is left."""
    removed, left = clean_staged(folder), find_staged(folder)
    total = in_words(sum(one.size for one in removed))
    text = [f"removed {len(removed)}, {total}\n" if removed else f"nothing to remove in {folder}\n"]
    text += [_line(one) for one in removed]
    if left:
        text += [f"left {len(left)} in use\n", *(_line(one) for one in left)]
    return "".join(text)


def _folder(given: str | None, environ: Mapping[str, str]) -> Path:
    named = given or next((environ[name] for name in NAMES if environ.get(name)), None)
    if named is None:
        raise ConfigError(
            "main stage: which folder? name the one that trainings get by data.move_files_temp, such as "
            "main stage list /dev/shm/$USER"
        )
    folder = storage_folder(named)
    if not folder.is_dir():
        raise DataError(f"main stage: there is no folder {folder}")
    return folder


def _line(one: Staged) -> str:
    if one.contents is None:
        words = ["being made or removed" if one.held else "incomplete", in_words(one.size), _use(one)]
    else:
        first, *others = one.contents.files
        source = first + (f" and {len(others)} more" if others else "")
        words = [one.contents.stage, in_words(one.size), _use(one), f"made {one.contents.made}", f"of {source}"]
    return f"  {one.path.name}: {', '.join(words)}\n"


def _use(one: Staged) -> str:
    if not one.held:
        return "used by nobody"
    if not one.users:
        return "in use"
    return f"used by {len(one.users)} process{'es' * (len(one.users) > 1)} ({' '.join(map(str, one.users))})"
