"""Export of a trained classifier to one ONNX file that maps uint8 pixels to probabilities."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from sightline.models.classifier import Classifier
from sightline.predict.manifest import INPUT, OUTPUT

EMBEDDING = "embedding"
"""Name of the output that the novelty detector replaces; bundles do not have it."""


class ProbabilityModel(nn.Module):
    """The network of the ONNX file: a classifier's logits, divided by a temperature, as probabilities.

    Args:
        classifier: Maps uint8 images [N, H, W, C] from the preprocessing transform to logits [N, K]. It handles layout,
            scale and normalisation itself, so that callers cannot get them wrong.
        temperature: The divisor of the logits (Guo et al. 2017); 1 means no calibration.
    """

    def __init__(self, classifier: nn.Module, temperature: float = 1.0) -> None:
        super().__init__()
        self.classifier = classifier
        self.temperature = temperature

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Maps uint8 images [N, H, W, C] to float32 probabilities [N, K]."""
        logits = self.classifier(images)
        if self.temperature != 1.0:
            logits = logits / self.temperature
        return torch.softmax(logits, dim=1)


class EmbeddingModel(nn.Module):
    """A network that returns both probabilities and the embedding from one forward pass.

    Args:
        model: Computes the probabilities.
        classifier: The part of it that computes the embedding. With several views of an image, the first one counts.
    """

    def __init__(self, model: ProbabilityModel, classifier: Classifier) -> None:
        super().__init__()
        self.model = model
        self.classifier = classifier

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Maps uint8 images [N, H, W, C] to float32 probabilities [N, K] and embeddings [N, D]."""
        with self.classifier.watched_embeddings() as seen:
            probabilities = self.model(images)
        return probabilities, seen[0].float()


def to_onnx(
    classifier: nn.Module,
    shape: tuple[int, int, int],
    opset: int,
    temperature: float = 1.0,
    embedded: Classifier | None = None,
) -> bytes:
    """Converts a classifier to ONNX, in one file, for batches of any size.

    The bytes are a pure function of the network, its weights and the library versions: everything that the exporter
    records about its machine and folders is removed.

    Args:
        classifier: Maps uint8 [N, H, W, C] to logits [N, K], on the CPU. It is set to evaluation mode.
        shape: (height, width, channels) of an image.
        opset: ONNX operator set.
        temperature: The divisor of the logits.
        embedded: The part of it whose embedding is also an output; None for no embedding.

    Returns:
        A serialised `ModelProto` with input `images`, output `probabilities`, and `embedding` if requested.
    """
    plain = ProbabilityModel(classifier, temperature)
    model = plain if embedded is None else EmbeddingModel(plain, embedded)
    outputs = [OUTPUT] if embedded is None else [OUTPUT, EMBEDDING]
    program = torch.onnx.export(
        model.eval(),
        # Two images, because torch.export treats a size of 1 as a constant.
        (torch.zeros(2, *shape, dtype=torch.uint8),),
        dynamo=True,
        input_names=[INPUT],
        output_names=outputs,
        dynamic_shapes=({0: "batch"},),
        opset_version=opset,
        external_data=False,
        verbose=False,
    )
    if program is None:  # only the legacy exporter returns None, but the signature allows it
        raise RuntimeError("torch.onnx.export returned no program")
    return canonical_bytes(program.model_proto)


def canonical_bytes(proto: Any) -> bytes:
    """Serialises a `ModelProto` without the stack traces, source paths and build names that tools write into it."""
    proto.producer_name, proto.producer_version, proto.doc_string = "sightline", "", ""
    graph = proto.graph
    # Shapes of intermediate values are for viewers, and ONNX Runtime infers them itself.
    del graph.value_info[:]
    for part in (proto, graph, *graph.node, *graph.input, *graph.output, *graph.initializer, *proto.functions):
        del part.metadata_props[:]
        part.doc_string = ""
    return bytes(proto.SerializeToString(deterministic=True))
