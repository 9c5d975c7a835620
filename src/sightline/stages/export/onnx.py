"""A trained classifier as one ONNX file: uint8 pixels in, probabilities out."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from sightline.models.classifier import Classifier
from sightline.predict.manifest import INPUT, OUTPUT

EMBEDDING = "embedding"
"""The name of the output that the novelty detector is put on; no bundle has it."""


class ProbabilityModel(nn.Module):
    """The network of the ONNX file: a classifier's logits, divided by a temperature, as probabilities.

    Args:
        classifier: Maps uint8 images [N, H, W, C], as the preprocessing transform gives them, to logits [N, K];
            layout, scale and normalisation are its own affair, so that no caller can rebuild them wrongly.
        temperature: The divisor of the logits (Guo et al. 2017); 1 leaves them as they are.
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
    """A network that gives the embedding beside the probabilities, in one pass.

    Args:
        model: Gives the probabilities.
        classifier: The part of it whose embedding is meant; called for several views of an image, that of the first.
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
    """Translates a classifier to ONNX, in one file, for batches of any size.

    The bytes are a pure function of the network, its weights and the library versions: whatever the exporter notes
    about the place and the machine where it ran is taken out.

    Args:
        classifier: On the CPU; takes uint8 [N, H, W, C], gives logits [N, K]. Put into evaluation mode.
        shape: (height, width, channels) of an image.
        opset: ONNX operator set.
        temperature: The divisor of the logits.
        embedded: The part of it whose embedding is an output as well; None for none.

    Returns:
        A serialised `ModelProto` with input `images` and output `probabilities`, and `embedding` if it is asked for.
    """
    plain = ProbabilityModel(classifier, temperature)
    model = plain if embedded is None else EmbeddingModel(plain, embedded)
    outputs = [OUTPUT] if embedded is None else [OUTPUT, EMBEDDING]
    program = torch.onnx.export(
        model.eval(),
        # Two images, not one: torch.export takes a size of 1 for a constant.
        (torch.zeros(2, *shape, dtype=torch.uint8),),
        dynamo=True,
        input_names=[INPUT],
        output_names=outputs,
        dynamic_shapes=({0: "batch"},),
        opset_version=opset,
        external_data=False,
        verbose=False,
    )
    if program is None:  # what the legacy exporter returns; the signature allows it
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
