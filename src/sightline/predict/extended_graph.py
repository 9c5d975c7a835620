"""Extension of a bundle's ONNX graph with further classes, given by their means in the novelty detector's space."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from sightline.core.errors import UserError
from sightline.predict.manifest import OUTPUT

POINT, SCORES, MEANS = "novelty_point", "novelty_shifted", "novelty_means"
"""Tensors of the novelty detector: projected features p [N, R]; |m|² - 2pm for each class mean m; the means [C, R]."""
_DOUBLED, _SQUARES, _THRESHOLDS = "novelty_doubled", "novelty_squares", "novelty_threshold"
_TRAINED = "trained_probabilities"
_PREFIX = "extended_"


def with_point(model: bytes, bundle: Path) -> bytes:
    """Returns the network with an additional output: an image's point in the novelty detector's space.

    Raises:
        UserError: If it has no novelty detector, or has already been extended.
    """
    proto = onnx.load_from_string(model)
    names = {output for node in proto.graph.node for output in node.output}
    if not {POINT, SCORES} <= names:
        raise UserError(f"{bundle}: its network has no novelty output, which an extension needs: export it again")
    if _TRAINED in names:
        raise UserError(f"{bundle} has already been extended: extend the original bundle with all new classes")
    proto.graph.output.append(helper.make_tensor_value_info(POINT, TensorProto.FLOAT, None))
    return bytes(proto.SerializeToString(deterministic=True))


def trained_means(model: bytes) -> npt.NDArray[np.float64]:
    """Returns the means [C, R] of the trained classes."""
    return _constant(onnx.load_from_string(model).graph, MEANS).astype(np.float64)


def extended(model: bytes, means: npt.NDArray[np.float64], spread: float, threshold: float) -> bytes:
    """Returns the network with further classes after the trained ones.

    Args:
        model: The network; its output is the argument `trained` of `ClassMeans.answers`.
        means: [n, R] the new classes' means.
        spread: The divisor of the log odds.
        threshold: The distance above which an image nearest to a new class is novel.
    """
    proto = onnx.load_from_string(model)
    graph = proto.graph
    trained = len(_constant(graph, MEANS))
    for name, added, along in ((MEANS, means, 0), (_DOUBLED, -2 * means.T, 1), (_SQUARES, (means**2).sum(axis=1), 0)):
        _replace(graph, name, np.concatenate([_constant(graph, name), added.astype(np.float32)], axis=along))
    thresholds = _constant(graph, _THRESHOLDS)
    if thresholds.ndim:  # bundles of older versions have one threshold for all classes
        _replace(graph, _THRESHOLDS, np.append(thresholds, np.full(len(means), threshold, np.float32)))
    for old_node in graph.node:
        for names in (old_node.output, old_node.input):
            names[:] = [_TRAINED if name == OUTPUT else name for name in names]

    def constant(name: str, value: npt.ArrayLike) -> str:
        graph.initializer.append(numpy_helper.from_array(np.asarray(value), _PREFIX + name))
        return _PREFIX + name

    def node(kind: str, inputs: list[str], name: str, **attributes: Any) -> str:
        graph.node.append(helper.make_node(kind, inputs, [name], name=_PREFIX + kind + name, **attributes))
        return name

    axis = constant("axis", np.array([1], np.int64))
    zero, one = constant("zero", np.array([0], np.int64)), constant("one", np.array([1], np.int64))
    border, end = constant("border", np.array([trained], np.int64)), constant("end", np.array([2**31 - 1], np.int64))
    scores = node("Mul", [SCORES, constant("factor", np.float32(-0.5 / spread))], f"{_PREFIX}scores")
    old = node("Slice", [scores, zero, border, axis], f"{_PREFIX}old_scores")
    new = node("Slice", [scores, border, end, axis], f"{_PREFIX}new_scores")
    together = node("ReduceLogSumExp", [old, axis], f"{_PREFIX}old_score", keepdims=1)
    shares = node(
        "Softmax", [node("Concat", [together, new], f"{_PREFIX}log_odds", axis=1)], f"{_PREFIX}shares", axis=1
    )
    old_share = node("Slice", [shares, zero, one, axis], f"{_PREFIX}old_share")
    new_shares = node("Slice", [shares, one, end, axis], f"{_PREFIX}new_shares")
    known = node("Mul", [_TRAINED, old_share], f"{_PREFIX}old")
    node("Concat", [known, new_shares], OUTPUT, axis=1)
    (output,) = (output for output in graph.output if output.name == OUTPUT)
    output.type.tensor_type.shape.dim[1].dim_value += len(means)
    return bytes(proto.SerializeToString(deterministic=True))


def _constant(graph: Any, name: str) -> npt.NDArray[np.float32]:
    (found,) = (tensor for tensor in graph.initializer if tensor.name == name)
    return numpy_helper.to_array(found)


def _replace(graph: Any, name: str, value: npt.NDArray[np.float32]) -> None:
    (place,) = (n for n, tensor in enumerate(graph.initializer) if tensor.name == name)
    graph.initializer[place].CopyFrom(numpy_helper.from_array(value, name))
