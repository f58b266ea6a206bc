"""The parts of the comparison by name; each measures one thing and returns a piece of Markdown."""

from collections.abc import Callable, Mapping

from environments import PEER, ours, peer
from loading import loader
from processes import Usage, run
from summary import Spread, markdown, ratios
from trainings import Settings, memory, profile, step


def startup(settings: Settings) -> str:
    """The help of some commands, one after the other in each round."""
    commands = {
        f"{PEER}: salt fit --help": [peer("salt"), "fit", "--help"],
        "main fit --help": [ours("main"), "fit", "--help"],
        "main --help": [ours("main"), "--help"],
        "main simulate --help": [ours("main"), "simulate", "--help"],
        "main rejection --help": [ours("main"), "rejection", "--help"],
    }
    found: dict[str, list[Usage]] = {name: [] for name in commands}
    for number in range(settings.repeats + 1):
        for name, command in list(commands.items())[:: 1 if number % 2 == 0 else -1]:
            usage = run(command, settings.out / "startup" / "log.txt")
            if number:  # The first round fills the caches.
                found[name].append(usage)
    base = [usage.wall for usage in next(iter(found.values()))]
    rows = [
        (
            f"`{name}`",
            Spread.of([u.wall for u in used]),
            Spread.of([u.cpu for u in used]),
            ratios([u.wall for u in used], base),
        )
        for name, used in found.items()
    ]
    return markdown(("command", "seconds", "CPU seconds", f"times {PEER}'s"), rows)


PARTS: Mapping[str, Callable[[Settings], str]] = {
    "startup": startup,
    "loader": loader,
    "step": step,
    "memory": memory,
    "profile": profile,
}
