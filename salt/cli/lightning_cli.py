"""LightningCLI with our layers of configs beneath it, and a run folder for a fit."""

import logging
import os
import sys
import time
from argparse import ArgumentError
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import Namespace, add_instantiator
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from salt.adversarial import AdversarialTagger
from salt.adversary import Adversary
from salt.callbacks.early_stopping import EarlyStopping
from salt.cli.arguments import Arguments, Layers, merge_layers, read_environment
from salt.cli.assemble import check_compiler, make_run_folder, trainer_arguments
from salt.cli.attempt import open_run, say_start
from salt.cli.configs import CONFIG_FORMAT, FORMAT_KEY, load_config, load_model, zoo
from salt.cli.devices import global_rank, settle_devices
from salt.cli.ending import say_end
from salt.cli.gpus import warn_of_other_users
from salt.cli.loggers import prepare_loggers, settle_loggers
from salt.cli.merge import Tree, finish, with_names
from salt.cli.messages import check_specs, plain, unknown_option
from salt.cli.run import RunState
from salt.cli.samples import samples_to_score
from salt.cli.scores import print_scores
from salt.cli.scoring import Scoring, scoring
from salt.cli.short_forms import help_text
from salt.cli.start import Start, choose_start, config_of_run, without_source
from salt.cli.which_tagger import make_tagger
from salt.data.datamodule import JetDataModule
from salt.errors import ConfigError
from salt.files import write_text
from salt.optim import Constant, Cosine, OneCycle
from salt.optim.averaging import Which
from salt.runs.configs import differences, read_config
from salt.runs.folder import LAST
from salt.runs.options import SOURCE_OPTIONS, RunOptions
from salt.training import Tagger
from salt.words import set_level

log = logging.getLogger(__name__)

LINKED = ("model.inputs", "model.name", "model.compile")
"""Options that are set from others and never given."""


class SaltCLI(LightningCLI):
    """Builds datamodule, model and trainer from one merged config.

    Args:
        verb: ``fit``, ``validate``, ``test`` or ``predict``.
        arguments: The command line.
        state: Filled in for whoever tidies up after a failure.
    """

    def __init__(self, verb: str, arguments: Arguments, state: RunState) -> None:
        self.verb = verb
        self.arguments = arguments
        self.state = state
        self.scoring: Scoring | None = None
        self.start = Start()
        self.command = ["main", verb, *arguments.words]
        super().__init__(
            AdversarialTagger,
            JetDataModule,
            save_config_callback=None,
            trainer_class=Trainer,
            seed_everything_default=42,
            parser_kwargs={"exit_on_error": False, verb: {"exit_on_error": False}},
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            run=True,
        )

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]
        """The verb in hand alone, since the parser of each verb takes a while to build."""
        return {self.verb: super().subcommands()[self.verb]}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Adds what concerns neither data, model nor trainer alone."""
        add_instantiator(make_tagger, AdversarialTagger, subclasses=False)  # Whose options are those of all models.
        parser.add_argument("--name", type=str, default="salt", help="Name of the model: of its runs and its columns.")
        parser.add_argument(
            "--compile", type=bool, default=False, help="Compile the model with torch.compile: minutes at the start."
        )
        parser.add_argument("--quiet", type=bool, default=False, help="Say warnings, errors and the last line only.")
        if self.verb != "fit":
            parser.add_argument(
                "--weights",
                type=Which | None,
                default=None,
                help="Which weights of a checkpoint that has averages (EMA); null: the averages, if there are any.",
            )
        parser.add_argument("--run", type=RunOptions, default=RunOptions())
        parser.link_arguments("name", "model.name")
        parser.link_arguments("compile", "model.compile")
        parser.link_arguments("data.inputs", "model.inputs")

    @property
    def options(self) -> list[str]:
        """All options of the verb that a config can set."""
        actions = self._parser(self.verb)._actions
        names = [a.dest for a in actions if a.dest not in ("help", "config", "print_config", *LINKED)]
        schedules = {f"model.lrs_config.{each.name}" for cls in (OneCycle, Cosine, Constant) for each in fields(cls)}
        against = [f"model.adversary.{each.name}" for each in fields(Adversary)]
        return [n for n in (*names, *sorted(schedules), *against) if not n.endswith(".help")]

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Merges all layers and has the parser check the result."""
        if self.arguments.help:
            try:
                parser.parse_args([self.verb, *self.arguments.help])
            except ArgumentError as error:
                raise ConfigError(" ".join(str(error).split())[:300]) from None
            finally:
                if self.arguments.help == ("--help",):
                    sys.stdout.write(f"\n{help_text()}\n")
        layers = self._layers()
        tree, run = layers.tree, layers.run
        ckpt_path = tree.pop("ckpt_path", None)
        overwrite = bool(tree.pop("overwrite", False))
        set_level(global_rank(os.environ), quiet=tree.pop("quiet", False) is True)
        self._named = tree
        tree = without_source(finish(tree), self.start)
        if self.verb != "fit":
            self.scoring = scoring(self.verb, tree, run, ckpt_path, layers.asked, overwrite)
            tree = self.scoring.tree
        tree = settle_devices(tree, layers.asked, os.environ)
        tree = settle_loggers(tree)
        self.config = self._parsed(parser, tree)
        self.config[self.verb]["ckpt_path"] = str(self.scoring.ckpt_path) if self.scoring else self.start.state

    def _parsed(self, parser: LightningArgumentParser, tree: Tree) -> Namespace:
        """What the parser makes of the merged config."""
        check_specs(tree)
        if not _get(tree, "model", "tasks"):
            names = ", ".join(zoo())
            raise ConfigError(f"no model is described; name one with --config, such as --config gnn.yaml ({names})")
        try:
            found: Namespace = parser.parse_object(Namespace(subcommand=self.verb, **{self.verb: tree}))
        except ArgumentError as error:
            raise plain(str(error), tree, self.options) from None
        return found

    def _layers(self) -> Layers:
        trees = [load_config(name)[0] for name in self.arguments.configs]
        if self.arguments.model is not None:
            trees.append(load_model(self.arguments.model))
        environment = read_environment(self.options, trees, self.verb)
        layers = merge_layers(self.arguments, environment)
        self._check_options(layers.tree)
        beneath = self._beneath(layers.tree)
        if beneath is None:
            return layers
        return merge_layers(replace(self.arguments, configs=(str(beneath), *self.arguments.configs)), environment)

    def _check_options(self, tree: Tree) -> None:
        """Refuses what the parser would not even be asked about before runs are looked for."""
        known = set(self.options) | {"ckpt_path", "overwrite"}
        known |= {key.split(".")[0] for key in known}
        run = tree.get("run")
        for key in [*tree, *(f"run.{key}" for key in (run if isinstance(run, Mapping) else {}))]:
            if key not in known:
                raise unknown_option(key, self.options)

    def _beneath(self, tree: Tree) -> Path | None:
        """The stored config of the run that is asked for, which lies beneath what else is asked for."""
        if self.verb != "fit":
            return config_of_run(tree)
        self.start = choose_start(tree, tree.get("ckpt_path"), self.command)
        return Path(self.start.config) if self.start.config else None

    def _parse_ckpt_path(self) -> None:
        """A checkpoint changes no option; Lightning would let its hyperparameters win over the user's values."""

    def before_instantiate_classes(self) -> None:
        """Keeps the config as it was parsed, and makes the run folder of a fit."""
        config = self.config[self.verb]
        parser = self._parser(self.verb)
        kept = config.clone()
        for key in ("quiet", *self._subcommand_method_arguments[self.verb]):
            kept.pop(key, None)
        parsed = yaml.safe_load(parser.dump(kept, skip_unset=False, skip_link_targets=True, format="yaml"))
        tree = {FORMAT_KEY: CONFIG_FORMAT, **with_names(parsed, self._named)}
        self.saved_config = yaml.safe_dump(tree, sort_keys=False)
        if self.arguments.print_config:
            sys.stdout.write(self.saved_config)
            raise SystemExit(0)
        if self.verb != "fit":
            return
        if config.trainer.fast_dev_run:
            config.trainer.logger = False
            config.ckpt_path = None  # A trial has no epochs to add to a state; that the weights fit is tried.
            return
        root = config.trainer.default_root_dir or "logs"
        folder = open_run(self.start, lambda: make_run_folder(root, config.name), self.command, self.state)
        self.state.folder = folder
        if self.state.attempt is not None:
            stored = read_config(Path(self.start.compared)) if self.start.compared else tree
            different = [each for each in differences(stored, tree) if each.key not in SOURCE_OPTIONS]
            say_start(self.start, folder, different)
            if self.state.attempt.new:
                write_text(self.state.attempt.config_path, self.saved_config)
        if self.start.state and self.start.folder is None:
            config.ckpt_path = str(folder / LAST)
        prepare_loggers(config.trainer, folder)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Adds the run folder, its loggers, and what a scored file needs."""
        arguments = trainer_arguments(self)
        try:
            return super().instantiate_trainer(**arguments, **kwargs)
        except (MisconfigurationException, TypeError, ValueError) as error:
            raise ConfigError(f"trainer: {' '.join(str(error).split())[:300]}") from None

    def after_instantiate_classes(self) -> None:
        """Tells the data what the tasks want to know."""
        if self.config[self.verb]["compile"]:
            check_compiler(self.trainer.strategy.root_device.type)
        self.model.which_weights = self.config[self.verb].get("weights")
        self.model.tally.folder = self.scoring.ckpt_path.parent if self.scoring else self.state.folder
        self.state.global_step = lambda: self.trainer.global_step
        warn_of_other_users(self.trainer.strategy.root_device)
        seed = int(os.environ.get("PL_GLOBAL_SEED", "0"))
        self.datamodule.bind(self.model.targets, seed, self.model.model.weighed_targets)

    def fit(self, model: Tagger, **kwargs: Any) -> None:
        """Trains, and says so if there was nothing left to train."""
        begun = time.monotonic()
        self.trainer.fit(model, **kwargs)
        if not self.state.trained and self.start.requeued:
            log.info("the training of this job is finished already; there is nothing left to train")
        elif not self.state.trained:
            for callback in self.trainer.early_stopping_callbacks:
                if isinstance(callback, EarlyStopping) and callback.reason is not None:
                    raise ConfigError(
                        f"nothing was trained: the run has stopped early, as {callback.reason}\n"
                        f"to train on, give more with --{callback.more}"
                    )
            raise ConfigError(
                f"nothing was trained: the checkpoint has {self.trainer.current_epoch} finished epochs and "
                f"trainer.max_epochs is {self.trainer.max_epochs}; ask for more with --trainer.max_epochs"
            )
        else:
            say_end(self.trainer, self.state.folder, model.name, begun)

    def validate(self, model: Tagger, **kwargs: Any) -> None:
        """Judges a checkpoint by the validation file."""
        self._print(self.trainer.validate(model, **{**kwargs, "verbose": False}))

    def test(self, model: Tagger, **kwargs: Any) -> None:
        """Scores the samples and judges the checkpoint by each of them."""
        for job, arguments in samples_to_score(self, kwargs):
            scores = self.trainer.test(model, **{**arguments, "verbose": False})
            self._print(scores, job.title)
            if self.trainer.is_global_zero:
                job.write_metrics(scores[0] if scores else {}, model.errors)

    def _print(self, scores: Sequence[Mapping[str, float]], title: str = "") -> None:
        """Shows metrics in our way: names in full, each once."""
        wanted = self.config[self.verb]["verbose"] and log.isEnabledFor(logging.INFO)
        if wanted and self.trainer.is_global_zero and scores and scores[0]:
            print_scores(scores[0], self.model.errors, title)

    def predict(self, model: Tagger, **kwargs: Any) -> None:
        """Scores the samples; predictions go to files and are not kept in memory."""
        for _, arguments in samples_to_score(self, kwargs):
            self.trainer.predict(model, **{**arguments, "return_predictions": False})


def _get(tree: Mapping[str, Any], *keys: str) -> Any:
    node: Any = tree
    for key in keys:
        node = node.get(key) if isinstance(node, Mapping) else None
    return node
