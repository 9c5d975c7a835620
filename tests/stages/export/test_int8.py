from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from sightline.core import files
from sightline.core.errors import UserError
from sightline.datasets.processed_set import ProcessedSet
from sightline.models import saved_model
from sightline.predict.bundle import Bundle
from sightline.stages.export import stage
from sightline.stages.export.int8 import calibration_images, to_int8
from sightline.stages.export.onnx import to_onnx
from sightline.stages.export.result import ExportResult, export_lines, measurements
from tests.exported import CONFIG, INT8, Project

QUANTISE = """
import os, sys
from pathlib import Path
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from sightline.core import files
from sightline.stages.export.int8 import calibration_images, to_int8
from sightline.datasets.processed_set import ProcessedSet
images = calibration_images(ProcessedSet(Path(sys.argv[1])).split("train"), 64)
print(files.sha256(to_int8(Path(sys.argv[2]).read_bytes(), images)))
"""


def export(project: Project, output: Path, **int8: Any) -> ExportResult:
    config = dataclasses.replace(CONFIG, parity_images=60, int8=dataclasses.replace(INT8, **int8))
    return stage.export(config, project.raw, project.processed, project.model, output, project.reports)


def manifest(bundle: Path) -> dict[str, Any]:
    return dict(json.loads((bundle / "manifest.json").read_text()))


def test_what_has_weights_is_computed_in_integers_and_what_is_done_to_pixels_is_not(project: Project) -> None:
    model = onnx.load(project.bundle / "model.int8.onnx")
    onnx.checker.check_model(model, full_check=True)
    made_by = {name: node for node in model.graph.node for name in node.output}
    for node in model.graph.node:
        given = {made_by[name].op_type for name in node.input if name in made_by}
        if node.op_type in ("Conv", "Gemm") and not node.name.startswith("novelty_"):
            assert given == {"DequantizeLinear"}, node.name
    order = [node.op_type for node in model.graph.node if not node.name.startswith("novelty_")]
    before = order[: order.index("QuantizeLinear")]
    assert {"Transpose", "Cast", "Sub", "Mul"} <= set(before)
    (weights, *_) = [i for i in model.graph.initializer if i.data_type == onnx.TensorProto.INT8 and len(i.dims) == 4]
    scale = next(i for i in model.graph.initializer if i.name == weights.name.replace("_quantized", "_scale"))
    assert list(scale.dims) == [weights.dims[0]], "one scale a channel"
    assert np.abs(onnx.numpy_helper.to_array(weights)).max() <= 64  # 7 bits: no overflow without VNNI


def test_both_forms_have_one_interface_and_nearly_one_opinion(project: Project) -> None:
    pixels = ProcessedSet(project.processed).split("test").images()
    both = {form: Bundle.load(project.bundle, model=form) for form in ("fp32", "int8")}
    given = {form: bundle.probabilities(pixels) for form, bundle in both.items()}
    assert given["int8"].shape == given["fp32"].shape
    assert (given["fp32"].argmax(1) == given["int8"].argmax(1)).mean() > 0.9
    assert np.abs(given["fp32"] - given["int8"]).max() > 1e-5  # they are two networks
    np.testing.assert_allclose(given["int8"].sum(axis=1), 1, atol=1e-5)
    size = {form: (project.bundle / name).stat().st_size for form, name in (("fp32", "model.onnx"),
                                                                            ("int8", "model.int8.onnx"))}  # fmt: skip
    assert size["int8"] < size["fp32"]


def test_same_bytes_from_another_process_folder_hash_seed_and_number_of_cores(project: Project, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONHASHSEED": "4711", "TMPDIR": str(tmp_path)}
    data, model = ProcessedSet(project.processed), tmp_path / "model.onnx"
    classifier, _ = saved_model.load_model(project.model)
    model.write_bytes(to_onnx(classifier, data.shape, 20, 1.25, classifier))
    command = [sys.executable, "-c", QUANTISE, str(project.processed), str(model)]
    here = to_int8(model.read_bytes(), calibration_images(data.split("train"), 64))
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == files.sha256(here)
    assert run.stderr == ""
    assert list(tmp_path.iterdir()) == [model]
    for trace in (b"/tmp", b"onnx.quantize", b"ort.quant"):
        assert trace not in (project.bundle / "model.int8.onnx").read_bytes()


def test_ranges_come_from_training_images_alone(project: Project) -> None:
    data = ProcessedSet(project.processed)
    images = calibration_images(data.split("train"), 64)
    assert len(images) == 64
    training = Counter(image.tobytes() for image in data.split("train").images())
    assert all(image.tobytes() in training for image in images)
    assert len(calibration_images(data.split("train"), 10**6)) == len(data.split("train"))


def blind(model: bytes, images: Any) -> bytes:
    """Quantises on black images: the ranges of activations come out far too small."""
    return to_int8(model, np.zeros_like(images[:1]))


def test_a_loss_beyond_the_limit_keeps_the_file_out_and_says_why(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "to_int8", blind)
    outcome = export(project, tmp_path / "bundle", default="auto")
    assert outcome.int8
    assert outcome.int8.accuracy_loss > 2
    assert outcome.int8.refused == "the loss is above int8.max_accuracy_loss, 2"
    assert not (tmp_path / "bundle" / "model.int8.onnx").exists()
    assert "model.int8.onnx" not in manifest(tmp_path / "bundle")["files"]
    assert manifest(tmp_path / "bundle")["proof"]["int8"]["refused"] == outcome.int8.refused
    assert outcome.int8.refused in (tmp_path / "bundle" / "model_card.md").read_text()
    assert any("not written (the loss is above" in line for line in export_lines(outcome))
    assert Bundle.load(tmp_path / "bundle").model == "fp32"
    with pytest.raises(UserError, match="has no int8 model, only fp32"):
        Bundle.load(tmp_path / "bundle", model="int8")


def test_too_little_agreement_keeps_it_out_even_where_no_accuracy_is_lost(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "to_int8", blind)
    outcome = export(project, tmp_path / "bundle", max_accuracy_loss=100.0)
    assert outcome.int8
    assert outcome.int8.refused == "the agreement is below int8.min_agreement, 90 %"


def test_asked_for_as_the_default_a_refused_one_stops_the_stage(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "to_int8", blind)
    with pytest.raises(UserError, match=r"int8.default asks for int8, which fails.*no bundle was written"):
        export(project, tmp_path / "bundle", default="int8")
    assert not (tmp_path / "bundle").exists()


def test_it_can_be_the_default_or_not_be_there(project: Project, tmp_path: Path) -> None:
    outcome = export(project, tmp_path / "default", default="int8")
    assert Bundle.load(tmp_path / "default").model == "int8"
    assert Bundle.load(tmp_path / "default", model="fp32").model == "fp32"
    assert "another is asked" not in (text := (tmp_path / "default" / "model_card.md").read_text())
    assert "Predicts by default: `model.int8.onnx`" in text
    measured = measurements(outcome)
    assert measured["default"] == "int8"
    assert 0.9 <= measured["int8"]["agreement"] <= 1
    assert {"megabytes", "latency_ms_batch_1"} <= measured["networks"]["int8"].keys()
    assert set(outcome.seconds) == {"torch", "fp32", "int8"}

    outcome = export(project, tmp_path / "without", enabled=False)
    assert (outcome.int8, outcome.default) == (None, "fp32")
    assert not (tmp_path / "without" / "model.int8.onnx").exists()


@pytest.mark.parametrize(
    ("milliseconds", "default", "chosen"),
    [
        ({"fp32": 3.0, "int8": 1.0}, "auto", "int8"),
        ({"fp32": 1.2, "int8": 1.0}, "auto", "int8"),
        ({"fp32": 1.19, "int8": 1.0}, "auto", "fp32"),
        ({"fp32": 1.0, "int8": 1.8}, "auto", "fp32"),
        ({"fp32": 1.0}, "auto", "fp32"),
        ({"fp32": 3.0, "int8": 1.0}, "fp32", "fp32"),
        ({"fp32": 1.0, "int8": 1.8}, "int8", "int8"),
    ],
)
def test_the_faster_of_the_two_predicts(milliseconds: dict[str, float], default: str, chosen: str) -> None:
    seconds = {name: {1: value / 1000, 32: 1.0} for name, value in milliseconds.items()}
    assert stage._default(dataclasses.replace(INT8, default=default), seconds) == chosen


@pytest.mark.parametrize(
    ("key", "value"),
    [("default", "int4"), ("min_speedup", 0.5), ("max_accuracy_loss", -1.0), ("min_agreement", 1.5),
     ("calibration_images", 0)],
)  # fmt: skip
def test_values_out_of_range_are_named(key: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^int8.{key}: .*{value}"):
        dataclasses.replace(INT8, **{key: value})


def test_a_default_that_is_not_made() -> None:
    with pytest.raises(ValueError, match=r"int8.default: is int8, and int8.enabled is false"):
        dataclasses.replace(INT8, enabled=False, default="int8")


def test_onnx_runtime_reads_what_is_shipped(project: Project) -> None:
    (given,) = onnxruntime.InferenceSession(project.bundle / "model.int8.onnx").get_inputs()
    assert (given.name, given.type, given.shape) == ("images", "tensor(uint8)", ["batch", 12, 12, 1])
