from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from sightline.config.schema import Option
from sightline.datasets.processed_set import ProcessedSet
from sightline.models import saved_model
from sightline.models.architectures.cnn import Cnn
from sightline.models.architectures.dense import Dense
from sightline.models.architectures.resnet import ResNet
from sightline.models.classifier import build_classifier
from sightline.stages.export.onnx import ProbabilityModel, to_onnx
from tests.exported import Project

DIGEST = """
import hashlib, sys
from pathlib import Path
from sightline.stages.export.novelty_graph import with_novelty
from sightline.stages.export.onnx import to_onnx
from sightline.models import novelty_detector, saved_model
classifier, shape = saved_model.load_model(Path(sys.argv[1]))[0], (12, 12, 1)
fitted = novelty_detector.load_detector(Path(sys.argv[2]))
plain = to_onnx(classifier, shape, 20, 1.25, classifier)
print(hashlib.sha256(with_novelty(plain, fitted.detector, fitted.thresholds.of_class, shape)).hexdigest())
"""


@pytest.fixture(scope="module")
def exported(project: Project) -> bytes:
    return (project.bundle / "model.onnx").read_bytes()


def test_takes_the_contracts_pixels_and_gives_probabilities(exported: bytes) -> None:
    session = onnxruntime.InferenceSession(exported)
    (given,), (made, novelty) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.type, given.shape) == ("images", "tensor(uint8)", ["batch", 12, 12, 1])
    assert (made.name, made.type, made.shape) == ("probabilities", "tensor(float)", ["batch", 10])
    assert (novelty.name, novelty.type, novelty.shape) == ("novelty", "tensor(float)", ["batch"])


@pytest.mark.parametrize("count", [1, 2, 3, 65])
def test_batches_of_any_size_equal_torch(project: Project, exported: bytes, count: int) -> None:
    classifier, _ = saved_model.load_model(project.model)
    pixels = ProcessedSet(project.processed).split("test").images(slice(0, count))
    with torch.inference_mode():
        expected = ProbabilityModel(classifier, 1.25).eval()(torch.from_numpy(pixels)).numpy()
    actual = onnxruntime.InferenceSession(exported).run(None, {"images": pixels})[0]
    np.testing.assert_allclose(actual, expected, atol=1e-6)
    np.testing.assert_allclose(actual.sum(axis=1), 1, atol=1e-6)


def test_is_one_valid_file_that_says_nothing_of_where_it_was_made(exported: bytes) -> None:
    model = onnx.load_from_string(exported)
    onnx.checker.check_model(model, full_check=True)
    assert not any(tensor.external_data for tensor in model.graph.initializer)
    for trace in (b"site-packages", b".py", b"stack_trace", b"sightline.models", torch.__version__.encode()):
        assert trace not in exported, trace


def test_same_bytes_from_another_process_folder_hash_seed_and_thread_count(
    project: Project, exported: bytes, tmp_path: Path
) -> None:
    folder = tmp_path / "else where"
    folder.mkdir()
    for name in (saved_model.WEIGHTS, saved_model.INFO):
        shutil.copy(project.model / name, folder)
    assert os.environ.get("PYTHONHASHSEED") != "4711"
    environment = {**os.environ, "PYTHONHASHSEED": "4711", "OMP_NUM_THREADS": "3"}
    command = [sys.executable, "-c", DIGEST, str(folder), str(project.reports / "novelty.npz")]
    run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == hashlib.sha256(exported).hexdigest()
    assert run.stderr == ""  # nor a word of the exporter's on the terminal


@pytest.mark.parametrize(
    ("option", "shape"),
    [
        (Cnn("cnn", 4, 3, 8, 0.5, "full"), (9, 7, 3)),
        (Dense("dense", [16], 0.5), (8, 8, 1)),
        (ResNet("resnet18", None), (32, 32, 3)),
    ],
    ids=lambda value: value.name if isinstance(value, Option) else "",
)
def test_every_network_exports_as_it_evaluates(option: Option, shape: tuple[int, int, int]) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        classifier = build_classifier(
            option, shape, 4, [0.5] * shape[2], [0.2] * shape[2]
        )  # in training mode: dropout is on
    pixels = np.random.default_rng(0).integers(0, 256, (5, *shape), np.uint8)
    actual = onnxruntime.InferenceSession(to_onnx(classifier, shape, 20)).run(None, {"images": pixels})[0]
    with torch.inference_mode():
        expected = torch.softmax(classifier.eval()(torch.from_numpy(pixels)), 1).numpy()
    np.testing.assert_allclose(actual, expected, atol=1e-5)


@pytest.mark.parametrize("opset", [18, 23])
def test_the_ends_of_the_range_of_operator_sets(project: Project, opset: int) -> None:
    classifier, _ = saved_model.load_model(project.model)
    model = onnx.load_from_string(to_onnx(classifier, (12, 12, 1), opset))
    assert [(o.domain, o.version) for o in model.opset_import] == [("", opset)]
    onnxruntime.InferenceSession(model.SerializeToString())


def test_temperature_flattens() -> None:
    class Same(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.float().flatten(1)

    pixels = torch.tensor([[[[1], [3]]]], dtype=torch.uint8)
    hot = ProbabilityModel(Same(), temperature=2.0)(pixels)
    np.testing.assert_allclose(hot.numpy(), torch.softmax(torch.tensor([[0.5, 1.5]]), 1).numpy(), atol=1e-7)
