"""Novelty detector as a part of a network's ONNX graph: the output `novelty`, above 1 for what is no known class."""

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
"""Names of the nodes and tensors begin with it."""

FILTERS = np.array(
    [
        [[0, 0, 0], [0, -1, 1], [0, 0, 0]],
        [[0, 0, 0], [0, -1, 0], [0, 1, 0]],
        [[0, 0, 0], [1, -2, 1], [0, 0, 0]],
        [[0, 1, 0], [0, -2, 0], [0, 1, 0]],
    ],
    np.float32,
)[:, None]
"""[4, 1, 3, 3]: differences across and down, first and second, as `novelty_detector.pixel_features` takes them."""


class _Branch:
    """Nodes and constants that are added to a graph."""

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
    """Returns a network whose output `embedding` has given way to `novelty`, float32 [N].

    It is the distance that `NoveltyDetector.nearest` gives, in units of the nearest class's threshold. All is computed
    in floats, whatever the form of the network.

    Args:
        model: A serialised `ModelProto` with the outputs `probabilities` and `embedding`.
        detector: The detector.
        thresholds: [C] the distance that becomes 1, of each class.
        shape: (height, width, channels) of an image.
    """
    proto = onnx.load_from_string(model)
    graph, branch = proto.graph, _Branch()
    values = branch.node("Concat", [EMBEDDING, *_pixel_features(branch, shape)], "features", axis=1)
    centred = branch.node("Sub", [values, branch.constant("center", detector.center)], "centred")
    standard = branch.node("Mul", [centred, branch.constant("scale", detector.scale)], "standard")
    half = branch.constant("projection_float16", detector.projection)
    projection = branch.node("Cast", [half], "projection", to=TensorProto.FLOAT)
    point = branch.node("MatMul", [standard, projection], "point")
    # The nearest mean by the squares' sums, which is quick; the distance to it by the difference, which is exact.
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
    """Adds what `models.novelty_detector.pixel_features` computes; returns the names of its parts, in its order."""
    plane = branch.constant("plane_axes", np.array([1, 2], np.int64))
    levels = branch.node("Cast", [INPUT], "levels", to=TensorProto.FLOAT)
    kept = branch.node("ReduceMean", [levels, plane], "kept_mean", keepdims=1)
    mean = branch.node("Squeeze", [kept, plane], "mean")
    away = branch.node("Sub", [levels, kept], "from_mean")
    variance = branch.node("ReduceMean", [branch.node("Mul", [away, away], "squared"), plane], "variance", keepdims=0)
    parts = [mean, branch.node("Sqrt", [variance], "deviation")]
    usable = novelty_detector.scales(shape[:2])
    if not usable:
        return parts
    grey = levels
    if shape[2] > 1:
        last = branch.constant("channel_axis", np.array([3], np.int64))
        grey = branch.node("ReduceMean", [levels, last], "grey", keepdims=1)
    grey = branch.node("Transpose", [grey], "plane", perm=[0, 3, 1, 2])
    filters = branch.constant("filters", FILTERS)
    spatial = branch.constant("spatial_axes", np.array([2, 3], np.int64))
    for scale in usable:
        small = grey
        if scale > 1:
            small = branch.node("AveragePool", [grey], f"small{scale}", kernel_shape=[scale] * 2, strides=[scale] * 2)
        changes = branch.node("Abs", [branch.node("Conv", [small, filters], f"signed{scale}")], f"changes{scale}")
        parts.append(branch.node("ReduceMean", [changes, spatial], f"change{scale}", keepdims=0))
    return parts
