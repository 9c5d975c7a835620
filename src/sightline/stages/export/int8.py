"""A network in floats, as ONNX, into one in 8-bit integers: static, per channel, calibrated on training images."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from sightline.datasets.processed_set import Images, Split
from sightline.predict.manifest import INPUT
from sightline.stages.export.onnx import canonical_bytes

BATCH = 32

WEIGHTED = ("Conv", "Gemm", "MatMul")
"""Operators that nearly all of a network's time goes to."""

OPERATORS = [*WEIGHTED, "Add", "AveragePool", "Clip", "Concat", "GlobalAveragePool", "MaxPool", "Relu"]
"""Those that are computed in integers: with what stands between them, so that values stay integers on the way."""

# Says to the quantiser that shapes are inferred and batch norms folded, which it would otherwise warn about; torch's
# exporter folds them.
_PREPARED = ("onnx.quant.pre_process", "onnxruntime.quant")


class _CalibrationReader:
    """Gives the quantiser batches of images (its `CalibrationDataReader`)."""

    def __init__(self, images: Images) -> None:
        self._rest: Iterator[Images] = iter([images[i : i + BATCH] for i in range(0, len(images), BATCH)])

    def get_next(self) -> dict[str, Images] | None:
        batch = next(self._rest, None)
        return None if batch is None else {INPUT: batch}


def calibration_images(train: Split, count: int) -> Images:
    """Returns at most `count` training images, evenly spaced by id (ids often sort by class), uint8 [n, H, W, C]."""
    chosen = np.linspace(0, len(train) - 1, min(count, len(train))).round().astype(np.int64)
    return train.images(chosen)


def to_int8(model: bytes, images: Images) -> bytes:
    """Quantises a network: weights to int8, each channel by itself, activations to uint8, in the QDQ form.

    Weights use 7 of the 8 bits (`reduce_range`): on x86 processors without VNNI two products of full range overflow
    the 16 bits that they are added in, and results would depend on the processor by more than rounding. Input
    normalisation, temperature and softmax stay in floats.

    Args:
        model: The model that `export.onnx.to_onnx` made.
        images: Calibration images [N, H, W, C]; the ranges of activations are their smallest and largest values.

    Returns:
        A serialised `ModelProto` of the same interface; equal arguments give equal bytes.
    """
    # Here, after `predict.bundle` has told onnxruntime to send no usage reports.
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    proto = onnx.load_from_string(model)
    proto.metadata_props.add(key=_PREPARED[0], value=_PREPARED[1])
    # Files of its own: given a model in memory, the quantiser writes random file names into it.
    with tempfile.TemporaryDirectory(prefix="sightline-int8-") as folder:
        source, target = Path(folder, "fp32.onnx"), Path(folder, "int8.onnx")
        onnx.save(proto, source)
        quantize_static(
            source,
            target,
            _CalibrationReader(images),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=OPERATORS,
            nodes_to_exclude=_before_the_network(proto.graph),
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return canonical_bytes(onnx.load(target))


def _before_the_network(graph: Any) -> list[str]:
    """Returns the names of the nodes before the first one with weights: what is done to pixels stays in floats."""
    names: list[str] = []
    for node in graph.node:
        if node.op_type in WEIGHTED:
            break
        names.append(node.name)
    return names
