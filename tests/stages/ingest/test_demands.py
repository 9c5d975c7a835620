"""Sets on which no classifier can be trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sightline.core.errors import UserError
from sightline.sources.content import fingerprint
from sightline.sources.folder import FolderOption
from sightline.stages.ingest.demands import require_trainable
from tests.stages.ingest.helpers import configuration, picture, tree
from tests.stages.ingest.test_stage import project, stage

TREE = FolderOption("folder", "x", None, "auto", 1)


def summary(images: dict[str, dict[str, int]], **more: Any) -> dict[str, Any]:
    classes = {name: sum(has.values()) for name, has in images.items()}
    content = {"classes": classes, "accepted": sum(classes.values()), "lost_classes": [], "notes": []}
    return {**content, "audit": {"images": images}, **more}


@pytest.mark.parametrize(
    ("images", "more", "message"),
    [
        ({"cat": {"unsplit": 50}}, {}, r"needed: add a folder with images of another class beside it, or name"),
        ({"cat": {"train": 5}}, {"lost_classes": ["dog"]}, "needed: all images of 'dog' were rejected"),
        ({"cat": {"train": 5}}, {"notes": ["no image of class 'owl'"]}, "needed: no image of class 'owl'"),
        (
            {"cat": {"train": 20}, "dog": {"train": 20}, "unlabelled": {"test": 8}},
            {},
            r"on for 'unlabelled': .* only in test \(8\); .* with the line \"unlabelled\": null$",
        ),
        (
            {"cat": {"test": 20}, "dog": {"test": 20}},
            {},
            r"all 40 are 'test' in the source; .*set \+\+ingest\.source_options\.layout=classes",
        ),
        ({"cat": {"unsplit": 1}, "dog": {"unsplit": 2}}, {}, "no class has 3 images, .* the largest has 2: add images"),
    ],
)
def test_what_cannot_be_trained_on_is_refused(
    images: dict[str, dict[str, int]], more: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message) as error:
        require_trainable(summary(images, **more), configuration(source=TREE))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("images", [{"cat": {"unsplit": 5}}, {"cat": {"unsplit": 2}, "dog": {"unsplit": 2}}])
def test_a_sample_that_is_too_small_is_no_fault_of_the_source(images: dict[str, dict[str, int]]) -> None:
    with pytest.raises(UserError, match=r"ingest\.limit=5: \d images of \d class\(es\) are too few .* raise it"):
        require_trainable(summary(images), configuration(source=TREE, limit=5))


@pytest.mark.parametrize(
    ("images", "knobs"),
    [
        ({"cat": {"unsplit": 3}, "dog": {"unsplit": 1}}, {}),
        ({"cat": {"train": 1}, "dog": {"train": 1, "test": 3}}, {}),
        ({"cat": {"test": 9}, "dog": {"unsplit": 9}, "owl": {"unsplit": 9, "test": 1}}, {"limit": 30}),
        ({"cat": {"train": 9}, "dog": {"train": 9}, "owl": {"test": 1}}, {"limit": 30}),
        ({"cat": {"unsplit": 3}, "dog": {"unsplit": 1}}, {"limit": 4}),
    ],
)
def test_what_can_be_trained_on_is_let_through(images: dict[str, dict[str, int]], knobs: dict[str, Any]) -> None:
    require_trainable(summary(images), configuration(source=TREE, **knobs))


@pytest.mark.parametrize(
    ("count", "message"),
    [(5, "'c0', 'c1', 'c2', 'c3', 'c4': the source has"), (7, "'c3', 'c4' and 2 more: the source")],
)
def test_of_classes_that_lack_training_images_five_are_named(count: int, message: str) -> None:
    images = {**{f"c{n}": {"test": 1} for n in range(count)}, "d": {"train": 9}, "e": {"train": 9}}
    with pytest.raises(UserError, match=f"no image to train on for .*{message}"):
        require_trainable(summary(images), configuration(source=TREE))


def test_a_class_that_only_the_test_split_has_ends_ingestion_and_the_remedy_works(tmp_path: Path) -> None:
    names = [f"train/{c}/{i}.png" for c in ("cat", "dog") for i in range(4)] + [
        f"test/{c}/9.png" for c in ("cat", "owl")
    ]
    images = tree(tmp_path / "images", {name: picture(number) for number, name in enumerate(names)})
    root = project(tmp_path, {"source": "folder", "path": str(images), "workers": 0})
    done = stage(root, "ingest")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "no image to train on for 'owl'" in done.stderr
    assert not (root / "data/raw").exists()
    remedy = done.stderr.partition("with the line ")[2]
    (tmp_path / "labels.yaml").write_text(remedy)
    done = stage(root, "ingest", f"ingest.labels={tmp_path / 'labels.yaml'}")
    assert done.returncode == 0, done.stderr
    assert json.loads((root / "data/raw/classes.json").read_text())["classes"] == ["cat", "dog"]


def test_a_home_is_found_wherever_the_path_is_said(tmp_path: Path) -> None:
    names = [f"{c}/{i}.png" for c in ("cat", "dog") for i in range(3)]
    tree(tmp_path / "home/my-pics", {name: picture(number) for number, name in enumerate(names)})
    root = project(tmp_path, {"source": "folder", "path": "~/my-pics", "workers": 0})
    environment = {"HOME": str(tmp_path / "home")}
    for words in ([], ["ingest.path=~/my-pics"], ["ingest.path='~/my-pics'"]):
        done = stage(root, "watch", *words, **environment)
        assert done.returncode == 0, done.stderr
        assert json.loads((root / "data/source.json").read_text())["fingerprint"] == fingerprint(
            tmp_path / "home/my-pics"
        )
