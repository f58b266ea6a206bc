"""From a trained model to a file that is known to say the same."""

import logging
from dataclasses import asdict
from pathlib import Path

import onnx

from salt.batch import JetBatch
from salt.errors import DataError
from salt.export.cases import make_cases
from salt.export.graph import to_onnx
from salt.export.metadata import Origin, attach, describe
from salt.export.parity import Parity, compare
from salt.export.plan import GraphPlan
from salt.files import complete_or_absent
from salt.model import JetTagger

log = logging.getLogger(__name__)


def export_model(model: JetTagger, plan: GraphPlan, origin: Origin, real: JetBatch | None, path: Path) -> Parity:
    """Writes a model as an ONNX file, if ONNX Runtime computes from it what PyTorch does.

    Args:
        model: The model.
        plan: What goes in and comes out.
        origin: Which weights these are.
        real: Jets of a file to compare with; made-up ones are always compared.
        path: The file; on any error there is none, or the one of before.

    Raises:
        SaltError: The model cannot be exported, the results differ, or the file cannot be written.
    """
    model = model.float().eval()
    proto = to_onnx(model, plan)
    parity = compare(model, plan, proto, make_cases(model, real))
    attach(proto, describe(plan, origin, {**asdict(parity), "real_jets": real is not None}))
    onnx.checker.check_model(proto)
    try:
        with complete_or_absent(path) as beside:
            beside.write_bytes(proto.SerializeToString())
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror or error}") from None
    return parity
