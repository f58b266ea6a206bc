"""The data of a run, as Lightning wants it."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch import LightningDataModule

from salt.batch import JetBatch
from salt.data.agree import all_succeed
from salt.data.checks import check_distinct, lacking_targets, nameless_codes
from salt.data.examine import examine
from salt.data.formats import open_reader
from salt.data.group import read_group
from salt.data.loader import StepLoader
from salt.data.norms import dataset_scales, input_scales, load_class_weights, load_norms
from salt.data.options import check_limits, check_reading
from salt.data.orders import Blocks, Order, Sequential, Single, Weak, share, whole_batches
from salt.data.paths import one_file, resolve
from salt.data.places import read_text
from salt.data.remote import Place
from salt.data.samples import Sample, find_samples
from salt.data.served import files_of
from salt.data.source import Source
from salt.data.space import StorageError
from salt.data.staged import storage_folder
from salt.data.staging import Staging
from salt.data.store import Store
from salt.data.survey import SURVEY_JETS, spread_blocks
from salt.data.workers import advised_workers, reading_threads, usable_cores, worker_doubts
from salt.errors import ConfigError, SaltError, unknown
from salt.inputs import Input, Target, check_inputs
from salt.statistics import Statistics

log = logging.getLogger(__name__)

FEW_CONSTITUENTS = 10_000
"""So many fit into any memory."""

PARTS = {"fit": "train", "validate": "val", "test": "test", "predict": "test"}
"""For each stage the files that it is about; fit also needs those of validation."""


class JetDataModule(LightningDataModule):
    """Jets and their constituents from HDF5 files.

    Files are given by a path, by a wildcard such as ``train_*.h5``, or as ``sample:train`` (``val``, ``test``) for the
    sample that comes with the package.

    Args:
        inputs: The variables of each input; `jets` for the jet's own, any other name for constituents.
        train_file: Files to train on.
        val_file: Files to validate on; null trains without validation.
        test_file: Files to evaluate: a wildcard means parts of one sample; of several samples in a list each has
            predictions and metrics of its own.
        batch_size: Jets in a batch of one device.
        constituents_per_step: A batch of one device with more constituents, of all inputs together, is trained on in
            parts that have at most so many, with the same result; null for twice those of an average batch.
        num_workers: Processes that read, for each device; null derives it from the number of cores.
        num_train: How many jets to train on, the first ones that pass the selection; -1 for all.
        num_val: How many jets to validate on; -1 for all.
        num_test: How many jets of each sample to evaluate; -1 for all.
        norm_dict: YAML or JSON file with mean and std (or shift and scale) of each variable of each dataset; null
            measures them in the training files.
        class_dict: YAML file with the weights of the classes of each label of each dataset, in the order of the
            codes of the training files.
        move_files_temp: Folder on fast storage of this machine, such as ``/dev/shm/$USER`` (variables are replaced),
            to which the training and validation files are copied for as long as the training runs.
        stage: What is copied there: copy takes whole files; packed only what this training reads, which takes less
            space and is read much faster. Batches are the same.
        stage_optional: Whether the files are read where they are if that folder has too little space or cannot be
            used; otherwise the training ends.
        batched_read: Whether to read blocks of jets at once, which is fast; otherwise single jets are drawn at random
            over all files.
        shuffle: With blocks, the jets of several random blocks are mixed, so batches differ in every epoch; weak keeps
            the same batches of consecutive jets and changes only their order.
        reader: Class path of a reader for files of another format, such as ``my_package.MyReader``.
        source: Where ``main serve`` gives the files that are null above: ``unix:jets.sock`` or ``http://node:8088``.

    Attributes:
        paths: For each opened part, such as ``train``, its files as they were named.
        samples: What `test_file` means, in its order.
        chosen: Which of them is evaluated.
        weighed: The labels whose weights are looked for in the class dict.
    """

    def __init__(
        self,
        inputs: dict[str, Input],
        train_file: str | None = None,
        val_file: str | None = None,
        test_file: str | list[str] | None = None,
        batch_size: int = 1000,
        constituents_per_step: int | None = None,
        num_workers: int | None = None,
        num_train: int = -1,
        num_val: int = -1,
        num_test: int = -1,
        norm_dict: str | None = None,
        class_dict: str | None = None,
        move_files_temp: str | None = None,
        stage: Literal["copy", "packed"] = "copy",
        stage_optional: bool = False,
        batched_read: bool = True,
        shuffle: Literal["blocks", "weak"] = "blocks",
        reader: str | None = None,
        source: str | None = None,
    ) -> None:
        super().__init__()
        check_inputs(inputs)
        self.limits = {"train": num_train, "val": num_val, "test": num_test}
        check_limits(self.limits, batch_size, constituents_per_step, num_workers)
        check_reading(stage, move_files_temp, shuffle, batched_read)
        self.inputs = inputs
        self.options, tested = files_of(source, train_file, val_file, test_file)
        self.samples = find_samples(tested)
        self.chosen = 0
        self.batch_size = batch_size
        self.constituents_per_step = constituents_per_step
        self.num_workers = num_workers
        self.norm_dict = norm_dict
        self.class_dict = class_dict
        self.move_files_temp = move_files_temp
        self.stage = stage
        self.stage_optional = stage_optional
        self.batched_read = batched_read
        self.shuffle = shuffle
        self.reader = reader
        self.batches_per_step = 1
        self.statistics: Statistics | None = None
        self._targets: tuple[Target, ...] = ()
        self.weighed: tuple[Target, ...] = ()
        self._seed = 0
        self._sources: dict[str, Source] = {}
        self._stores: dict[str, Store] = {}
        self.paths: dict[str, tuple[Place, ...]] = {}
        self._missing: dict[str, tuple[Target, ...]] = {}
        self._staging: Staging | None = None

    def bind(self, targets: Sequence[Target], seed: int, weighed: Sequence[Target] = ()) -> None:
        """Says, before `setup`, which labels the tasks need and from which seed the order of the jets follows.

        Weights of classes are looked for in the class dict for the `weighed` labels alone.

        Raises:
            ConfigError: A target is about an input that is not declared.
        """
        for target in targets:
            if target.input not in self.inputs:
                raise ConfigError("a task is about an " + unknown("input", target.input, self.inputs, "in data.inputs"))
        self._targets, self.weighed = tuple(dict.fromkeys(targets)), tuple(weighed)
        self._seed = seed

    def accumulate(self, batches: int) -> None:
        """Makes a step of training of several batches on each device: one of that size, computed in so many parts."""
        self.batches_per_step = batches

    def setup(self, stage: str) -> None:
        """Opens and checks the files of a stage; for ``fit`` also measures what the model needs to know of them.

        Raises:
            ConfigError: A file is not given, or is given twice.
            DataError: A file is missing, broken, or disagrees with the config.
        """
        if stage == "fit":
            self._setup_fit()
            return
        part = PARTS[stage]
        targets = () if stage == "predict" else self._targets
        self._sources[part] = self._open(part, self._resolve(part), targets, strict=stage == "validate")
        for doubt in nameless_codes(self._sources[part]):
            log.warning(doubt)

    def teardown(self, stage: str) -> None:
        """Closes the files, and gives up what was staged after training."""
        for source in self._sources.values():
            source.close()
        if stage == "fit":
            self._release()

    def on_exception(self, exception: BaseException) -> None:
        """Gives up what was staged when training fails, and what is still waited for of another machine."""
        for source in self._sources.values():
            source.close()
        self._release()

    def train_dataloader(self) -> StepLoader:
        """Batches in the order that was asked for, another one each epoch."""
        source = self._sources["train"]
        step = self._step * self.batches_per_step
        if not self.batched_read:
            return self._loader("train", Single(source.num_jets, step, self._seed))
        if self.shuffle == "weak":
            return self._loader("train", Weak(source.num_jets, step, self._seed))
        return self._loader("train", Blocks.of(source.block_edges(), step, self._seed))

    def val_dataloader(self) -> StepLoader | list[StepLoader]:
        """Batches as they come; nothing if there is no validation file."""
        return self._sequential("val") if "val" in self._sources else []

    def choose(self, number: int) -> None:
        """Says, before `setup`, which of the samples is to be evaluated next."""
        self.chosen = number

    @property
    def chosen_sample(self) -> Sample:
        """The sample that is evaluated.

        Raises:
            ConfigError: There is none.
        """
        if not self.samples:
            raise ConfigError("data.test_file is not given; name the file by --data.test_file")
        return self.samples[self.chosen]

    def test_dataloader(self) -> StepLoader:
        """Batches as they come."""
        return self._sequential("test")

    def predict_dataloader(self) -> StepLoader:
        """Batches as they come, without labels."""
        return self._sequential("test")

    def files(self, stage: str) -> Source:
        """The files that a stage is about: ``fit``, ``validate``, ``test`` or ``predict``; it must be set up."""
        return self._sources[PARTS[stage]]

    def sample(self) -> Iterator[JetBatch]:
        """The training jets from which statistics are measured, with their labels; set up for ``fit``."""
        source = self._sources["train"]
        for positions in spread_blocks(source.num_jets, SURVEY_JETS):
            yield from read_group(source, [positions]).batches()
        source.close()

    def missing_targets(self, stage: str) -> tuple[Target, ...]:
        """The targets that files to be tested lack, so that they can be predicted but not judged."""
        return self._missing.get(PARTS[stage], ())

    @property
    def most_constituents(self) -> int:
        """How many constituents are trained on at once; set up for ``fit``."""
        if self.constituents_per_step is not None:
            return self.constituents_per_step
        average = self.statistics.constituents_per_jet if self.statistics else 0.0
        return max(FEW_CONSTITUENTS, round(2 * average * self.batch_size))

    def describe(self) -> dict[str, Any]:
        """What was opened: for each part its jets in use, and each file with size, hash of its header and rows."""
        return {part: source.describe(self.paths[part]) for part, source in self._sources.items()}

    @property
    def _norms(self) -> Place | None:
        return one_file(self.norm_dict, "data.norm_dict") if self.norm_dict is not None else None

    @property
    def _rank(self) -> int:
        return self.trainer.global_rank if self.trainer else 0

    @property
    def _step(self) -> int:
        return self.batch_size * self._world_size

    @property
    def _world_size(self) -> int:
        return self.trainer.world_size if self.trainer else 1

    def _setup_fit(self) -> None:
        paths = {"train": self._resolve("train")}
        if self.options["val"] is not None:
            paths["val"] = self._resolve("val")
        test_paths = self._test_paths()
        others = {f"data.{part}_file": found for part, found in paths.items() if part != "train"}
        check_distinct(paths["train"], {**others, "data.test_file": test_paths})
        norms = self._norms
        given = None if norms is None else input_scales(load_norms(norms), self.inputs, norms)
        # Everything that can be wrong is found in the original files, before anything is copied.
        self._sources = {part: self._open(part, found, self._targets) for part, found in paths.items()}
        train, unnamed = self._sources["train"], nameless_codes(*self._sources.values())
        weights = load_class_weights(self.class_dict, self.inputs, {t: train.codes(t) for t in self.weighed})
        self.statistics, doubts = examine(train, self._sources.get("val"), self._open_test(test_paths), given, weights)
        if self.num_workers is not None:
            unnamed += worker_doubts(self.num_workers, usable_cores(), self._local_ranks)
        if self._rank == 0:
            for doubt in [*doubts, *unnamed]:
                log.warning(doubt)
        if "val" not in paths and self.trainer:
            self.trainer.limit_val_batches = 0  # Lightning's way of saying that there is no validation.
        trial = self.trainer is not None and bool(getattr(self.trainer, "fast_dev_run", False))
        if self.move_files_temp is not None and not trial:
            self._stage(storage_folder(self.move_files_temp))

    def _resolve(self, part: str) -> tuple[Place, ...]:
        option = self.chosen_sample.option if part == "test" else self.options[part]
        return resolve(option, f"data.{part}_file")

    def _open(self, part: str, paths: tuple[Place, ...], targets: tuple[Target, ...], strict: bool = True) -> Source:
        self.paths[part] = paths
        key = f"data.{part}_file"
        readers = [open_reader(path, {}, self.reader) for path in paths]
        if (norms := self._norms) is not None and any(reader.format != "structured" for reader in readers):
            scales = dataset_scales(load_norms(norms), self.inputs, norms)
            readers = [open_reader(path, scales, self.reader) for path in paths]
        if not strict:
            self._missing[part] = lacking = lacking_targets(readers, self.inputs, targets)
            targets = tuple(t for t in targets if t not in lacking)
        return Source(key, readers, self.inputs, targets, self.limits[part], f"data.num_{part}", strict)

    def _test_paths(self) -> tuple[Place, ...]:
        try:
            found = [resolve(sample.option, "data.test_file") for sample in self.samples]
        except SaltError:  # Training needs no test file.
            return ()
        return tuple(path for paths in found for path in paths)

    def _open_test(self, paths: tuple[Place, ...]) -> Source | None:
        if not paths:
            return None
        try:
            return self._open("test", paths, (), strict=False)
        except SaltError as error:
            log.debug("the test file is not looked at: %s", error)
            return None

    @property
    def _local_ranks(self) -> int:
        return self.trainer.num_devices if self.trainer else 1

    def _stage(self, folder: Path) -> None:
        """Lets one process of each node prepare what all of its processes then use."""
        staging, originals = Staging(folder), self._sources
        self._staging = staging
        first = self.trainer is None or self.trainer.local_rank == 0
        failures: list[SaltError] = []

        def prepare() -> bool:
            try:
                self._prepare(staging)
            except SaltError as error:
                failures.append(error)
            return not failures

        if not all_succeed(self.trainer, prepare if first else lambda: True):
            self._give_up_staging(originals, failures)
        elif not first:
            self._prepare(staging)

    def _give_up_staging(self, originals: dict[str, Source], failures: Sequence[SaltError]) -> None:
        self._release()
        self._sources = originals
        elsewhere = StorageError("data.move_files_temp: another process of this training could not use it")
        failure = failures[0] if failures else elsewhere
        if not self.stage_optional or not isinstance(failure, StorageError):
            raise failure
        log.warning("%s; the files are read where they are", str(failure).replace("\n", "; "))

    def _prepare(self, staging: Staging) -> None:
        if self.stage == "packed":
            umami = any(reader.format != "structured" for source in self._sources.values() for reader in source.readers)
            scales = read_text(norms) if umami and (norms := self._norms) is not None else None
            # The smallest first, so that too little space is found out early.
            for part, source in sorted(self._sources.items(), key=lambda item: item[1].num_jets):
                self._stores[part] = staging.pack(source, scales)
            return
        originals = {part: self.paths[part] for part in self._sources}
        copies = staging.copy(originals)
        self._sources = {part: self._open(part, found, self._targets) for part, found in copies.items()}
        self.paths |= originals

    def _release(self) -> None:
        self._stores = {}
        if self._staging is not None:
            self._staging.release()
            self._staging = None

    def _sequential(self, part: str) -> StepLoader:
        return self._loader(part, Sequential(self._sources[part].num_jets, self._step))

    def _loader(self, part: str, order: Order) -> StepLoader:
        asked = self.num_workers
        workers = advised_workers(usable_cores(), self._local_ranks) if asked is None else asked
        self._sources[part].close()
        jets = self._stores.get(part, self._sources[part])
        training = part == "train"
        return StepLoader(
            jets,
            order,
            self._epoch,
            self._rank,
            self._world_size,
            workers,
            threads=reading_threads(usable_cores(), self._local_ranks, workers),
            repeated=training,
            cut=share if training else whole_batches(self.batch_size),
        )

    def _epoch(self) -> int:
        return self.trainer.current_epoch if self.trainer else 0
