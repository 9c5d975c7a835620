"""Novelty detector as part of a network's ONNX graph: the output `novelty` is above 1 for images of no known class."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from sightline.metrics.base import Floats
from sightline.models import novelty_detector
from sightline.models.novelty_detector import NoveltyDetector
from sightline.predict.manifest import INPUT, NOVELTY
from sightline.stages.export.onnx import EMBEDDING, canonical_bytes

PREFIX = "novelty_"
"""Prefix of the names of nodes and tensors."""


class _Branch:
    """Nodes and constants to add to a graph."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, name: str, value: npt.ArrayLike) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(value), PREFIX + name))
        return PREFIX + name

    def node(self, kind: str, inputs: list[str], name: str, **attributes: Any) -> str:
        output = name if name == NOVELTY else PREFIX + name
        self.nodes.append(helper.make_node(kind, inputs, [output], name=PREFIX + name, **attributes))
        return output


def with_novelty(model: bytes, detector: NoveltyDetector, thresholds: Floats, shape: tuple[int, int, int]) -> bytes:
    """Returns the network with the output `novelty`, float32 [N], instead of `embedding`.

    It is the distance from `NoveltyDetector.nearest` in units of the nearest class's threshold. The computation is in
    float32, regardless of the form of the network.

    Args:
        model: A serialised `ModelProto` with the outputs `probabilities` and `embedding`.
        detector: The detector.
        thresholds: [C] the distance of each class that corresponds to a novelty of 1.
        shape: (height, width, channels) of an image.
    """
    proto = onnx.load_from_string(model)
    graph, branch = proto.graph, _Branch()
    width = len(detector.drawn)

    def standard(values: str, part: slice, name: str) -> str:
        centred = branch.node(
            "Sub", [values, branch.constant(f"{name}_center", detector.center[part])], f"{name}_centred"
        )
        return branch.node("Mul", [centred, branch.constant(f"{name}_scale", detector.scale[part])], f"{name}_standard")

    drawn = branch.node("Cast", [branch.constant("drawn_int8", detector.drawn)], "drawn", to=TensorProto.FLOAT)
    embedded = branch.node("MatMul", [standard(EMBEDDING, slice(width), "embedding"), drawn], "embedded")
    pixels = branch.node("Concat", _pixel_features(branch, shape), "pixels", axis=1)
    joined = branch.node("Concat", [embedded, standard(pixels, slice(width, None), "pixels")], "joined", axis=1)
    half = branch.constant("projection_float16", detector.projection)
    projection = branch.node("Cast", [half], "projection", to=TensorProto.FLOAT)
    point = branch.node("MatMul", [joined, projection], "point")
    # The expanded square finds the nearest mean quickly; the difference then gives its distance accurately.
    doubled = branch.constant("doubled", (-2 * detector.means.T).astype(np.float32))
    squares = branch.constant("squares", (detector.means.astype(np.float64) ** 2).sum(axis=1).astype(np.float32))
    shifted = branch.node("Gemm", [point, doubled, squares], "shifted")
    nearest = branch.node("ArgMin", [shifted], "nearest", axis=1, keepdims=0)
    mean = branch.node("Gather", [branch.constant("means", detector.means), nearest], "nearest_mean", axis=0)
    away = branch.node("Sub", [point, mean], "away")
    axes = branch.constant("last_axis", np.array([1], np.int64))
    distance = branch.node("ReduceL2", [away, axes], "distance", keepdims=0)
    thresholds_of = branch.constant("threshold", thresholds.astype(np.float32))
    threshold = branch.node("Gather", [thresholds_of, nearest], "nearest_threshold", axis=0)
    branch.node("Div", [distance, threshold], NOVELTY)
    graph.node.extend(branch.nodes)
    graph.initializer.extend(branch.constants)
    outputs = [output for output in graph.output if output.name != EMBEDDING]
    batch = graph.input[0].type.tensor_type.shape.dim[0].dim_param
    del graph.output[:]
    graph.output.extend([*outputs, helper.make_tensor_value_info(NOVELTY, TensorProto.FLOAT, [batch])])
    return canonical_bytes(proto)


def _pixel_features(branch: _Branch, shape: tuple[int, int, int]) -> list[str]:
    """Adds the computation of `models.novelty_detector.pixel_features`; returns its outputs' names, in order."""
    plane = branch.constant("plane_axes", np.array([1, 2], np.int64))
    levels = branch.node("Cast", [INPUT], "levels", to=TensorProto.FLOAT)
    kept = branch.node("ReduceMean", [levels, plane], "kept_mean", keepdims=1)
    mean = branch.node("Squeeze", [kept, plane], "mean")
    away = branch.node("Sub", [levels, kept], "from_mean")
    variance = branch.node("ReduceMean", [branch.node("Mul", [away, away], "squared"), plane], "variance", keepdims=0)
    parts = [mean, branch.node("Sqrt", [variance], "deviation")]
    grey = levels
    if shape[2] > 1:
        last = branch.constant("channel_axis", np.array([3], np.int64))
        grey = branch.node("ReduceMean", [levels, last], "grey", keepdims=1)
    grey = branch.node(
        "Reshape", [grey, branch.constant("plane_shape", np.array([-1, 1, *shape[:2]], np.int64))], "plane"
    )
    parts.append(_moments(branch, grey, shape))
    usable = novelty_detector.scales(shape[:2])
    if not usable:
        return parts
    filters = branch.constant("filters", novelty_detector.FILTERS[:, None])
    spatial = branch.constant("spatial_axes", np.array([2, 3], np.int64))
    straight = branch.constant("straight", np.arange(novelty_detector.STRAIGHT))
    for scale in usable:
        small = grey
        if scale > 1:
            small = branch.node("AveragePool", [grey], f"small{scale}", kernel_shape=[scale] * 2, strides=[scale] * 2)
        changes = branch.node("Conv", [small, filters], f"changes{scale}")
        sizes = branch.node("ReduceMean", [branch.node("Abs", [changes], f"sizes{scale}"), spatial], f"all_size{scale}",
                            keepdims=0)  # fmt: skip
        parts.append(branch.node("Gather", [sizes, straight], f"size{scale}", axis=1))
        squares = branch.node("Mul", [changes, changes], f"squares{scale}")
        power = branch.node("ReduceMean", [squares, spatial], f"power{scale}", keepdims=0)
        parts.append(branch.node("Sqrt", [power], f"root{scale}"))
    return parts


def _moments(branch: _Branch, grey: str, shape: tuple[int, int, int]) -> str:
    """Adds the moments of the grey levels + 1 of a plane [N, 1, height, width]; returns the output's name."""
    down, across = (novelty_detector.powers(side).astype(np.float32) for side in shape[:2])
    raised = branch.node("Add", [grey, branch.constant("one", np.float32(1))], "raised")
    rows = branch.node("MatMul", [raised, branch.constant("across", across)], "moments_across")
    products = branch.node("MatMul", [branch.constant("down", down.T), rows], "moments_down")
    flat = branch.node("Flatten", [products], "moments_all", axis=1)
    chosen = branch.constant("moments_chosen", np.array(novelty_detector.MOMENTS, np.int64))
    total = branch.constant("moments_total", np.array([0], np.int64))
    return branch.node(
        "Div",
        [
            branch.node("Gather", [flat, chosen], "moments_sums", axis=1),
            branch.node("Gather", [flat, total], "total", axis=1),
        ],
        "moments",
    )
