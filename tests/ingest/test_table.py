"""Images by lists."""

from __future__ import annotations

import base64
import csv
import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sightline.errors import UserError
from sightline.ingest.config import TableOption
from sightline.ingest.sources.table import TableSource
from sightline.ingest.values import image_bytes, text
from sightline.reasons import Rejected
from tests.ingest.helpers import picture, run, tree

ROWS = [
    {"path": "a/1.png", "label": "cat", "split": "train", "group": "g1"},
    {"path": "a/2.png", "label": 'Ä, "quoted"', "split": "validation", "group": ""},
    {"path": "b/3.png", "label": "cat", "split": "", "group": "g1"},
]
FILES = {row["path"]: picture(number) for number, row in enumerate(ROWS)}


def source(path: Path, **option: Any) -> TableSource:
    values: dict[str, Any] = {
        "name": "table", "path": str(path), "url": None, "root": None, "path_column": "path", "bytes_column": None,
        "label_column": "label", "split_column": "split", "group_column": "group", "id_column": None, "unlisted": True,
    }  # fmt: skip
    return TableSource(TableOption(**{**values, **option}), max_bytes=2**20)


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    match path.suffix:
        case ".csv" | ".tsv":
            with path.open("w", newline="", encoding="utf-8") as stream:
                writer = csv.DictWriter(stream, rows[0], delimiter="," if path.suffix == ".csv" else "\t")
                writer.writeheader()
                writer.writerows(rows)
        case ".jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        case ".parquet":
            pq.write_table(pa.Table.from_pylist(rows), path)
    return path


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet"])
def test_a_list_of_files(kind: str, tmp_path: Path) -> None:
    path = write(tree(tmp_path / "in", FILES) / f"list.{kind}", ROWS)
    result = run(source(path), tmp_path / "out")
    assert {i.id: (i.data, i.label, i.split, i.group) for i in result.images.values()} == {
        "a/1.png": (FILES["a/1.png"], "cat", "train", "g1"),
        "a/2.png": (FILES["a/2.png"], 'Ä, "quoted"', "val", None),
        "b/3.png": (FILES["b/3.png"], "cat", None, "g1"),
    }
    assert result.rejected == {}


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet", "image feature"])
def test_a_list_of_bytes(kind: str, tmp_path: Path) -> None:
    def cell(data: bytes) -> Any:
        if kind == "image feature":
            return {"bytes": data, "path": None}
        return data if kind == "parquet" else base64.b64encode(data).decode()

    three, four = (3, 4) if kind == "csv" else (3.0, 4.0)
    rows = [{"key": three, "image": cell(picture(1)), "label": 7}, {"key": four, "image": cell(picture(2)), "label": 8}]
    path = write(tmp_path / ("t.parquet" if kind == "image feature" else f"t.{kind}"), rows)
    option = {"path_column": None, "bytes_column": "image", "split_column": None, "group_column": None}
    result = run(source(path, **option, id_column="key"), tmp_path / "out")
    assert {i.id: (i.data, i.label) for i in result.images.values()} == {"3": (picture(1), "7"), "4": (picture(2), "8")}
    numbered = run(source(path, **option), tmp_path / "out2")
    assert set(numbered.images) == {"row-0000001", "row-0000002"}


def test_rows_without_a_file_and_files_without_a_row(tmp_path: Path) -> None:
    root = tree(tmp_path / "in", {**FILES, "a/extra.png": picture(9), "a/notes.txt": b"x", "c/far.png": picture(8)})
    (root / "a/folder.png").mkdir()
    (root / "out.png").symlink_to("/etc/hostname")
    odd = ["gone.png", "", "../x.png", "/etc/hostname", "out.png", "a\0b", "a", "a/../a/1.png"]
    rows = [*ROWS, *({"path": path, "label": "cat", "split": "", "group": ""} for path in odd)]
    rows += [{"path": str(root / "b/3.png"), "label": "dog", "split": "", "group": ""}]
    rows += [{"path": "a/no-label.png", "label": "", "split": "", "group": ""}]
    (root / "a/no-label.png").write_bytes(picture(10))
    rows += [{"path": "a/bad-split.png", "label": "cat", "split": "holdout", "group": ""}]
    (root / "a/bad-split.png").write_bytes(picture(11))
    result = run(source(write(root / "list.jsonl", rows)), tmp_path / "out")
    assert set(result.images) == set(FILES)
    assert result.rejected == {
        "gone.png": "missing",
        "row-0000005": "missing",
        "../x.png": "unsafe_entry",
        "/etc/hostname": "unsafe_entry",
        "out.png": "unsafe_entry",
        "a\0b": "unsafe_entry",
        "a": "unreadable",
        "a/1.png": "duplicate_id",
        "b/3.png": "duplicate_id",
        "a/no-label.png": "no_label",
        "a/bad-split.png": "bad_split",
        "a/extra.png": "no_label",
    }
    assert result.summary["inputs"] == len(rows) + 1
    assert "a/extra.png" not in run(source(root / "list.jsonl", unlisted=False), tmp_path / "out2").rejected


def test_images_may_lie_elsewhere(tmp_path: Path) -> None:
    root = tree(tmp_path / "images", FILES)
    path = write(tmp_path / "list.csv", ROWS)
    assert set(run(source(path, root=str(root)), tmp_path / "out").images) == set(FILES)


def test_lines_that_are_no_rows_are_listed(tmp_path: Path) -> None:
    path = write(tree(tmp_path, FILES) / "list.jsonl", ROWS)
    path.write_text(path.read_text() + "\n[1]\n{broken\n" + "[" * 100_000 + "\n")
    result = run(source(path), tmp_path / "out")
    assert result.rejected == {f"row-000000{n}": "unreadable" for n in (4, 5, 6)}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "t.csv",
            b"path,class\na,b\n",
            r"source\.label_column: no column 'label' in .*t\.csv; it has path, class",
        ),
        ("t.csv", b"", r"no column 'path'"),
        ("t.csv", b"path,label\n\xff\xfe,x\n", "not UTF-8"),
        ("t.csv", b'path,label\n"a,b\n', r"t\.csv: line \d+: unexpected end of data"),
        ("t.parquet", b"PAR1 no", r"t\.parquet: no Parquet that can be read"),
        ("t.xlsx", b"PK", r"must end in \.csv"),
    ],
)
def test_a_table_that_cannot_be_read_is_one_line(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        list(source(tmp_path / name, split_column=None, group_column=None).records())


def test_a_fingerprint_sees_the_table_and_its_files(tmp_path: Path) -> None:
    root = tree(tmp_path / "in", FILES)
    path = write(root / "list.csv", ROWS)
    seen = [source(path).fingerprint()]
    os.utime(root / "b/3.png", ns=(1, 1))
    seen.append(source(path).fingerprint())
    (root / "a/new.png").write_bytes(b"")
    seen.append(source(path).fingerprint())
    (root / "a/notes.txt").write_bytes(b"")
    assert source(path).fingerprint() == seen[-1]
    write(path, ROWS[:2])
    seen.append(source(path).fingerprint())
    assert len({repr(one) for one in seen}) == 4
    deep = source(path).fingerprint(deep=True)
    os.utime(root / "a/1.png", ns=(5, 5))
    assert source(path).fingerprint(deep=True) == deep


def test_a_byte_order_mark_is_no_part_of_a_column(tmp_path: Path) -> None:
    tree(tmp_path, FILES)
    (tmp_path / "list.csv").write_bytes(b"\xef\xbb\xbfpath,label\na/1.png,cat\n")
    assert len(run(source(tmp_path / "list.csv", split_column=None, group_column=None), tmp_path / "out").images) == 1


@pytest.mark.parametrize(
    ("cell", "expected"), [(True, "True"), (0, "0"), ("0.10", "0.10"), (b"\xff", "\\xff"), (2.5, "2.5")]
)
def test_text(cell: Any, expected: str) -> None:
    assert text(cell) == expected


@pytest.mark.parametrize("cell", ["no base64!", 3, [1]])
def test_cells_that_hold_no_image(cell: Any) -> None:
    with pytest.raises(Rejected):
        image_bytes(cell)
