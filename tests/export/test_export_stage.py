from __future__ import annotations

import dataclasses
import json
import re
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from omegaconf import OmegaConf

from sightline import files, records, shards
from sightline.errors import UserError
from sightline.export import card, stage
from sightline.export.config import ExportConfig
from sightline.export.onnx import to_onnx
from sightline.models.inference import Predictor
from sightline.predict.bundle import Bundle
from tests.exported import CONFIG, TEST_ROWS, Project

ROOT = Path(__file__).parents[2]


def test_the_bundle_is_complete_and_lists_its_files(project: Project) -> None:
    names = {path.name for path in project.bundle.iterdir()}
    assert names == {"model.onnx", "contract.json", "classes.json", "model_card.md", "manifest.json"}
    manifest = json.loads((project.bundle / "manifest.json").read_text())
    for name, part in manifest["files"].items():
        data = (project.bundle / name).read_bytes()
        assert part == {"bytes": len(data), "sha256": files.sha256(data)}
    assert set(manifest["files"]) == names - {"manifest.json"}
    assert manifest["lineage"] == {
        "data_sha256": shards.ProcessedSet(project.processed).digest,
        "model_sha256": files.sha256_file(project.model / "model.safetensors"),
    }


def test_from_encoded_bytes_it_says_what_evaluation_saw(project: Project) -> None:
    expected = Predictor.load(project.model)(shards.ProcessedSet(project.processed).split("test").images())
    predictions = list(Bundle.load(project.bundle).predict(project.pictures, top_k=10))
    right = 0
    for row, prediction, label in zip(expected, predictions, project.labels, strict=True):
        assert prediction.label == str(row.argmax())
        assert dict(prediction.top) == pytest.approx({str(i): p for i, p in enumerate(row)}, abs=1e-6)
        right += prediction.label == label
    assert right / len(predictions) > 0.7  # by chance 0.1: it has learnt, so that equal answers mean something


def test_exporting_twice_gives_the_same_bytes(project: Project, tmp_path: Path) -> None:
    outcome = stage.export(CONFIG, project.raw, project.processed, project.model, tmp_path / "again")
    assert files.sha256_tree(tmp_path / "again") == files.sha256_tree(project.bundle)
    assert (outcome.images, outcome.agreement) == (TEST_ROWS, 1.0)
    assert outcome.max_difference <= 1e-6


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
    def tampered(classifier: torch.nn.Module, shape: tuple[int, int, int], opset: int) -> bytes:
        exported = to_onnx(classifier, shape, opset)
        with torch.no_grad():
            next(p for p in classifier.parameters() if p.ndim == 4)[0, 0, 0, 0] += 0.05
        return exported

    monkeypatch.setattr(stage, "to_onnx", tampered)
    with pytest.raises(UserError, match=r"differs from the trained one.*worst: digit-\d{4} .*no bundle was written"):
        stage.export(CONFIG, project.raw, project.processed, project.model, old_bundle)
    assert untouched(old_bundle)


def test_another_contract_than_the_one_trained_with_fails_the_gate(
    project: Project, old_bundle: Path, tmp_path: Path
) -> None:
    processed = shutil.copytree(project.processed, tmp_path / "processed")
    contract = json.loads((processed / "contract.json").read_text())
    contract["steps"]["denoise"] = {"name": "none"}
    files.write_json(processed / "contract.json", contract)
    with pytest.raises(UserError, match="differs from the trained one"):
        stage.export(CONFIG, project.raw, processed, project.model, old_bundle)
    assert untouched(old_bundle)


def test_other_classes_than_the_models_are_refused(project: Project, old_bundle: Path, tmp_path: Path) -> None:
    processed = shutil.copytree(project.processed, tmp_path / "processed")
    records.write_classes([*"012345678", "nine"], processed / "classes.json")
    with pytest.raises(UserError, match="run the train stage again"):
        stage.export(CONFIG, project.raw, processed, project.model, old_bundle)
    assert untouched(old_bundle)


def test_raw_images_that_are_gone_are_noticed(project: Project, old_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"lacks {TEST_ROWS} of the prepared images"):
        stage.export(CONFIG, tmp_path, project.processed, project.model, old_bundle)
    assert untouched(old_bundle)


def test_a_set_without_test_images_is_refused(project: Project, old_bundle: Path, tmp_path: Path) -> None:
    processed = shutil.copytree(project.processed, tmp_path / "processed")
    table = pq.read_table(processed / "index.parquet")
    pq.write_table(table.slice(TEST_ROWS), processed / "index.parquet")
    with pytest.raises(UserError, match="no test images"):
        stage.export(CONFIG, project.raw, processed, project.model, old_bundle)


def test_the_card_gives_metrics_with_interval_licence_and_limits(project: Project, tmp_path: Path) -> None:
    metrics = tmp_path / "metrics.json"
    numbers = {"accuracy": 0.95, "accuracy_high": 0.98, "accuracy_low": 0.9, "f1_macro": 0.94, "images": 120}
    metrics.write_text(json.dumps(numbers))
    few = dataclasses.replace(CONFIG, parity_images=7)
    outcome = stage.export(few, project.raw, project.processed, project.model, tmp_path / "bundle", metrics)
    text = (tmp_path / "bundle" / "model_card.md").read_text()
    assert outcome.images == 7
    table = [line for line in text.splitlines() if line.startswith("|")][2:]
    assert table == ["| accuracy | 0.9500 | 0.9000 to 0.9800 |", "| f1\\_macro | 0.9400 |  |", "| images | 120 |  |"]
    assert 'license: "CC-BY-4.0"' in text
    assert "## Limits" in text
    assert "120 test" in text
    assert not re.search(r"\b20\d\d-\d\d-\d\d\b", text)  # a date would make two equal exports differ


@pytest.mark.parametrize(("content", "said"), [(None, "is missing: run the eval"), ("{", "is damaged: run the eval")])
def test_metrics_that_cannot_be_read(project: Project, tmp_path: Path, content: str | None, said: str) -> None:
    metrics = tmp_path / "metrics.json"
    if content:
        metrics.write_text(content)
    with pytest.raises(UserError, match=said):
        stage.export(CONFIG, project.raw, project.processed, project.model, tmp_path / "bundle", metrics)


def test_names_from_the_data_are_no_markup() -> None:
    assert card._text("<b>|\n# [x](y)") == r"\<b\>\| \# \[x\](y)"


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
