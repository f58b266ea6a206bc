"""The two sides of the comparison: Salt of this checkout and salt-ml, with the same model for both."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from environments import PEER, ours, peer

JET_VARIABLES = ["pt", "eta"]
TRACK_VARIABLES = [
    "d0",
    "z0SinTheta",
    "dphi",
    "deta",
    "qOverP",
    "IP3D_signed_d0_significance",
    "IP3D_signed_z0_significance",
    "phiUncertainty",
    "thetaUncertainty",
    "qOverPUncertainty",
]
CLASSES = ["bjets", "cjets", "ujets"]
WIDTH, LAYERS, HEADS, HIDDEN = 128, 4, 8, [128, 64, 32]
SCHEDULE = {"initial": 1e-7, "max": 5e-4, "end": 1e-5, "pct_start": 0.1, "weight_decay": 1e-5}
PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed"}


@dataclass(frozen=True)
class Variant:
    """One way to train.

    Args:
        ours: Salt, else salt-ml.
        precision: A key of PRECISIONS.
        compiled: With --compile.
    """

    ours: bool
    precision: str
    compiled: bool = False

    @property
    def name(self) -> str:
        """For example ``salt-bf16-compiled``."""
        side = "salt" if self.ours else PEER
        return f"{side}-{self.precision}" + ("-compiled" if self.compiled else "")


@dataclass(frozen=True)
class Job:
    """One training.

    Args:
        train: Training file; val.h5, norm_dict.yaml and class_dict.yaml are beside it, and test.h5 without `test`.
        out: Folder for all that it writes.
        num_train: Jets to train on in each epoch.
        num_val: Jets to validate on.
        epochs: How often.
        batch_size: Jets of a step.
        seed: Seed of everything that is random.
        callbacks: Class paths and arguments of further callbacks.
        test: Test file.
    """

    train: Path
    out: Path
    num_train: int
    num_val: int
    epochs: int
    batch_size: int = 1000
    seed: int = 1
    callbacks: dict[str, dict[str, Any]] = field(default_factory=dict)
    test: Path | None = None


def fit_command(variant: Variant, job: Job) -> list[object]:
    """Writes the config of a training, and returns the command that runs it."""
    job.out.mkdir(parents=True, exist_ok=True)
    path = job.out / f"{variant.name}.yaml"
    path.write_text(yaml.safe_dump(config(variant, job), sort_keys=False))
    program = ours("main") if variant.ours else peer("salt")
    flags = [] if variant.ours else ["--force"]
    return [program, "fit", *flags, "--config", path, *(["--compile"] if variant.compiled else [])]


def config(variant: Variant, job: Job) -> dict[str, Any]:
    """The config of a training in the format of its side."""
    trainer = {
        "max_epochs": job.epochs,
        "accelerator": "cpu",
        "devices": 1,
        "precision": PRECISIONS[variant.precision],
        "logger": False,
        "enable_progress_bar": False,
        "default_root_dir": str(job.out / "runs"),
    }
    extra = [{"class_path": name, "init_args": arguments} for name, arguments in job.callbacks.items()]
    beside = job.train.parent
    data = {
        "train_file": str(job.train),
        "val_file": str(beside / "val.h5"),
        "test_file": str(job.test or beside / "test.h5"),
        "norm_dict": str(beside / "norm_dict.yaml"),
        "class_dict": str(beside / "class_dict.yaml"),
        "batch_size": job.batch_size,
        "num_train": job.num_train,
        "num_val": job.num_val,
    }
    if variant.ours:
        inputs = {"jets": {"variables": JET_VARIABLES}, "tracks": {"variables": TRACK_VARIABLES}}
        return {
            "name": "salt",
            "seed_everything": job.seed,
            "data": {"inputs": inputs, **data},
            "model": {"lrs_config": SCHEDULE, **_our_model()},
            "trainer": {**trainer, "callbacks": extra},
        }
    variables = {"jets": JET_VARIABLES, "tracks": TRACK_VARIABLES}
    own = [
        {"class_path": "salt.callbacks.Checkpoint", "init_args": {"monitor_loss": "val/loss"}},
        {"class_path": "salt.callbacks.PredictionWriter"},
    ]
    return {
        "name": "peer",
        "seed_everything": job.seed,
        "data": {"variables": variables, **data, "num_test": -1, "num_workers": 1},
        "model": {"lrs_config": SCHEDULE, "model": _their_model()},
        "trainer": {**trainer, "callbacks": own + extra},
    }


def _our_model() -> dict[str, Any]:
    def task(kind: str, **arguments: Any) -> dict[str, Any]:
        return {"class_path": kind, "init_args": {**arguments, "hidden": HIDDEN}}

    encoder = {"num_layers": LAYERS, "num_heads": HEADS, "feed_forward": 2 * WIDTH, "sink": True}
    origin, vertex = "ftagTruthOriginLabel", "ftagTruthVertexIndex"
    return {
        "embed_dim": WIDTH,
        "embed_hidden": [WIDTH],
        "encoder": {"class_path": "Transformer", "init_args": encoder},
        "pooling": {"class_path": "AttentionPooling", "init_args": {"sink": True}},
        "tasks": {
            "jets_classification": task("Classification", input="jets", label="flavour_label", classes=CLASSES),
            "track_origin": task("Classification", input="tracks", label=origin, weight=0.5),
            "track_vertexing": task("Vertexing", input="tracks", label=vertex, weight=1.5),
        },
    }


def _their_model() -> dict[str, Any]:
    def dense(size: int, out: int, context: int = 0) -> dict[str, Any]:
        sizes = {"input_size": size, "output_size": out, "hidden_layers": HIDDEN, "context_size": context}
        return {**sizes, "activation": "ReLU"}

    def task(kind: str, **arguments: Any) -> dict[str, Any]:
        return {"class_path": f"salt.models.{kind}", "init_args": arguments}

    entropy = {"class_path": "torch.nn.CrossEntropyLoss"}
    pairwise = {"class_path": "torch.nn.BCEWithLogitsLoss", "init_args": {"reduction": "none"}}
    embed = {"output_size": WIDTH, "hidden_layers": [WIDTH], "activation": "ReLU"}
    encoder = {
        "num_layers": LAYERS,
        "embed_dim": WIDTH,
        "out_dim": WIDTH,
        "attn_type": "torch-math",
        "norm": "LayerNorm",
        "do_final_norm": True,
        "dense_kwargs": {"activation": "ReLU", "gated": False},
        "attn_kwargs": {"num_heads": HEADS},
    }
    tasks = [
        task(
            "ClassificationTask",
            name="jets_classification",
            input_name="jets",
            label="flavour_label",
            class_names=CLASSES,
            loss=entropy,
            dense_config=dense(WIDTH, len(CLASSES)),
        ),
        task(
            "ClassificationTask",
            name="track_origin",
            input_name="tracks",
            label="ftagTruthOriginLabel",
            weight=0.5,
            loss=entropy,
            dense_config=dense(WIDTH, 8, WIDTH),
        ),
        task(
            "VertexingTask",
            name="track_vertexing",
            input_name="tracks",
            label="ftagTruthVertexIndex",
            weight=1.5,
            loss=pairwise,
            dense_config=dense(2 * WIDTH, 1, WIDTH),
        ),
    ]
    return {
        "class_path": "salt.models.SaltModel",
        "init_args": {
            "init_nets": [{"input_name": "tracks", "dense_config": embed}],
            "encoder": {"class_path": "salt.models.Transformer", "init_args": encoder},
            "pool_net": {"class_path": "salt.models.GlobalAttentionPooling", "init_args": {"input_size": WIDTH}},
            "tasks": {"class_path": "torch.nn.ModuleList", "init_args": {"modules": tasks}},
        },
    }
