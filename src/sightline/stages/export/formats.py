"""Further files of a bundle's network, for runtimes other than ONNX Runtime: torch.export's `.pt2`, OpenVINO's IR."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sightline.core import files
from sightline.core.errors import UserError, how_to_install
from sightline.models.classifier import Classifier
from sightline.stages.export.latency import Network
from sightline.stages.export.onnx import ProbabilityModel

PT2 = "model.pt2"
OPENVINO = "model.xml"
"""Its weights stand beside it, in `model.bin`."""


@dataclass(frozen=True)
class ExportedNetwork:
    """A network in a further format, read back from its file.

    Attributes:
        file: The file's name in the bundle.
        network: Runs it.
    """

    file: str
    network: Network


def write(
    form: str, folder: Path, model: Path, classifier: Classifier, shape: tuple[int, int, int], temperature: float
) -> ExportedNetwork:
    """Writes a network in a further format.

    Args:
        form: One of `export.config.FORMATS`.
        folder: The bundle.
        model: Its ONNX file.
        classifier: The trained model, on the CPU.
        shape: (height, width, channels) of an image.
        temperature: What its logits are divided by.

    Raises:
        UserError: If the format needs a package that is not installed.
    """
    makers: dict[str, Callable[[], ExportedNetwork]] = {
        "pt2": lambda: _pt2(folder / PT2, to_pt2(classifier, shape, temperature)),
        "openvino": lambda: _openvino(folder / OPENVINO, model),
    }
    return makers[form]()


def to_pt2(classifier: Classifier, shape: tuple[int, int, int], temperature: float) -> bytes:
    """Returns a network as torch.export keeps it: equal networks give equal bytes, without pickle.

    The example of an input, which torch would pickle, and the stack traces, which name this machine's folders, are
    taken out.
    """
    program = torch.export.export(
        ProbabilityModel(classifier, temperature).eval(),
        (torch.zeros(2, *shape, dtype=torch.uint8),),
        dynamic_shapes=({0: torch.export.Dim("batch")},),
    )
    program._example_inputs = None
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "No complete tensor found")  # batch norms' views of one storage; all on CPU
        torch.export.save(program, stream)
    return stream.getvalue()


def _pt2(path: Path, content: bytes) -> ExportedNetwork:
    files.write_bytes(path, content)
    loaded = torch.export.load(path).module()

    def network(images: Any) -> Any:
        with torch.inference_mode():
            return loaded(torch.from_numpy(images)).numpy()

    return ExportedNetwork(path.name, network)


def _openvino(path: Path, model: Path) -> ExportedNetwork:
    """Converts the ONNX file: OpenVINO's own reader, since its converter `ovc` would send usage reports."""
    try:
        import openvino
    except ModuleNotFoundError as error:
        raise UserError(
            f"export.formats: openvino needs {error.name}, which is not installed: {how_to_install('openvino')}"
        ) from None
    core = openvino.Core()
    openvino.save_model(core.read_model(model), path, compress_to_fp16=False)
    # Where a processor has bfloat16, OpenVINO would use it.
    compiled = core.compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return ExportedNetwork(path.name, lambda images: compiled(images)[0])
