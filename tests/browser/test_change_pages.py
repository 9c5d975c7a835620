"""The pages of `sightline diff` and `sightline drift` in a real browser, with every section that they have."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np

from sightline.changes import dataset_diff, diff_page, metric_diff
from sightline.changes.dataset_diff import DatasetState, LabelledImage
from sightline.changes.project_diff import ProjectDiff, ValueChange
from sightline.changes.revision import Revision
from sightline.datasets.predictions import Predictions
from sightline.datasets.raw_set import RawImage, write_raw_shards
from sightline.drift import drift_page
from sightline.drift.image_statistics import NAMES
from sightline.drift.reference import Reference
from sightline.drift.sample_comparison import Drift, IncomingImages, StatisticDrift
from sightline.predict.inputs import Input
from tests.browser.conftest import FOUR_VIEWS, Seen
from tests.stages.ingest.helpers import picture

pytestmark = FOUR_VIEWS
LONG = "a_class_of_a_name_that_is_much_too_long_for_the_column_of_a_table_on_a_telephone"
Look = Callable[[Path, int, str], Seen]


def require_sound(seen: Seen, file: Path, pictures: int) -> None:
    assert seen.complaints == []
    assert [url for url in seen.requests if not url.startswith("data:") and url != file.as_uri()] == []
    assert len(seen.pictures) == 1 + pictures  # the logo
    assert all(seen.pictures)
    assert seen.overflow <= 0
    assert seen.wide == []


class State(Revision):
    """A state of a project in a folder of its own."""

    def __init__(self, root: Path, images: dict[str, tuple[int, str, str]]) -> None:
        super().__init__(None)
        self.root, self.name, self.images = root, root.name, {}
        (root / "data/raw").mkdir(parents=True)
        rows = []
        for id_, (number, label, split) in sorted(images.items()):
            data = picture(number, 64)
            self.images[id_] = LabelledImage(label, split, hashlib.sha256(data).hexdigest())
            rows.append(RawImage(id_, data, label, split, None, None, self.images[id_].sha256, "PNG", 64, 64))
        write_raw_shards(iter(rows), root / "data/raw")

    def open(self, path: str) -> BinaryIO | None:
        return (self.root / path).open("rb")

    def names(self, folder: str, suffix: str) -> list[str]:  # type: ignore[override]
        return [str(path.relative_to(self.root)) for path in sorted((self.root / folder).glob(f"*{suffix}"))]


def test_the_difference(look: Look, tmp_path: Path, width: int, scheme: str) -> None:
    common = {f"test/{n:03}.png": (n, "ab"[n % 2], "test") for n in range(40)}
    old = {**common, "gone.png": (50, LONG, "train"), "moves.png": (51, "a", "val"), "turns.png": (52, "a", "train")}
    new = {**common, "new.png": (60, "b", "train"), "moves.png": (51, "a", "train"), "turns.png": (52, "b", "train")}
    old["other.png"], new["other.png"] = (53, "a", "train"), (54, "a", "train")
    before, after = State(tmp_path / ("0f" * 20), old), State(tmp_path / "now", new)
    states = (
        DatasetState(before.images),
        DatasetState(after.images, {f"{LONG}/bad.png": "corrupt"}, {"new.png": "1", "test/000.png": "1"}),
    )
    ids, labels = sorted(common), np.array([0, 1] * 20)
    answers = []
    for wrong in ([0, 1, 2], [2, 3, 4, 5]):
        predicted = labels.copy()
        predicted[wrong] = 1 - predicted[wrong]
        answers.append(Predictions(ids, labels, predicted, np.eye(2)[predicted], ["a", "b"]))
    numbers = [
        {name: value + add for name, value in (("accuracy", 0.9), ("accuracy_low", 0.8), ("accuracy_high", 0.95))}
        | {"log_loss": 0.3 - add}
        for add in (0.0, -0.02)
    ]
    difference = ProjectDiff(
        before=before,
        after=after,
        params=[ValueChange("train.model_options.a_setting_of_a_long_name", "0.002", LONG)],
        data=dataset_diff.compare_datasets(*states),
        metrics=metric_diff.changes(*numbers),
        answers=metric_diff.paired_change(*answers, *states),
        sizes=[("models/bundle", 1_000_000, 2_000_000)],
        times=[ValueChange("an epoch of training, s", "0.21", "0.19")],
        missing=["HEAD~1 has no reports/predictions.parquet here or in a remote: dvc fetch"],
    )
    page = tmp_path / "diff.html"
    page.write_text(diff_page.render_page(difference))
    # To wrong 3, to right 2; added, removed, relabelled, replaced, moved, near: one each.
    require_sound(look(page, width, scheme), page, pictures=3 + 2 + 6)


def test_the_drift(look: Look, tmp_path: Path, width: int, scheme: str) -> None:
    generator = np.random.default_rng(0)
    reference = Reference(generator.random((40, len(NAMES)), np.float32), np.arange(40) % 2)
    items = [Input(f"incoming/{LONG}/{n}.png", lambda n=n: picture(n, 64)) for n in range(30)]
    incoming = IncomingImages(
        items, Reference(generator.random((30, len(NAMES)), np.float32) + 1, np.zeros(30, int)), 1
    )
    statistics = [StatisticDrift(name, 0.5, 0.001, 0.502, 1.5, index == 0) for index, name in enumerate(NAMES)]
    page = tmp_path / "drift.html"
    page.write_text(drift_page.render_page(Drift(statistics, 30, 40, 1, 0.05), reference, incoming, ["a", LONG]))
    require_sound(look(page, width, scheme), page, pictures=drift_page.MOST_SHOWN)
