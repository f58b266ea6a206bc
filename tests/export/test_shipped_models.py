"""Every packaged model becomes a graph of one jet and one of many that agree with it."""

from pathlib import Path

import contracts
import pytest
import torch
import yaml
from export_models import racing
from jsonargparse import ArgumentParser

from salt.cli.configs import zoo
from salt.cli.merge import merge
from salt.export.cases import make_cases
from salt.export.graph import to_onnx
from salt.export.parity import compare
from salt.export.plan import Wishes, make_plan
from salt.model import JetTagger

CONFIGS = Path(__file__).resolve().parents[2] / "salt" / "configs"
OF_TRAINING = ("lrs_config", "optimizer", "balancing", "adversary")
MODELS = [name for name in zoo() if name != "pretrain"]  # Which predicts nothing that could be exported.


@pytest.mark.slow
@pytest.mark.parametrize("batched", [False, True], ids=["one", "many"])
@pytest.mark.parametrize("name", MODELS)
def test_a_packaged_model_is_exported(name: str, batched: bool) -> None:
    torch.manual_seed(3)
    base, own = (yaml.safe_load((CONFIGS / f"{each}.yaml").read_text()) for each in ("base", name))
    tree = merge(base, own)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(JetTagger)
    options = {key: value for key, value in tree["model"].items() if key not in OF_TRAINING}
    found = parser.instantiate(parser.parse_object({**options, "inputs": tree["data"]["inputs"]}))
    model = JetTagger(**vars(found)).eval()
    model.adopt(contracts.random_statistics(found.inputs, model.targets))
    plan = make_plan(name, batched, found.inputs, model.named_tasks, Wishes())
    graph = to_onnx(model, plan)
    assert not racing(graph)
    parity = compare(model, plan, graph, make_cases(model, None))
    assert parity.probability < 1e-5
