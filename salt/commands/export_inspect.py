"""``main export --inspect``: what an ONNX file takes, returns and says of itself."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
from rich.console import Console
from rich.table import Table
from rich.text import Text

from salt.export.metadata import KEY, read


def inspect(path: Path) -> None:
    """Prints it.

    Raises:
        DataError: The file is missing or no ONNX model.
    """
    proto, content = read(path)
    console = Console(file=sys.stdout)
    known = content or {}
    variables = {each["name"]: ", ".join(each["variables"]) for each in known.get("inputs", [])}
    meaning = {each["name"]: _meaning(each) for each in known.get("outputs", [])}
    offsets = {
        each["offsets"]: f"where the {each['input']} of each jet begin"
        for each in known.get("inputs", [])
        if "offsets" in each
    }
    console.print(_table("inputs", proto.graph.input, variables | offsets))
    console.print(_table("outputs", proto.graph.output, meaning))
    opsets = ", ".join(f"{each.domain or 'opset'} {each.version}" for each in proto.opset_import)
    console.print(f"{len(proto.graph.node)} operators, {opsets}, {path.stat().st_size / 1e6:.2f} MB", highlight=False)
    if content is None:
        console.print(f"no metadata {KEY}: not written by main export")
        return
    for key, value in content.items():
        if key not in ("inputs", "outputs"):
            words = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, Mapping) else value
            console.print(Text(f"{key}: {words}"), soft_wrap=True)


def _meaning(output: Mapping[str, Any]) -> str:
    if "classes" in output:
        return ", ".join(f"{i} {name}" for i, name in enumerate(output["classes"]))
    return f"{' + '.join(output['columns'])} of {output['task']}"


def _table(title: str, infos: Sequence[Any], words: Mapping[str, str]) -> Table:
    table = Table(title=title, title_justify="left")
    for heading in ("name", "type", "shape", "content"):
        table.add_column(heading, overflow="fold")
    for info in infos:
        tensor = info.type.tensor_type
        axes = ", ".join(str(axis.dim_param or axis.dim_value) for axis in tensor.shape.dim)
        shape = f"[{axes}]" if axes else "scalar"
        dtype = str(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type))
        table.add_row(*(Text(word) for word in (info.name, dtype, shape, words.get(info.name, ""))))
    return table
