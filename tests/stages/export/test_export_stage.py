from __future__ import annotations

import dataclasses
import json
import math
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from omegaconf import OmegaConf

from sightline.core import files
from sightline.core.errors import UserError
from sightline.datasets import processed_set, raw_set
from sightline.metrics.classification import classification_metrics
from sightline.models.inference import Predictor
from sightline.predict.bundle import Bundle
from sightline.stages.export import calibration_file, parity_images, stage
from sightline.stages.export.calibration_file import Calibration
from sightline.stages.export.config import ExportConfig
from sightline.stages.export.onnx import to_onnx
from sightline.stages.export.result import ExportResult
from tests.exported import CALIBRATION, CONFIG, RATE, TEST_ROWS, VALIDATION_ROWS, Project

ROOT = Path(__file__).parents[3]


def export(project: Project, output: Path, **changes: Any) -> ExportResult:
    config = dataclasses.replace(CONFIG, **changes)
    return stage.export(config, project.raw, project.processed, project.model, output, project.reports)


def test_the_bundle_is_complete_and_lists_its_files(project: Project) -> None:
    names = {path.name for path in project.bundle.iterdir()}
    assert names == {
        *("model.onnx", "model.int8.onnx", "calibration.json", "contract.json", "classes.json", "model_card.md"),
        *("conformal.npz", "reference.npz", "manifest.json"),
    }
    manifest = json.loads((project.bundle / "manifest.json").read_text())
    for name, part in manifest["files"].items():
        data = (project.bundle / name).read_bytes()
        assert part == {"bytes": len(data), "sha256": files.sha256(data)}
    assert set(manifest["files"]) == names - {"manifest.json"}
    assert manifest["lineage"] == {
        "data_sha256": processed_set.ProcessedSet(project.processed).digest,
        "model_sha256": files.sha256_file(project.model / "model.safetensors"),
        "predictions_sha256": files.sha256_file(project.reports / "predictions.parquet"),
    }
    assert manifest["default"] == "fp32"
    assert manifest["proof"]["images"] == {"test": TEST_ROWS}
    data = processed_set.ProcessedSet(project.processed)
    assert manifest["proof"]["available"] == sum(len(data.split(name)) for name in ("test", "val"))
    assert manifest["proof"]["agreement"] == 1.0
    novelty = json.loads((project.bundle / "calibration.json").read_text()).pop("novelty")
    assert (novelty["rate"], novelty["images"], [*novelty["thresholds"]]) == (RATE, VALIDATION_ROWS, ["fp32", "int8"])


def test_from_encoded_bytes_it_says_what_evaluation_saw(project: Project) -> None:
    raw = Predictor.load(project.model)(processed_set.ProcessedSet(project.processed).split("test").images())
    expected = Calibration(**CALIBRATION).apply(raw)
    predictions = list(Bundle.load(project.bundle).predict(project.pictures, top_k=10))
    right = 0
    for row, prediction, label in zip(expected, predictions, project.labels, strict=True):
        assert prediction.label == str(row.argmax())
        assert dict(prediction.top) == pytest.approx({str(i): p for i, p in enumerate(row)}, abs=5e-6)
        right += prediction.label == label
    assert right / len(predictions) > 0.7  # by chance 0.1: it has learnt, so that equal answers mean something


def test_scored_with_the_bundle_or_with_torch_the_metrics_are_the_same(project: Project) -> None:
    split = processed_set.ProcessedSet(project.processed).split("test")
    trained = Calibration(**CALIBRATION).apply(Predictor.load(project.model)(split.images()))
    exported = Bundle.load(project.bundle, model="fp32").probabilities(split.images()).astype(np.float64)
    first, second = (classification_metrics(split.labels, p, resamples=0) for p in (trained, exported))
    assert first.keys() == second.keys()
    assert second == pytest.approx(first, abs=1e-5)
    counts = [name for name in first if name in ("images", "errors") or name.startswith(("accuracy", "f1", "recall"))]
    assert len(counts) > 10
    assert {name: first[name] for name in counts} == {name: second[name] for name in counts}


def test_exporting_twice_gives_the_same_bytes(project: Project, tmp_path: Path) -> None:
    outcome = export(project, tmp_path / "again")
    assert files.sha256_tree(tmp_path / "again") == files.sha256_tree(project.bundle)
    assert (outcome.parity.images, outcome.parity.agreement) == (TEST_ROWS, 1.0)
    assert outcome.parity.max_difference <= 5e-6


@pytest.fixture
def old_bundle(tmp_path: Path) -> Path:
    old = tmp_path / "models" / "bundle"
    old.mkdir(parents=True)
    (old / "old").write_text("the old bundle")
    return old


def untouched(old: Path) -> bool:
    """Says whether nothing but the old bundle stands where the new one would."""
    return [p.name for p in old.parent.iterdir()] == ["bundle"] and [p.name for p in old.iterdir()] == ["old"]


def test_a_model_whose_weights_changed_after_export_fails_the_gate(
    project: Project, old_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tampered(classifier: torch.nn.Module, *rest: Any) -> bytes:
        exported = to_onnx(classifier, *rest)
        with torch.no_grad():
            next(p for p in classifier.parameters() if p.ndim == 4)[0, 0, 0, 0] += 0.05
        return exported

    monkeypatch.setattr(stage, "to_onnx", tampered)
    with pytest.raises(UserError, match=r"differs from the trained one.*worst: digit-\d{4} .*no bundle was written"):
        export(project, old_bundle)
    assert untouched(old_bundle)


def test_another_transform_than_the_one_trained_with_fails_the_gate(
    project: Project, old_bundle: Path, tmp_path: Path
) -> None:
    processed = shutil.copytree(project.processed, tmp_path / "processed")
    transform = json.loads((processed / "contract.json").read_text())
    transform["steps"]["denoise"] = {"name": "none"}
    files.write_json(processed / "contract.json", transform)
    with pytest.raises(UserError, match="differs from the trained one"):
        export(dataclasses.replace(project, processed=processed), old_bundle)
    assert untouched(old_bundle)


def test_other_classes_than_the_models_are_refused(project: Project, old_bundle: Path, tmp_path: Path) -> None:
    processed = shutil.copytree(project.processed, tmp_path / "processed")
    raw_set.write_classes([*"012345678", "nine"], processed / "classes.json")
    with pytest.raises(UserError, match="run the train stage again"):
        export(dataclasses.replace(project, processed=processed), old_bundle)
    assert untouched(old_bundle)


def test_raw_images_that_are_gone_are_noticed(project: Project, old_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"lacks {TEST_ROWS} of the preprocessed images"):
        export(dataclasses.replace(project, raw=tmp_path), old_bundle)
    assert untouched(old_bundle)


def test_a_set_without_test_images_is_refused(project: Project, old_bundle: Path, tmp_path: Path) -> None:
    processed = shutil.copytree(project.processed, tmp_path / "processed")
    table = pq.read_table(processed / "index.parquet")
    pq.write_table(table.slice(TEST_ROWS + VALIDATION_ROWS), processed / "index.parquet")
    with pytest.raises(UserError, match="no test images"):
        export(dataclasses.replace(project, processed=processed), old_bundle)


def test_the_card_gives_metrics_with_interval_licence_calibration_and_limits(project: Project, tmp_path: Path) -> None:
    outcome = export(project, tmp_path / "bundle", parity_images=7)
    text = (tmp_path / "bundle" / "model_card.md").read_text()
    assert outcome.counts == {"test": 7}
    table = [line for line in text.splitlines() if line.startswith("|")][2:]
    assert table == ["| accuracy | 0.9500 | 0.9000 to 0.9800 |", "| f1\\_macro | 0.9400 |  |", "| images | 120 |  |"]
    assert 'license: "CC-BY-4.0"' in text
    assert "## Limits" in text
    assert "120 test" in text
    assert "compared with the trained model on 7 images (7 test)" in text
    assert "calibrated by temperature scaling (T = 1.25," in text
    assert re.search(r"probability is 0.75 or more, as for 80.0 % of the validation images, at least\s+95 %", text)
    assert not re.search(r"\b20\d\d-\d\d-\d\d\b", text)  # a date would make two equal exports differ


def test_the_card_names_the_weights_that_training_began_with(project: Project, tmp_path: Path) -> None:
    model = shutil.copytree(project.model, tmp_path / "model")
    info = json.loads((model / "model.json").read_text())
    files.write_json(model / "model.json", {**info, "initial_weights": {"sha256": "ab" * 32, "license": "CC-BY-4.0"}})
    config = dataclasses.replace(CONFIG, int8=dataclasses.replace(CONFIG.int8, enabled=False))
    stage.export(config, project.raw, project.processed, model, tmp_path / "bundle", project.reports)
    card = (tmp_path / "bundle" / "model_card.md").read_text()
    assert f"Trained from weights of the licence CC-BY-4.0 (SHA-256 `{'ab' * 32}`)." in card
    assert "Trained from weights" not in (project.bundle / "model_card.md").read_text()


def test_a_target_that_is_never_met_has_no_threshold(project: Project, tmp_path: Path) -> None:
    reports = shutil.copytree(project.reports, tmp_path / "reports")
    files.write_json(reports / "calibration.json", {**CALIBRATION, "threshold": None, "coverage": 0.0})
    export(dataclasses.replace(project, reports=reports), tmp_path / "bundle", parity_images=7)
    assert Bundle.load(tmp_path / "bundle").threshold is None
    assert "No threshold on them reaches an accuracy of 95 %" in (tmp_path / "bundle" / "model_card.md").read_text()


def test_too_few_test_images_are_filled_up_from_validation(project: Project, tmp_path: Path) -> None:
    processed = shutil.copytree(project.processed, tmp_path / "processed")
    rows = pq.read_table(processed / "index.parquet").to_pylist()
    for row in rows[100:115]:
        row["split"] = "val"
    pq.write_table(pa.Table.from_pylist(rows, schema=processed_set.INDEX_SCHEMA), processed / "index.parquet")
    data = processed_set.ProcessedSet(processed)
    assert [place.split for place in parity_images.choose_images(data, 110).values()] == ["test"] * 105 + ["val"] * 5
    assert {place.split for place in parity_images.choose_images(data, 105).values()} == {"test"}
    assert len(parity_images.choose_images(data, 1000)) == TEST_ROWS + VALIDATION_ROWS


@pytest.mark.parametrize(
    ("content", "message"), [(None, "is missing: run the eval"), ("{", r"is damaged.*: run the eval")]
)
@pytest.mark.parametrize("name", ["metrics_detail.json", "calibration.json"])
def test_reports_that_cannot_be_read(
    project: Project, tmp_path: Path, name: str, content: str | None, message: str
) -> None:
    reports = shutil.copytree(project.reports, tmp_path / "reports")
    (reports / name).unlink()
    if content:
        (reports / name).write_text(content)
    with pytest.raises(UserError, match=f"{name} {message}"):
        export(dataclasses.replace(project, reports=reports), tmp_path / "bundle")


@pytest.mark.parametrize("temperature", [0, -1, math.nan, math.inf])
def test_a_temperature_that_is_none(tmp_path: Path, temperature: float) -> None:
    path = tmp_path / "calibration.json"
    path.write_text(json.dumps({**CALIBRATION, "temperature": temperature}))
    with pytest.raises(UserError, match="not a positive number"):
        calibration_file.read_calibration(path)


def test_the_shipped_defaults_fit_the_schema() -> None:
    content = OmegaConf.load(ROOT / "conf/export/default.yaml")
    assert isinstance(OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(ExportConfig), content)), ExportConfig)


@pytest.mark.parametrize(
    ("key", "value"),
    [("opset", 17), ("opset", 24), ("parity_images", 0), ("parity_tolerance", 0.0), ("parity_tolerance", float("nan"))],
)
def test_values_out_of_range_are_named(key: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"^{key}: .*{value}"):
        dataclasses.replace(CONFIG, **{key: value})


@pytest.mark.slow
def test_test_time_augmentation_is_part_of_what_ships(project: Project, tmp_path: Path) -> None:
    reports = tmp_path / "reports"
    shutil.copytree(project.reports, reports)
    content = json.loads((reports / "calibration.json").read_text())
    files.write_json(reports / "calibration.json", {**content, "tta": ["mirror", "crops"]})
    export(dataclasses.replace(project, reports=reports), tmp_path / "bundle")  # parity is its gate
    plain, averaged = Bundle.load(project.bundle, "fp32"), Bundle.load(tmp_path / "bundle", "fp32")
    images = processed_set.ProcessedSet(project.processed).split("test").images(slice(0, 20))
    answers = Predictor.load(project.model, ["mirror", "crops"])(images)
    expected = calibration_file.apply_temperature(answers, 1.25)
    np.testing.assert_allclose(averaged.probabilities(images), expected, atol=1e-5)
    assert not np.allclose(plain.probabilities(images), expected, atol=1e-3)
    assert averaged.calibration["tta"] == ["mirror", "crops"]
    assert "tta" not in plain.calibration
    assert "mean over views of the image (mirror, crops)" in averaged.card
