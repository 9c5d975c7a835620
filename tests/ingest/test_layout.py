"""What a path says of class and split."""

from __future__ import annotations

import pytest

from sightline.ingest.layout import Layout
from sightline.names import readable


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["cat/1.png", "dog/2.png"], Layout(0, splits=False)),
        (["cat/deep/1.png", "dog/2.png"], Layout(0, splits=False)),
        (["train/cat/1.png", "test/dog/2.png"], Layout(0, splits=True)),
        (["Train/cat/1.png", "validation/dog/2.png"], Layout(0, splits=True)),
        (["train/1.png", "plane/2.png"], Layout(0, splits=False)),  # trains and planes
        (["birds/cat/1.png", "birds/dog/2.png"], Layout(1, splits=False)),
        (["birds/train/cat/1.png", "birds/val/dog/2.png"], Layout(1, splits=True)),
        (["cat/1.png", "cat/2.png"], Layout(0, splits=False)),
        (["train/cat/1.png"], Layout(0, splits=True)),
        (
            ["train/cat/1.png", "test/dog/2.png", "README.md", "__MACOSX/train/._1.png", ".git/x/y.png"],
            Layout(0, splits=True),
        ),
        ([], Layout(0, splits=False)),
    ],
)
def test_of(paths: list[str], expected: Layout) -> None:
    assert Layout.of(paths) == expected


@pytest.mark.parametrize(
    ("layout", "path", "expected"),
    [
        (Layout(0, splits=False), "cat/a/b/1.png", ("cat/a/b/1.png", "cat", None)),
        (Layout(0, splits=False), "1.png", ("1.png", None, None)),
        (Layout(0, splits=True), "validation/cat/1.png", ("validation/cat/1.png", "cat", "val")),
        (Layout(0, splits=True), "train/1.png", ("train/1.png", None, "train")),
        (Layout(1, splits=True), "w/test/cat/1.png", ("test/cat/1.png", "cat", "test")),
        (Layout(1, splits=False), "w/1.png", ("1.png", None, None)),
        (Layout(1, splits=False), "README", ("README", None, None)),
        (Layout(0, splits=False), "__MACOSX/cat/._1.png", ("__MACOSX/cat/._1.png", None, None)),
        (Layout(0, splits=False), "e\u0301te/1.png", ("e\u0301te/1.png", "\u00e9te", None)),
    ],
)
def test_place(layout: Layout, path: str, expected: tuple[str, str | None, str | None]) -> None:
    assert layout.place(path) == expected


def test_names_that_are_no_utf8_become_readable() -> None:
    assert readable("a\udcff.png") == "a\\xff.png"
