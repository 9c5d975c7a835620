"""Static quantisation of an ONNX network to 8-bit integers, per channel, calibrated on training images."""

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
"""Operators with weights, which take nearly all of a network's time."""

OPERATORS = [*WEIGHTED, "Add", "AveragePool", "Clip", "Concat", "GlobalAveragePool", "MaxPool", "Relu"]
"""Operators that are quantised: also those between the weighted ones, so that values need no conversion in between."""

# Tells the quantiser that the model is preprocessed, to suppress its warning; torch's exporter has already folded batch
# norms.
_PREPARED = ("onnx.quant.pre_process", "onnxruntime.quant")


class _CalibrationReader:
    """Supplies the quantiser with batches of images (a `CalibrationDataReader`)."""

    def __init__(self, images: Images) -> None:
        self._rest: Iterator[Images] = iter([images[i : i + BATCH] for i in range(0, len(images), BATCH)])

    def get_next(self) -> dict[str, Images] | None:
        batch = next(self._rest, None)
        return None if batch is None else {INPUT: batch}


def calibration_images(train: Split, count: int) -> Images:
    """Returns at most `count` training images, uint8 [n, H, W, C], evenly spaced by id (ids often sort by class)."""
    chosen = np.linspace(0, len(train) - 1, min(count, len(train))).round().astype(np.int64)
    return train.images(chosen)


def to_int8(model: bytes, images: Images) -> bytes:
    """Quantises a network: weights to int8 per channel, activations to uint8, in QDQ format.

    Weights use only 7 of the 8 bits (`reduce_range`): on x86 processors without VNNI, the sum of two full-range
    products overflows 16 bits, and results would depend on the processor by more than rounding. Input normalisation,
    temperature and softmax stay in floats.

    Args:
        model: A model from `export.onnx.to_onnx`.
        images: Calibration images [N, H, W, C] uint8, whose minimum and maximum activations become the ranges.

    Returns:
        A serialised `ModelProto` with the same inputs and outputs; equal arguments give equal bytes.
    """
    # Imported here, after `predict.bundle` has disabled onnxruntime's usage reports.
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    proto = onnx.load_from_string(model)
    proto.metadata_props.add(key=_PREPARED[0], value=_PREPARED[1])
    # In files, because the quantiser would write random file names into a model given in memory.
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
    """Returns the names of the nodes before the first one with weights, which stay in floats: input normalisation."""
    names: list[str] = []
    for node in graph.node:
        if node.op_type in WEIGHTED:
            break
        names.append(node.name)
    return names
