"""Further formats of a bundle's network, for runtimes other than ONNX Runtime: torch.export's `.pt2`, OpenVINO's IR."""

from __future__ import annotations

import io
import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from sightline.config.schema import Registry
from sightline.core import files
from sightline.core.errors import UserError, how_to_install

if TYPE_CHECKING:
    from torch import nn

    from sightline.stages.export.latency import Network

FORMATS: Registry[NetworkFormat] = Registry("export/formats")
"""Formats that `export.formats` can name. To add one, register a class here under its name."""


@dataclass(frozen=True)
class NetworkSource:
    """The network to write in a further format.

    Attributes:
        onnx: Its ONNX file.
        classifier: The trained model, on the CPU, possibly wrapped to average over views of an image.
        shape: (height, width, channels) of an image.
        temperature: The divisor of its logits.
    """

    onnx: Path
    classifier: nn.Module
    shape: tuple[int, int, int]
    temperature: float


class NetworkFormat(ABC):
    """A further format of the network.

    Attributes:
        files: The names of its files in the bundle, beginning with the network's main file.
    """

    files: ClassVar[tuple[str, ...]]

    @abstractmethod
    def write(self, source: NetworkSource, folder: Path) -> Network:
        """Writes the network's files into `folder` and returns a function that runs the network read back from them.

        Raises:
            UserError: If the format needs a package that is not installed.
        """


@FORMATS.register("pt2")
class Pt2(NetworkFormat):
    """torch.export's archive."""

    files = ("model.pt2",)

    def write(self, source: NetworkSource, folder: Path) -> Network:
        """See the base class."""
        import torch

        path = folder / self.files[0]
        files.write_bytes(path, to_pt2(source.classifier, source.shape, source.temperature))
        loaded = torch.export.load(path).module()

        def network(images: Any) -> Any:
            with torch.inference_mode():
                return loaded(torch.from_numpy(images)).numpy()

        return network


@FORMATS.register("openvino")
class OpenVino(NetworkFormat):
    """OpenVINO's intermediate representation, made from the ONNX file.

    It uses OpenVINO's model reader, since the converter `ovc` would send usage reports.
    """

    files = ("model.xml", "model.bin")

    def write(self, source: NetworkSource, folder: Path) -> Network:
        """See the base class."""
        try:
            import openvino
        except ModuleNotFoundError as error:
            raise UserError(
                f"export.formats: openvino needs {error.name}, which is not installed: {how_to_install('openvino')}"
            ) from None
        path = folder / self.files[0]
        core = openvino.Core()
        openvino.save_model(core.read_model(source.onnx), path, compress_to_fp16=False)
        # Otherwise OpenVINO would use bfloat16 on processors that support it.
        compiled = core.compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        return lambda images: compiled(images)[0]


def to_pt2(classifier: nn.Module, shape: tuple[int, int, int], temperature: float) -> bytes:
    """Serialises a network by torch.export, reproducibly and without pickle.

    The example input, which torch would pickle, and the stack traces, which contain folders of this machine, are
    removed.
    """
    import torch

    from sightline.stages.export.onnx import ProbabilityModel

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
