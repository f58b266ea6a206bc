"""The console command ``main``: finds the verb and hands over to it, importing nothing heavy before."""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

HELP = """\
usage: main VERB [--config FILE] [--key value ...]

Trains jet taggers on HDF5 files of simulated jets.

  fit        train a model:            main fit --config gnn.yaml
  check      what a training would say and take, before it begins: main check --config gnn.yaml
  test       score a labelled file:    main test --config logs/RUN/config.yaml --data.test_file test.h5
  predict    score any file:           main predict --config logs/RUN/config.yaml --data.test_file data.h5
  validate   losses and metrics of a checkpoint on the validation file
  norm       normalisation and class weights of files: main norm train.h5 --out prep
  zoo        the models that come along, by name: main zoo list; main fit -m gn2
  simulate   make training, validation and test files with Pythia
  runs       list, show and compare trainings and their ancestry: main runs tree
  serve      give jets to trainings elsewhere: main serve --files.train train.h5 --bind unix:jets.sock
  stage      list or remove what lies on fast storage: main stage list /dev/shm/$USER
  export     write a model for reconstruction software: main export RUN -o tagger.onnx
  report     a page of results, with pictures and numbers: main report RUN
  backtest   results in slices of pt, run number or another variable: main backtest RUN --by pt
  compare    two prediction files, jet by jet: main compare A.h5 B.h5 --tolerance 1e-6
  rejection  c- and light-jet rejection of a prediction file: main rejection FILE --plot rejection.png

main VERB --help explains every option of a verb. main --version prints the version.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: The words after ``main``; those of the process if not given.

    Returns:
        The exit code: 0, 1 for a mistake in the data or surroundings, 2 for one in config or flags, 130 for Ctrl-C.
    """
    # `python salt/main.py` puts the package's own folder first, where `batch` or `data` would hide other modules.
    here = str(Path(__file__).resolve().parent)
    sys.path[:] = [p for p in sys.path if not p or str(Path(p).resolve()) != here]
    # A task, an encoder or a reader of the user's own lies where the command is given.
    sys.path.append(str(Path.cwd()))
    # Threads that wait for each other by spinning slow a training down several times where cores are shared.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from salt.errors import ConfigError, SaltError, unknown

    words = list(sys.argv[1:] if argv is None else argv)
    verb = words[0] if words else "--help"
    try:
        if verb in ("-h", "--help"):
            sys.stdout.write(HELP)
            return 0
        if verb == "--version":
            from salt import __version__

            sys.stdout.write(f"salt-tagger {__version__}\n")
            return 0
        known = _verbs()
        if verb not in known:
            raise ConfigError(unknown("verb", verb, known))
        return known[verb](words)
    except SaltError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2 if isinstance(error, ConfigError) else 1
    except MemoryError:
        sys.stderr.write("error: out of memory\n")
        return 1
    except SystemExit as stop:  # how the parser ends after --help
        return stop.code if isinstance(stop.code, int) else 0
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return 130
    except BrokenPipeError:  # `main ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _verbs() -> dict[str, Callable[[list[str]], int]]:
    def trainer(words: list[str]) -> int:
        from salt.cli.run import run

        return run(words[0], words[1:])

    def check(words: list[str]) -> int:
        from salt.commands.check import run

        return run(words[1:])

    def simulate(words: list[str]) -> int:
        from salt.commands.simulate import run

        return run(words[1:])

    def export(words: list[str]) -> int:
        from salt.commands.export import run

        return run(words[1:])

    def norm(words: list[str]) -> int:
        from salt.commands.norm import run

        return run(words[1:])

    def report(words: list[str]) -> int:
        from salt.commands.report import run

        return run(words[1:])

    def compare(words: list[str]) -> int:
        from salt.commands.compare import run

        return run(words[1:])

    def rejection(words: list[str]) -> int:
        from salt.commands.rejection import run

        return run(words[1:])

    def backtest(words: list[str]) -> int:
        from salt.commands.backtest import run

        return run(words[1:])

    def runs(words: list[str]) -> int:
        from salt.commands.runs import run

        return run(words[1:])

    def stage(words: list[str]) -> int:
        from salt.commands.stage import run

        return run(words[1:])

    def serve(words: list[str]) -> int:
        from salt.commands.serve import run

        return run(words[1:])

    def zoo(words: list[str]) -> int:
        from salt.commands.zoo import run

        return run(words[1:])

    trainers = dict.fromkeys(("fit", "validate", "test", "predict"), trainer)
    readers = {"compare": compare, "norm": norm, "rejection": rejection, "report": report, "runs": runs, "zoo": zoo}
    others = {"check": check, "export": export, "serve": serve, "simulate": simulate, "stage": stage}
    return {**trainers, **readers, **others, "backtest": backtest}


if __name__ == "__main__":
    sys.exit(main())
