"""Class, group and split read from the path by a regular expression: in a folder, an archive, a list."""

from __future__ import annotations

import csv
import time
import zipfile
from pathlib import Path

import pytest

from sightline.core.errors import UserError
from sightline.sources.archive import ArchiveOption
from sightline.sources.base import Source, SourceOption
from sightline.sources.folder import FolderOption
from sightline.sources.layout_rules import LayoutRules
from sightline.sources.name_pattern import NamePattern, PathPatterns
from sightline.sources.sql import SqlOption
from sightline.sources.table import TableOption
from tests.stages.ingest.helpers import configuration, picture, run, tree

NAMES = [f"photos/{bird}_{burst}-{shot}.png" for bird in ("owl", "wren") for burst in (1, 2) for shot in (1, 2, 3)]
FILES = {name: picture(number) for number, name in enumerate(NAMES)}


def option(kind: str, root: Path, files: dict[str, bytes], **settings: object) -> SourceOption:
    """Writes files as a source of that kind."""
    trees = {"url": None, "layout": "auto", "class_depth": 1}
    if kind == "folder":
        return FolderOption(**{"name": kind, "path": str(tree(root / "in", files)), **trees, **settings})
    if kind == "archive":
        with zipfile.ZipFile(root / "in.zip", "w") as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        return ArchiveOption(name=kind, path=str(root / "in.zip"), max_entries=100, max_ratio=100, **trees)
    with (tree(root / "in", files) / "list.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["path"], *([name] for name in files)])
    values = {
        "name": kind, "path": str(root / "in/list.csv"), "url": None, "root": None, "path_column": "path",
        "bytes_column": None, "columns": [], "separator": None, "pixel_columns": None, "pixel_shape": [],
        "label_column": "label", "split_column": None, "group_column": None, "id_column": None, "unlisted": True,
    }  # fmt: skip
    return TableOption(**{**values, **settings})  # type: ignore[arg-type]


def opened(chosen: SourceOption, limit: int | None = None, **patterns: str) -> Source:
    knobs = {f"{name}_from": NamePattern(pattern) for name, pattern in patterns.items()}
    return chosen.open(configuration(source=chosen, limit=limit, **knobs))


@pytest.mark.parametrize("kind", ["folder", "archive", "table"])
def test_class_and_group_are_in_the_name(kind: str, tmp_path: Path) -> None:
    source = opened(option(kind, tmp_path, FILES), **{"class": r"([a-z]+)_\d", "group": r"/(?P<burst>[^/]+)-(\d)"})
    result = run(source, tmp_path / "out")
    assert result.rejected == {}
    assert {(i.id, i.label, i.group) for i in result.images.values()} == {
        (name, name[7:].split("_")[0], name[7:].split("-")[0]) for name in NAMES
    }


@pytest.mark.parametrize("kind", ["folder", "archive", "table"])
def test_names_that_do_not_match_are_counted_and_one_is_named(kind: str, tmp_path: Path) -> None:
    files = {**FILES, "photos/cover.png": picture(90), "photos/map_1-1.png": picture(91)}
    patterns = {"class": "/([a-z]+)_", "group": "((?:owl|wren)_[0-9])", "split": "-(?:(?P<train>train)|x)"}
    with pytest.raises(
        UserError, match=r"ingest.split_from.pattern: .* matches none of 14 path\(s\), such as 'photos/"
    ):
        list(opened(option(kind, tmp_path, files), **patterns).records())
    del patterns["split"]
    result = run(opened(option(kind, tmp_path, files), **patterns), tmp_path / "out")
    cover = "paths, such as 'photos/cover.png':"
    assert result.summary["notes"][:2] == [
        f"ingest.class_from: does not match 1 of 14 {cover} they have no class, and are rejected",
        f"ingest.group_from: does not match 2 of 14 {cover} each of them is a group by itself",
    ]
    assert result.rejected == {"photos/cover.png": "no_label"}
    assert result.images["photos/map_1-1.png"].group is None


@pytest.mark.parametrize("kind", ["folder", "archive", "table"])
def test_the_split_is_a_folder_somewhere(kind: str, tmp_path: Path) -> None:
    splits = {"camera_1": "training set", "camera_2": "val", "camera_3": "Testing"}
    names = [f"{camera}/{split}/{bird}/1.png" for camera, split in splits.items() for bird in ("owl", "wren")]
    files = {name: picture(number) for number, name in enumerate(names)}
    patterns = {"class": r"(\w+)/[^/]*$", "split": "^[^/]+/([^/]+)/"}
    result = run(opened(option(kind, tmp_path, files), **patterns), tmp_path / "out")
    assert [image.split for image in result.images.values()] == ["train"] * 2 + ["val"] * 2 + ["test"] * 2
    assert result.summary["classes"] == {"owl": 3, "wren": 3}


def test_folders_that_are_called_splits_stay_splits_where_the_class_is_in_the_name(tmp_path: Path) -> None:
    files = {f"{split}/{name[7:]}": data for split in ("train", "test") for name, data in FILES.items()}
    chosen = option("folder", tmp_path, files)
    result = run(opened(chosen, **{"class": "/([a-z]+)_"}), tmp_path / "out")
    assert {image.split for image in result.images.values()} == {"train", "test"}
    other = run(opened(option("folder", tmp_path, files, layout="classes"), **{"class": "/([a-z]+)_"}), tmp_path / "2")
    assert {image.split for image in other.images.values()} == {None}
    rules = LayoutRules(patterns=PathPatterns(label=NamePattern("/([a-z]+)_")))
    with pytest.raises(UserError, match=r"test, train are named like splits, but not extra next to them"):
        rules.read([*files, "extra/owl_1.png"])


def test_one_folder_deeper(tmp_path: Path) -> None:
    files = {f"{site}/{bird}/1.png": picture(len(site + bird)) for site in ("Ost", "West") for bird in ("owl", "w")}
    result = run(opened(option("folder", tmp_path, files), **{"class": "^[^/]+/([^/]+)/"}), tmp_path / "out")
    assert result.summary["classes"] == {"owl": 2, "w": 2}
    assert not result.summary["notes"]


@pytest.mark.parametrize(
    ("pattern", "line"),
    [
        ("(", r"class_from.pattern: '\(' is not a usable regular expression: missing \)"),
        ("(a)(?=b)", r"invalid perl operator: \(\?="),
        (r"(a)\1", r"invalid escape sequence: \\1"),
        ("abc", r"class_from.pattern: 'abc' needs a capture group, in parentheses, around the part to take"),
        (r"\(a\)[(]", "needs a capture group"),
        ("(?P<a>x)(?P<a>y)", "two groups of one name"),
    ],
)
def test_an_expression_that_cannot_be_used_is_refused_before_any_work(pattern: str, line: str) -> None:
    with pytest.raises(ValueError, match=line):
        configuration(class_from=NamePattern(pattern))


def test_a_source_without_paths_and_a_second_say_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"group_from: the images of ingest.source=digits have no paths"):
        configuration(group_from=NamePattern("(a)"))
    assert not SqlOption.has_paths
    with pytest.raises(ValueError, match=r"split_from: ingest.source.split_column already defines it"):
        opened(option("table", tmp_path, FILES, split_column="split"), split="(a)")


@pytest.mark.parametrize("pattern", ["((?:a+)+)$", "((?:a|aa)+)$", "(.*.*.*.*.*)x"])
def test_no_expression_hangs(pattern: str) -> None:
    NamePattern(pattern).check("class_from")
    start = time.process_time()
    assert NamePattern(pattern).value("a" * 4000 + "b") is None
    assert time.process_time() - start < 2


@pytest.mark.parametrize(
    ("pattern", "path", "value"),
    [
        ("[[:alpha:](]+_(x)(y)", "a(_xy", "x"),
        ("(a)(?P<class>b)", "ab", "b"),
        ("(?<class>b)", "ab", "b"),
        ("[](](a(b))", "](ab", "ab"),
        ("[^](](b)", "xb", "b"),
        ("(?i)(É)", "é", "é"),
        ("(a)?b", "b", None),
    ],
)
def test_the_first_named_group_counts_else_the_first(pattern: str, path: str, value: str | None) -> None:
    NamePattern(pattern).check("class_from")
    assert NamePattern(pattern).value(path) == value
