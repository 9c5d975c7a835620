"""Drift between a bundle's reference and incoming images: called where there is one, rarely where there is none."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from sightline.cli import app
from sightline.datasets.raw_set import raw_shards
from sightline.drift.image_statistics import NAMES
from sightline.drift.reference import Reference
from sightline.drift.sample_comparison import IncomingImages, compare_samples, measure_incoming, reference_of
from sightline.imaging import decode
from sightline.predict.bundle import Bundle
from tests.exported import Project

BYTES = 10**7


@pytest.fixture(scope="module")
def bundle(exported: Project) -> Bundle:
    return Bundle.load(exported.bundle)


def pictures(exported: Project) -> list[np.ndarray]:
    return [decode.decode(path.read_bytes()) for path in exported.pictures]


def drifted(bundle: Bundle, images: list[np.ndarray]) -> set[str]:
    found = compare_samples(reference_of(bundle), measure_incoming(bundle, images, None, BYTES), 10)
    return {statistic.name for statistic in found.statistics if statistic.drifted}


def test_the_images_of_the_test_are_the_reference(exported: Project, bundle: Bundle) -> None:
    incoming = measure_incoming(bundle, list(exported.pictures), None, BYTES)
    reference = reference_of(bundle)
    assert np.array_equal(incoming.reference.statistics, reference.statistics)
    assert np.array_equal(incoming.reference.classes, reference.classes)
    assert not compare_samples(reference, incoming, 10).drifted


def test_what_has_changed_is_named(exported: Project, bundle: Bundle) -> None:
    images = pictures(exported)
    assert "brightness" in drifted(bundle, [np.clip(i.astype(int) + 60, 0, 255).astype(np.uint8) for i in images])
    assert "sharpness" in drifted(bundle, [cv2.GaussianBlur(i, (0, 0), 1.2) for i in images])
    zeros = [i for i, label in zip(images, exported.labels, strict=True) if label in "0"] * 3
    assert "classes" in drifted(bundle, zeros)
    rng = np.random.default_rng(0)
    noise = drifted(bundle, [rng.integers(0, 256, (20, 30, 3)).astype(np.uint8) for _ in range(60)])
    assert {"brightness", "width", "height", "saturation"} <= noise


def test_false_alarms_are_as_rare_as_promised(exported: Project, bundle: Bundle) -> None:
    """In 200 draws of real statistics: of images that the network was fitted to all, and so alike."""
    train = [image.data for shard in raw_shards(exported.raw) for image in shard.images()][120:]
    pool = measure_incoming(bundle, train, None, BYTES).reference
    rng, alarms = np.random.default_rng(0), 0
    for _ in range(200):
        order = rng.permutation(len(pool.classes))
        parts = (order[:400], order[400:600])
        before, after = (Reference(pool.statistics[part], pool.classes[part]) for part in parts)
        alarms += compare_samples(before, IncomingImages([], after, 0), 10).drifted
    assert alarms <= 20  # 10 are allowed; 20 or fewer in all but 1 of 1,000 such tests, were it exactly 5 %


def test_a_reference_is_read_as_it_was_written(bundle: Bundle) -> None:
    reference = reference_of(bundle)
    again = Reference.from_bytes(reference.to_bytes())
    assert np.array_equal(again.statistics, reference.statistics)
    assert again.to_bytes() == reference.to_bytes()
    assert reference.statistics.shape == (120, len(NAMES))


def test_the_command(exported: Project, tmp_path: Path) -> None:
    run = CliRunner().invoke
    folder = exported.pictures[0].parent
    done = run(app, ["drift", str(exported.bundle), str(folder)])
    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[-1] == "no drift: 120 images compared with 120 of the reference"
    dark = tmp_path / "dark"
    dark.mkdir()
    for path in exported.pictures[:40]:
        (dark / path.name).write_bytes(decode.encode_png(decode.decode(path.read_bytes()) // 3))
    (dark / "broken.png").write_bytes(b"no picture")
    page = tmp_path / "drift.html"
    done = run(app, ["drift", str(exported.bundle), str(dark), "--output", str(page)])
    assert done.exit_code == 3, done.output
    assert "brightness" in done.output
    assert "1 more could not be read" in done.output
    assert page.read_text().count("data:image/png") >= 10
    found = json.loads(run(app, ["drift", str(exported.bundle), str(dark), "--json"]).output)
    assert found["drifted"]
    assert {s["name"] for s in found["statistics"]} == {*NAMES, "classes", "novel"}
    few = run(app, ["drift", str(exported.bundle), str(exported.pictures[0])])
    assert (few.exit_code, few.stderr) == (2, "sightline: 1 images could be read: drift needs at least 10\n")
    missing = run(app, ["drift", str(exported.bundle), str(tmp_path / "nowhere")])
    assert "0 images could be read, 1 could not (sightline predict says why): drift" in missing.stderr
