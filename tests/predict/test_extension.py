"""`sightline extend`: new classes by their means, old ones as they were among themselves, marked wherever they show."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

from sightline.cli import app
from sightline.core.errors import UserError
from sightline.imaging.decode import encode_png
from sightline.predict import manifest
from sightline.predict.bundle import Bundle
from sightline.predict.extension import extend
from sightline.promote.candidate import read_candidate
from tests.exported import Project

SHAPES = {"cross": np.eye(8, dtype=bool) | np.eye(8, dtype=bool)[::-1], "frame": np.pad(np.zeros((4, 4), bool), 2)}
SHAPES["frame"][[0, -1]] = SHAPES["frame"][:, [0, -1]] = True


def draw(shape: str, number: int) -> np.ndarray:
    """Returns a shape on noise, [8, 8, 1]."""
    random = np.random.default_rng([number, len(shape)])
    return np.where(SHAPES[shape], random.integers(150, 255, (8, 8)), random.integers(0, 50, (8, 8))).astype(np.uint8)[
        ..., None
    ]


def write(folder: Path, name: str, count: int, shape: str | None = None) -> None:
    (folder / name).mkdir(parents=True)
    for number in range(count):
        (folder / name / f"{number}.png").write_bytes(encode_png(draw(shape or name, number)))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("new")
    for name in SHAPES:
        write(folder, name, 10)
    (folder / "cross" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return folder


@pytest.fixture(scope="module")
def extended(exported: Project, pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("extended") / "bundle"
    result = extend(exported.bundle, pictures, output)
    assert result.pictures == {"cross": 10, "frame": 10}
    assert result.right >= 18
    assert result.largest < 1e-4
    (refused,) = result.refused
    assert "broken.png: " in refused
    return output


@pytest.mark.parametrize("form", ["fp32", "int8"])
def test_new_classes_are_told_and_old_ones_answered_as_before(exported: Project, extended: Path, form: str) -> None:
    old, new = Bundle.load(exported.bundle, form, 1), Bundle.load(extended, form, 1)
    unseen = [draw(name, number) for name in SHAPES for number in range(100, 120)]
    found = [prediction.label for prediction in new.predict(unseen)]
    assert np.mean([label == name for label, name in zip(found, np.repeat(list(SHAPES), 20), strict=True)]) >= 0.9
    digits = np.stack([old.prepare(path.read_bytes()) for path in exported.pictures])
    before, after = old.probabilities(digits), new.probabilities(digits)
    np.testing.assert_allclose(after.sum(axis=1), 1, atol=1e-5)
    kept = after[:, 10:].sum(axis=1) < 0.5
    assert kept.mean() > 0.9
    np.testing.assert_allclose(after[kept, :10] / after[kept, :10].sum(axis=1, keepdims=True), before[kept], atol=1e-5)
    shapes = np.stack([new.prepare(image) for image in unseen])
    assert np.median(new.novelty(shapes)) < np.median(old.novelty(shapes))


def with_one_threshold(bundle: Path, folder: Path) -> Path:
    """Returns a copy of a bundle as versions made it whose novelty had one threshold for all classes."""
    shutil.copytree(bundle, folder)
    pooled = json.loads((folder / manifest.CALIBRATION).read_text())["novelty"]["thresholds"]
    for form, name in manifest.MODELS.items():
        proto = onnx.load(folder / name)
        (place,) = (n for n, one in enumerate(proto.graph.initializer) if one.name == "novelty_threshold")
        scalar = onnx.numpy_helper.from_array(np.float32(pooled[form]), "novelty_threshold")
        proto.graph.initializer[place].CopyFrom(scalar)
        (gather,) = (node for node in proto.graph.node if node.output[0] == "novelty_nearest_threshold")
        proto.graph.node.remove(gather)
        proto.graph.node[-1].input[1] = "novelty_threshold"
        onnx.checker.check_model(proto)
        onnx.save(proto, folder / name)
    content = json.loads((folder / manifest.MANIFEST).read_text())
    (folder / manifest.MANIFEST).unlink()
    manifest.write_manifest(folder, content["lineage"], content["default"], content["proof"])
    return folder


def test_a_bundle_with_one_threshold_predicts_and_is_extended(
    exported: Project, pictures: Path, tmp_path: Path
) -> None:
    older = with_one_threshold(exported.bundle, tmp_path / "older")
    result = extend(older, pictures, tmp_path / "bundle")
    assert (result.pictures, result.largest < 1e-4) == ({"cross": 10, "frame": 10}, True)
    unseen = [draw(name, number) for name in SHAPES for number in range(100, 120)]
    for form in manifest.MODELS:
        before, after, new = (Bundle.load(one, form, 1) for one in (exported.bundle, older, tmp_path / "bundle"))
        digits = np.stack([before.prepare(path.read_bytes()) for path in exported.pictures])
        ratio = after.novelty(digits) / before.novelty(digits)
        thresholds = before.calibration["novelty"]["thresholds"]
        own = onnx.numpy_helper.to_array(
            next(
                one
                for one in onnx.load(exported.bundle / manifest.MODELS[form]).graph.initializer
                if one.name == "novelty_threshold"
            )
        )
        assert np.abs(ratio[:, None] - own / thresholds[form]).min(axis=1).max() < 1e-4
        shapes = np.stack([new.prepare(image) for image in unseen])
        assert np.median(new.novelty(shapes)) < np.median(after.novelty(shapes))
        assert (new.novelty(digits) <= after.novelty(digits) * (1 + 1e-4)).all()


def test_it_is_marked_until_it_is_trained(exported: Project, extended: Path, pictures: Path, tmp_path: Path) -> None:
    content = manifest.verify_files(extended)
    assert content["extension"]["pictures"] == {"cross": 10, "frame": 10}
    assert content["lineage"]["model_sha256"] == manifest.verify_files(exported.bundle)["lineage"]["model_sha256"]
    assert json.loads((extended / "calibration.json").read_text())["threshold"] is None  # it was set on old classes
    card = (extended / "model_card.md").read_text()
    assert card.index("## Extended, not trained") < card.index("## Use")
    assert "12 classes, 2 of them extended, not trained" in repr(Bundle.load(extended))
    done = CliRunner().invoke(app, ["predict", str(extended), str(exported.pictures[0])])
    assert "extended, not trained: cross, frame" in done.stderr
    rows = CliRunner().invoke(app, ["predict", str(extended), str(pictures / "frame/0.png"), "--format", "jsonl"])
    row = json.loads(rows.stdout)
    assert (row["label"], row["error"], row["detail"]) == ("frame", None, "extended, not trained")
    untrained = r"until it is trained: add the new classes to the data and run dvc repro"
    for command, wanted in (
        (["predict", "--coverage", "0.95"], "coverage: an extended bundle has no scores of validation images"),
        (["predict", "--abstain"], "--abstain only applies to images unlike all classes: an extended bundle has no"),
        (["drift"], "an extended bundle has no reference.npz"),
    ):
        done = CliRunner().invoke(app, [*command, str(extended), str(exported.pictures[0])])
        assert wanted in done.stderr
        assert untrained in done.stderr
    with pytest.raises(UserError, match=r"was extended, not trained: .* then promote$"):
        read_candidate(extended, exported.reports / "predictions.parquet")


def test_what_cannot_be_extended_is_one_line(exported: Project, extended: Path, pictures: Path, tmp_path: Path) -> None:
    def refused(folder: Path, bundle: Path = exported.bundle, output: str = "out") -> str:
        done = CliRunner().invoke(app, ["extend", str(bundle), str(folder), "--output", str(tmp_path / output)])
        assert done.exit_code == 2
        (line,) = done.stderr.splitlines()
        assert not (tmp_path / "out").exists()
        return line.removeprefix("sightline: ")

    one, empty, known = tmp_path / "one", tmp_path / "empty", tmp_path / "known"
    write(one, "star", 1, "cross")
    (empty / "star").mkdir(parents=True)
    write(known, "3", 3, "cross")
    (tmp_path / "loose").mkdir()
    shutil.copy(exported.pictures[0], tmp_path / "loose")
    assert refused(tmp_path / "nowhere").endswith("it must contain one folder of images for each new class")
    assert refused(tmp_path / "loose").endswith(f"put the images of each new class into one, {tmp_path}/loose/NAME/")
    assert refused(empty).startswith(f"{empty}/star: 0 images that can be read (")
    assert refused(one) == f"{one}/star: 1 image that can be read; a class needs at least 2, better 10"
    assert refused(known) == f"{known}/3: the bundle knows the class '3' already: leave it out, or train with it"
    again = tmp_path / "again"
    write(again, "star", 3, "cross")
    assert "has already been extended: extend the original bundle" in refused(again, extended)
    assert refused(pictures, output="one") == f"{one} already exists: name a new folder"
