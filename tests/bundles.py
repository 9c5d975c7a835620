"""Small trained bundles of the shared datasets, and their images as encoded files, for prediction, server and page."""

from __future__ import annotations

import contextlib
import functools
import gzip
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from sightline.core import files
from sightline.core.rejection import RejectionError
from sightline.imaging import decode
from sightline.imaging.transform.clean import Clean
from sightline.imaging.transform.enhance.contrast import Clahe
from sightline.imaging.transform.pipeline import Transform
from sightline.imaging.transform.resize import Pad, Stretch
from sightline.imaging.transform.step import Nothing
from sightline.predict import manifest

SETS = ("fashion-mnist", "mnist", "sign-language-digits")
FASHION = ["T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
CARD = """# Small test model

A convolutional network, trained for a moment. **Not for use**: it is there so that the road to it can be tried.

| figure | value |
| --- | --- |
| pur\\_pose \\| \\<b\\> | tests |

- accuracy: whatever it is
"""


@dataclass(frozen=True)
class Encoded:
    """An encoded image, its file name and its class."""

    name: str
    data: bytes
    label: str


def shared(name: str) -> Path:
    """Returns the folder of a shared dataset, or skips the test."""
    root = Path(os.environ.get("SIGHTLINE_SHARED_DATA", "../shared/data")) / name
    return root if root.is_dir() else pytest.skip(f"no {root}: set SIGHTLINE_SHARED_DATA")


@functools.cache
def encoded(name: str, count: int) -> list[Encoded]:
    """Returns `count` images of a shared dataset: JPEGs as they are, IDX images as PNG."""
    root = shared(name)
    if name == "sign-language-digits":
        found = sorted(root.glob("*/*.*"))
        chosen = found[:: max(1, len(found) // count)][:count]
        return [Encoded(f"{path.parent.name}-{path.name}", path.read_bytes(), path.parent.name) for path in chosen]
    pixels = np.frombuffer(gzip.decompress((root / "t10k-images-idx3-ubyte.gz").read_bytes()), np.uint8, offset=16)
    labels = gzip.decompress((root / "t10k-labels-idx1-ubyte.gz").read_bytes())[8:]
    names = FASHION if name == "fashion-mnist" else [str(digit) for digit in range(10)]
    return [
        Encoded(f"{place:05}.png", decode.encode_png(image), names[label])
        for place, (image, label) in enumerate(zip(pixels.reshape(-1, 28, 28, 1)[:count], labels[:count], strict=True))
    ]


def transform(name: str) -> Transform:
    """Returns the preprocessing of a dataset: plain for digits and clothes, with some steps for photographs."""
    nothing = Nothing("none")
    plain = {"denoise": nothing, "segment": nothing}
    if name == "sign-language-digits":
        cleaned = Clean("standard", True, 8, False, 0, 512, "keep")
        enhanced = Clahe("clahe", clip_limit=2.0, tiles=8)
        return Transform.build(48, 3, [255], clean=cleaned, enhance=enhanced, resize=Pad("pad"), **plain)
    return Transform.build(28, 1, [0], clean=nothing, enhance=nothing, resize=Stretch("stretch"), **plain)


def accepted_hostile_files() -> list[Path]:
    """Returns the hostile files that are valid images nevertheless."""
    found = []
    for path in sorted(shared("hostile").rglob("*")):
        if path.is_file():
            with contextlib.suppress(RejectionError):
                decode.decode(path.read_bytes())
                found.append(path)
    return found


def trained(name: str, folder: Path, count: int = 200, steps: int = 8) -> Callable[[np.ndarray], np.ndarray]:
    """Trains a network briefly and writes its bundle; returns the network itself, as evaluation calls it."""
    import torch

    from sightline.models.architectures.cnn import Cnn
    from sightline.models.classifier import build_classifier
    from sightline.models.inference import Predictor
    from sightline.stages.export.onnx import to_onnx

    preprocessing = transform(name)
    drawn = encoded(name, count)
    classes = sorted({one.label for one in drawn})
    x = torch.from_numpy(np.stack([preprocessing.decode(one.data) for one in drawn]))
    y = torch.tensor([classes.index(one.label) for one in drawn])
    option = Cnn("cnn", width=8, blocks=2, hidden=32, dropout=0.1, stem="full")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        depth = preprocessing.shape[2]
        classifier = build_classifier(option, preprocessing.shape, len(classes), [0.5] * depth, [0.3] * depth).train()
        optimizer = torch.optim.Adam(classifier.parameters(), 0.01)
        for step in range(steps):
            rows = torch.arange(step * 64, step * 64 + 64) % len(x)
            loss = torch.nn.functional.cross_entropy(classifier(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    _write(folder, name, to_onnx(classifier.eval(), preprocessing.shape, opset=20), classes)
    return Predictor(classifier, {})


def quick(name: str, folder: Path, count: int = 500) -> Path:
    """Writes a bundle whose network compares an image with each class's mean: quick to make, and often right."""
    from onnx import TensorProto, helper, numpy_helper

    preprocessing = transform(name)
    drawn = encoded(name, count)
    classes = sorted({one.label for one in drawn})
    x = np.stack([preprocessing.decode(one.data) for one in drawn]).reshape(len(drawn), -1) / np.float32(255)
    y = np.array([classes.index(one.label) for one in drawn])
    means = np.stack([x[y == k].mean(axis=0) for k in range(len(classes))]).astype(np.float32)
    weights, bias = means.T * 0.2, -0.1 * (means**2).sum(axis=1)  # their softmax is that of -0.1 * squared distance
    nodes = [
        helper.make_node("Cast", ["images"], ["levels"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["levels", "white"], ["shares"]),
        helper.make_node("Flatten", ["shares"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weights", "bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    parts = {"white": np.float32(255), "weights": weights, "bias": bias.astype(np.float32)}
    graph = helper.make_graph(
        nodes,
        "means",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["batch", *preprocessing.shape])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", len(classes)])],
        [numpy_helper.from_array(np.asarray(value), key) for key, value in parts.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return _write(folder, name, model.SerializeToString(), classes)


def _write(folder: Path, name: str, model: bytes, classes: list[str]) -> Path:
    files.write_bytes(folder / manifest.MODEL, model)
    transform(name).save(folder / manifest.TRANSFORM)
    files.write_json(folder / manifest.CLASSES, {"classes": classes})
    calibration = {"temperature": 1.0, "target_accuracy": 0.99, "threshold": 0.4, "coverage": 0.5}
    files.write_json(folder / manifest.CALIBRATION, calibration)
    files.write_text(folder / manifest.CARD, CARD)
    manifest.write_manifest(folder, {"data_sha256": "d" * 64, "model_sha256": files.sha256(name.encode())})
    return folder
