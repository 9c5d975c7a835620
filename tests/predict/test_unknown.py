"""None of these, and sets of classes: the same numbers by every way that leads to a bundle."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import shutil
import sqlite3
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
import requests
from typer.testing import CliRunner

from sightline.cli import app
from sightline.core import files
from sightline.core.errors import UserError
from sightline.datasets.processed_set import ProcessedSet
from sightline.imaging import decode
from sightline.metrics import conformal
from sightline.models import novelty_detector
from sightline.models.embeddings import embed
from sightline.models.inference import Predictor
from sightline.predict import manifest
from sightline.predict.bundle import Bundle
from sightline.predict.inference_model import open_session
from sightline.stages.evaluate.novelty_measurement import Embedder, measure_novelty
from sightline.stages.evaluate.results import SplitPredictions
from sightline.stages.evaluate.set_scores import measure_sets
from sightline.stages.export.calibration_file import Calibration
from sightline.stages.export.stage import export
from sightline.stages.export.uncertainty import Uncertainty
from tests import bundles
from tests.exported import CALIBRATION, CONFIG, RATE, TEST_ROWS, Project, write_processed
from tests.serve.conftest import serve

PNG = {"content-type": "image/png"}


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("noise")
    for place in range(20):
        (folder / f"{place:02}.png").write_bytes(decode.encode_png(rng.integers(0, 256, (8, 8, 1)).astype(np.uint8)))
    return sorted(folder.iterdir())


def changed(bundle: Path, folder: Path, **calibration: Any) -> Path:
    """Returns a copy of a bundle with another content of `calibration.json`."""
    shutil.copytree(bundle, folder)
    content = json.loads((folder / "calibration.json").read_text()) | calibration
    files.write_json(folder / "calibration.json", content)
    old = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").unlink()
    manifest.write_manifest(folder, old["lineage"], old["default"], old["proof"])
    return folder


def run(*arguments: object) -> tuple[int, list[dict[str, Any]], str]:
    done = CliRunner().invoke(app, ["predict", *map(str, arguments), "--format", "jsonl"])
    return done.exit_code, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


@pytest.mark.parametrize("form", ["fp32", "int8"])
def test_from_bytes_it_is_as_novel_as_the_trained_network_finds_it(exported: Project, form: str) -> None:
    predictor, data = Predictor.load(exported.model), ProcessedSet(exported.processed)
    images = data.split("test").images()
    fitted = novelty_detector.load_detector(exported.reports / "novelty.npz")
    assert fitted is not None
    expected = fitted.scores(images, embed(predictor, images))
    bundle = Bundle.load(exported.bundle, model=form)
    given = [prediction.novelty for prediction in bundle.predict(exported.pictures)]
    np.testing.assert_allclose(given, expected, rtol=1e-3 if form == "fp32" else 0.3)
    # The thresholds are the form's own, and each class's: no more of the validation images nearest to it are above.
    validation = data.split("val").images()
    proto = onnx.load(exported.bundle / manifest.MODELS[form])
    proto.graph.output.append(onnx.helper.make_tensor_value_info("novelty_nearest", onnx.TensorProto.INT64, None))
    session = open_session(proto.SerializeToString(), 1)
    (nearest,) = session.run(["novelty_nearest"], {manifest.INPUT: validation})
    novel = bundle.novelty(validation) > 1 + 1e-5
    counts = np.bincount(nearest, minlength=10)
    assert (counts >= conformal.images_for(RATE)).sum() >= 8
    for label in np.flatnonzero(counts >= conformal.images_for(RATE)):
        count = counts[label]
        assert novel[nearest == label].sum() == count - np.ceil(round((count + 1) * (1 - RATE), 9)), label
    assert np.mean(np.array(given) > 1) < 0.2


def test_by_the_command_by_rest_and_by_mlflow_it_says_the_same(exported: Project, noise: list[Path]) -> None:
    from sightline.promote.pyfunc_model import BundleModel

    paths = [*exported.pictures[:5], *noise[:5]]
    code, rows, closing = run(exported.bundle, *paths, "--abstain", "--coverage", "0.9")
    assert code == 0
    novel = [row["novelty"] > 1 for row in rows]
    assert 0 < novel.count(False) <= 5
    assert all(novel[5:])
    assert [row["label"] == "none of these" for row in rows] == novel
    assert f"{novel.count(True)} none of these" in closing
    assert all(row["top"][0]["label"] in row["class_set"] for row in rows)
    with serve(exported.bundle) as server:
        url = f"{server.url}/predict?abstain=true&coverage=0.9&top_k=1"
        served = [
            requests.post(url, data=path.read_bytes(), headers=PNG, timeout=30).json()["predictions"][0]
            for path in paths
        ]
        assert requests.post(f"{server.url}/predict?coverage=1", data=b"x", headers=PNG, timeout=30).status_code == 400
        assert requests.post(f"{server.url}/predict?abstain=yes", data=b"x", headers=PNG, timeout=30).status_code == 400
        about = requests.get(f"{server.url}/model", timeout=30).json()
    assert (about["tells_novelty"], about["abstains"]) == (True, False)
    model = BundleModel()
    model.load_context(SimpleNamespace(artifacts={"bundle": str(exported.bundle)}))
    table = model.predict(None, pd.DataFrame({"image": [path.read_bytes() for path in paths]}))
    for row, other, novelty, label in zip(rows, served, table["novelty"], table["label"], strict=True):
        assert other["novelty"] == pytest.approx(row["novelty"], rel=1e-4)
        assert (other["label"], other["class_set"]) == (row["label"], row["class_set"])
        assert novelty == pytest.approx(row["novelty"], rel=1e-4)
        assert label == row["top"][0]["label"]


def test_into_a_database_go_novelty_and_sets_also_where_the_table_is_older(
    exported: Project, noise: list[Path], tmp_path: Path
) -> None:
    place = tmp_path / "made.db"
    with contextlib.closing(sqlite3.connect(place)) as older, older:
        older.execute("CREATE TABLE answers (id, model, label, probability, reason, detail, PRIMARY KEY (id, model))")
    paths = [exported.pictures[0], noise[0]]
    code, rows, _ = run(exported.bundle, *paths, "--coverage", "0.9")
    into = ["--output", "db:answers", "--url", f"sqlite:///{place}", "--coverage", "0.9"]
    assert (code, CliRunner().invoke(app, ["predict", str(exported.bundle), *map(str, paths), *into]).exit_code) == (
        0,
        0,
    )
    with contextlib.closing(sqlite3.connect(place)) as made:
        found = dict(made.execute("SELECT id, novelty || ' ' || class_set FROM answers").fetchall())
    for row in rows:
        novelty, _, class_set = found[row["path"]].partition(" ")
        assert float(novelty) == pytest.approx(row["novelty"], rel=1e-6)
        assert json.loads(class_set) == row["class_set"]


def test_int8_is_held_against_its_own_embeddings(
    exported: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = Uncertainty.expected
    monkeypatch.setattr(Uncertainty, "expected", lambda *arguments: 1.01 * expected(*arguments))
    with pytest.raises(UserError, match=r"^the int8 model's novelty differs from the trained one's: .*; no bundle was"):
        export(CONFIG, exported.raw, exported.processed, exported.model, tmp_path / "bundle", exported.reports)
    assert not (tmp_path / "bundle").exists()


def test_a_bundle_may_abstain_by_itself(exported: Project, noise: list[Path], tmp_path: Path) -> None:
    from sightline.promote.pyfunc_model import BundleModel

    folder = changed(exported.bundle, tmp_path / "bundle", abstain=True, threshold=None)
    assert [row["label"] for row in run(folder, *noise)[1]] == ["none of these"] * len(noise)
    assert not any(row["abstained"] for row in run(folder, *noise, "--no-abstain")[1])
    model = BundleModel()
    model.load_context(SimpleNamespace(artifacts={"bundle": str(folder)}))
    assert model.predict(None, pd.DataFrame({"image": [noise[0].read_bytes()]}))["label"][0] == "none of these"


def test_known_foreign_pictures_set_the_threshold_and_test_it(exported: Project, tmp_path: Path) -> None:
    data = tmp_path / "processed"
    shutil.copytree(exported.processed, data)
    pictures = np.random.default_rng(0).integers(0, 256, (200, 12, 12, 1)).astype(np.uint8)
    ids = [f"{place:03}" for place in range(len(pictures))]
    (tmp_path / "unknown").mkdir()
    write_processed(tmp_path / "unknown", pictures, ids, np.zeros(200, int), ids)
    shutil.copy(data / "contract.json", tmp_path / "unknown")
    opened, predictor = ProcessedSet(data), Predictor.load(exported.model)
    measured = measure_novelty(Embedder.of(predictor), opened, 0.05, 256, opened.split("test"))
    alone = ProcessedSet(exported.processed)
    without = measure_novelty(Embedder.of(predictor), alone, 0.05, 256, alone.split("test")).fitted
    assert measured.unknown is not None
    assert measured.fitted is not None
    assert without is not None
    assert (measured.unknown.setting, len(measured.unknown.judged)) == (80, TEST_ROWS)
    assert measured.unknown.refused >= 0.95 * TEST_ROWS
    assert measured.unknown.auroc(measured.test) > 0.99
    # All noise is far off, so that the thresholds can be higher than the images alone had them, and none is lost.
    factors = measured.fitted.thresholds.of_class / without.thresholds.of_class
    assert factors[0] > 1
    np.testing.assert_allclose(factors, factors[0])
    assert measured.flagged.sum() <= (measured.test * factors[0] > 1).sum()
    reports = tmp_path / "reports"
    shutil.copytree(exported.reports, reports)
    novelty_detector.save_detector(measured.fitted, reports / "novelty.npz")
    detail = json.loads((reports / "metrics_detail.json").read_text())
    ends = {"unknown_refused": 1.0, "unknown_refused_low": 0.97, "unknown_refused_high": 1.0}
    files.write_json(reports / "metrics_detail.json", detail | ends)
    export(CONFIG, exported.raw, data, exported.model, tmp_path / "bundle", reports)
    thresholds = [
        json.loads((bundle / "calibration.json").read_text())["novelty"]["thresholds"]
        for bundle in (exported.bundle, tmp_path / "bundle")
    ]
    assert all(thresholds[1][form] > thresholds[0][form] for form in ("fp32", "int8"))
    assert "100.0 % are detected (95 % interval 97.0" in (tmp_path / "bundle" / manifest.CARD).read_text()


def test_sets_hold_the_truth_about_as_often_as_asked(exported: Project) -> None:
    bundle = Bundle.load(exported.bundle)
    sizes = []
    for coverage in (0.5, 0.9, 0.99):
        found = list(bundle.predict(exported.pictures, coverage=coverage))
        held = [label in (one.class_set or ()) for one, label in zip(found, exported.labels, strict=True)]
        assert np.mean(held) > coverage - 3 * np.sqrt(coverage * (1 - coverage) * (1 / TEST_ROWS + 1 / 150)) - 0.01
        sizes.append(np.mean([len(one.class_set or ()) for one in found]))
    assert sizes == sorted(sizes)
    with pytest.raises(UserError, match="coverage: must be above 0 and below 1, not 1"):
        bundle.question(coverage=1.0)


@pytest.mark.parametrize("name", ["aps", "raps"])
def test_sets_by_another_score_are_the_same_by_every_way(exported: Project, tmp_path: Path, name: str) -> None:
    data, folder = ProcessedSet(exported.processed), tmp_path / "bundle"
    shutil.copytree(exported.bundle, folder)
    uncertainty = Uncertainty(None, data.split("val"), data.shape, score=name)
    for form in manifest.MODELS:
        uncertainty.observe(form, Bundle.load(exported.bundle, form))
    uncertainty.write(folder, Calibration(**CALIBRATION, conformity_score=name).as_json())
    (folder / manifest.MANIFEST).unlink()
    manifest.write_manifest(folder, {})
    bundle, predictor = Bundle.load(folder, "fp32"), Predictor.load(exported.model)
    splits = []
    for split in ("val", "test"):
        rows = data.split(split)
        calibrated = Calibration(**CALIBRATION).apply(predictor(rows.images()))
        splits.append(SplitPredictions(split, rows.ids, rows.labels, calibrated, calibrated))
    expected = measure_sets(*splits, name)
    assert expected is not None
    found = list(bundle.predict(exported.pictures, coverage=0.95))
    sets = [{bundle.classes[place] for place in np.flatnonzero(row)} for row in expected.chosen]
    assert np.mean([set(one.class_set or ()) == these for one, these in zip(found, sets, strict=True)]) > 0.97
    assert all(one.class_set and one.class_set[0] == one.label for one in found)


def test_an_older_bundle_predicts_and_says_what_it_cannot(tmp_path: Path) -> None:
    folder = bundles.quick("mnist", tmp_path / "old")
    content = json.loads((folder / "manifest.json").read_text())
    files.write_json(folder / "manifest.json", manifest.sealed(content | {"format": 1}))
    picture = tmp_path / "a.png"
    picture.write_bytes(bundles.encoded("mnist", 1)[0].data)
    code, (row,), _ = run(folder, picture)
    assert (code, row["novelty"], row["class_set"]) == (0, None, None)
    assert (
        "cannot detect images that belong to none of its classes: export it again"
        in run(folder, picture, "--abstain")[2]
    )
    code, rows, stderr = run(folder, picture, "--coverage", "0.9")
    assert (code, rows) == (2, [])
    assert "coverage: the bundle has no scores of validation images" in stderr


def test_a_coverage_for_which_there_are_too_few_images_says_why_all_classes_are_in_the_sets(exported: Project) -> None:
    picture = exported.pictures[0]
    code, (row,), stderr = run(exported.bundle, picture, "--coverage", "0.999")
    assert (code, len(row["class_set"])) == (0, len(Bundle.load(exported.bundle).classes))
    found = re.search(r"needs 999 validation images, .* with 150, .* all classes; up to (0\.993) is possible", stderr)
    assert found
    assert "validation images" not in run(exported.bundle, picture, "--coverage", found[1])[2]


@pytest.mark.parametrize("name", ["none", "other", "background", "none of these"])
def test_a_class_of_such_a_name_is_a_class(exported: Project, name: str) -> None:
    bundle = Bundle.load(exported.bundle)
    bundle.classes = [name, *bundle.classes[1:]]
    zero = exported.pictures[exported.labels.index("0")]
    (found,) = bundle.predict(zero, coverage=0.9)
    assert (found.label, found.abstained, found.none_of_these) == (name, False, False)
    assert name in (found.class_set or ())
    assert dataclasses.replace(found, abstained=True).label is None
