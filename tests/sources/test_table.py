"""Images by lists."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import os
import unicodedata
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from sightline.core.errors import UserError
from sightline.core.rejection import RejectionError, RejectionReason
from sightline.datasets.raw_set import ImageRecord, Rejection
from sightline.imaging.encoded import image_bytes
from sightline.sources.table import TableOption, TableSource
from sightline.sources.table_cells import cell_text
from sightline.sources.table_files import LocalTableFiles, RemoteTableFiles
from tests.stages.ingest.helpers import birds, picture, run, spellings, tracked, tree

SPELLINGS = spellings(picture(1))
ROWS = [
    {"path": "a/1.png", "label": "cat", "split": "train", "group": "g1"},
    {"path": "a/2.png", "label": 'Ä, "quoted"', "split": "validation", "group": ""},
    {"path": "b/3.png", "label": "cat", "split": "", "group": "g1"},
]
FILES = {row["path"]: picture(number) for number, row in enumerate(ROWS)}


def source(path: Path, limit: int | None = None, **option: Any) -> TableSource:
    values: dict[str, Any] = {
        "name": "table", "path": str(path), "url": None, "root": None, "path_column": "path", "bytes_column": None,
        "columns": [], "separator": None, "pixel_columns": None, "pixel_shape": [],
        "label_column": "label", "split_column": "split", "group_column": "group", "id_column": None, "unlisted": True,
    }  # fmt: skip
    return TableSource(TableOption(**{**values, **option}), 2**20, limit)


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


def parquet(**columns: list[Any]) -> bytes:
    stream = io.BytesIO()
    pq.write_table(pa.table(columns), stream)
    return stream.getvalue()


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
    rows += [{"path": str(root / "b/3.png"), "label": "cat", "split": "", "group": ""}]
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


def test_paths_of_windows_are_found(tmp_path: Path) -> None:
    root = tree(tmp_path / "in", {**FILES, "a/back\\slash.png": picture(9)})
    rows = [{**row, "path": row["path"].replace("/", "\\")} for row in ROWS]
    odd = ["a\\back\\slash.png", "a/back\\slash.png", "a\\gone.png", "C:\\data\\1.png", "\\\\host\\share\\1.png"]
    rows += [{"path": path, "label": "dog", "split": "", "group": ""} for path in odd]
    result = run(source(write(root / "list.csv", rows)), tmp_path / "out")
    assert set(result.images) == {*FILES, "a/back\\slash.png"}
    assert result.rejected == {
        "a/back/slash.png": "missing",
        "a/gone.png": "missing",
        odd[3]: "unsafe_entry",
        odd[4]: "unsafe_entry",
    }


@pytest.mark.parametrize("on_disk", ["NFC", "NFD"])
@pytest.mark.parametrize("in_table", ["NFC", "NFD"])
def test_one_path_in_two_unicode_forms_is_one_file(on_disk: Any, in_table: Any, tmp_path: Path) -> None:
    names = ["é/ü.png", "é/ö.png", "å.png"]
    root = tree(tmp_path / "in", {unicodedata.normalize(on_disk, name): picture(n) for n, name in enumerate(names)})
    rows = [{**ROWS[0], "path": unicodedata.normalize(in_table, name), "label": "x"} for name in names]
    table = source(write(root / "list.csv", rows))
    result = run(table, tmp_path / "out")
    assert {image.id: image.data for image in result.images.values()} == {n: picture(i) for i, n in enumerate(names)}
    assert result.rejected == {}
    assert {image.path for image in result.images.values()} == {None}


def test_rows_that_name_litter_are_refused(tmp_path: Path) -> None:
    names = ["a/._1.png", ".ipynb_checkpoints/1-checkpoint.png", "Thumbs.db", "__MACOSX/a/1.png"]
    root = tree(tmp_path / ".in", {**FILES, **{name: picture(20) for name in names}})
    rows = [*ROWS, *({**ROWS[0], "path": name} for name in names)]
    result = run(source(write(root / "list.csv", rows)), tmp_path / "out")
    assert set(result.images) == set(FILES)
    assert result.rejected == dict.fromkeys(names, "not_an_image")


def test_a_home_and_a_url_of_a_file_are_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree(tmp_path / "my pics", FILES)
    monkeypatch.setenv("HOME", str(tmp_path))
    paths = ["~/my pics/a/1.png", (root / "a/2.png").as_uri(), "b/3.png", "~nobody-here/1.png"]
    rows = [{"path": path, "label": "x", "split": "", "group": ""} for path in paths]
    result = run(source(write(root / "list.csv", rows)), tmp_path / "out")
    assert set(result.images) == set(FILES)
    assert result.rejected == {paths[-1]: "missing"}


def test_the_url_of_a_service_is_read_where_it_is_the_root(tmp_path: Path) -> None:
    memory = pytest.importorskip("fsspec").filesystem("memory")
    names = ["1.png", unicodedata.normalize("NFD", "é.png")]
    for number, name in enumerate(names):
        memory.pipe(f"/listed/x/{name}", picture(number))
    urls = ["memory://listed/x/1.png", "memory://listed/x/é.png", "x\\1.png", "memory://other/1.png"]
    rows = [{"path": url, "label": "x", "split": "", "group": ""} for url in urls]
    path = write(tmp_path / "list.csv", rows)
    refused = [item for item in source(path).records() if isinstance(item, Rejection)]
    assert "a URL; set ++ingest.source_options.root=memory://listed to read what lies there" in refused[0].detail
    result = run(source(path, root="memory://listed"), tmp_path / "out")
    assert {image.id: image.data for image in result.images.values()} == {
        "x/1.png": picture(0),
        "x/é.png": picture(1),
    }
    assert result.rejected == {"x/1.png": "duplicate_id", "memory://other/1.png": "unsafe_entry"}
    seen = source(path, root="memory://listed").fingerprint()
    memory.pipe(f"/listed/x/{names[1]}", picture(7, side=40))
    assert source(path, root="memory://listed").fingerprint() != seen


def test_the_signature_of_a_url_in_a_list_is_not_written(tmp_path: Path) -> None:
    root = tree(tmp_path / "in", FILES)
    rows = [*ROWS, {**ROWS[0], "path": "https://user:c4nary@host/1.png?sig=c4nary"}]
    result = run(source(write(root / "list.csv", rows)), tmp_path / "out")
    assert list(result.rejected.values()) == ["unsafe_entry"]
    assert not [name for name, content in result.files.items() if b"c4nary" in content]
    assert "c4nary" not in str(result.summary)


def test_files_that_dvc_has_linked_are_read(tmp_path: Path) -> None:
    root = tracked(tmp_path / "p", tmp_path / "p/.dvc/cache", tmp_path / "p/birds")
    rows = [{"path": name, "label": "x", "split": "", "group": ""} for name in [*birds(), "out/1.png"]]
    (tmp_path / "p/out").mkdir()
    content = os.path.realpath(root / next(iter(birds())))
    (tmp_path / "p/out/1.png").symlink_to(content)
    (root / "out").symlink_to(tmp_path / "p/out")  # a link to a folder that leads out
    result = run(source(write(root / "list.csv", rows)), tmp_path / "out")
    assert {image.id: image.data for image in result.images.values()} == birds()
    assert result.rejected == {"out/1.png": "unsafe_entry"}


def test_lists_are_no_labels(tmp_path: Path) -> None:
    root = tree(tmp_path / "in", FILES)
    rows: list[dict[str, Any]] = [
        {**ROWS[0], "label": ["cat"]},
        {**ROWS[1], "label": ["cat", "dog"]},
        {**ROWS[2], "label": {"name": "cat"}},
    ]
    (root / "list.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    details = [item.detail for item in source(root / "list.jsonl").records() if isinstance(item, Rejection)]
    assert details == [
        "the label is a list of 1 value(s) ('cat'); an image has one class",
        "the label is a list of 2 value(s) ('cat', 'dog'); an image has one class",
        "the label is an object with 1 value(s) ('name'); an image has one class",
    ]
    with pytest.raises(
        UserError, match=r"all 3 inputs were rejected \(3 bad_label\); the first: a/1\.png: the label is a"
    ):
        run(source(root / "list.jsonl"), tmp_path / "out")


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_one_label_in_two_unicode_forms_is_one_class(kind: str, tmp_path: Path) -> None:
    root = tree(tmp_path / "in", FILES)
    forms = [unicodedata.normalize(form, "café") for form in ("NFC", "NFD")]
    rows = [{**row, "label": label, "group": label} for row, label in zip(ROWS, [*forms, "tea"], strict=True)]
    result = run(source(write(root / f"list.{kind}", rows)), tmp_path / "out")
    assert result.summary["classes"] == {forms[0]: 2, "tea": 1}
    assert {image.group for image in result.images.values()} == {forms[0], "tea"}


def test_two_rows_that_give_one_picture_two_labels_are_a_conflict(tmp_path: Path) -> None:
    root = tree(tmp_path / "in", FILES)
    rows = [*ROWS, {**ROWS[0], "label": "dog"}]
    result = run(source(write(root / "list.csv", rows)), tmp_path / "out", conflicts="drop")
    assert set(result.images) == {"a/2.png", "b/3.png"}
    assert result.rejected == {"a/1.png": "conflict"}
    assert result.summary["rejected"] == {"conflict": 2}
    assert result.summary["conflicts"]["first"] == "one image, labelled 'cat' (a/1.png) and 'dog' (a/1.png)"


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
            r"no column 'label' in .*t\.csv; it has 'path', 'class': set \"\+\+.*label_column=NAME\"$",
        ),
        ("t.csv", b"", r"no column 'path'"),
        ("t.csv", b"path;label\na;b\n", r"set \"\+\+ingest\.source_options\.separator=';'\"$"),
        ("t.csv", b"path,label\n\xff\xfe,x\n", "not UTF-8"),
        ("t.csv", b'path,label\n"a,b\n', r"t\.csv: line \d+: unexpected end of data"),
        ("t.parquet", parquet(path=["a"], kind=["b"]), r"no column 'label' in .*t\.parquet; it has 'path', 'kind'"),
        ("t.parquet", b"PAR1 no", r"t\.parquet: not readable as Parquet"),
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
    assert source(path).fingerprint() == seen[0]
    (root / "b/3.png").write_bytes(b"another")
    seen.append(source(path).fingerprint())
    (root / "a/new.png").write_bytes(b"")
    seen.append(source(path).fingerprint())
    (root / "a/notes.txt").write_bytes(b"")
    assert source(path).fingerprint() == seen[-1]
    write(path, ROWS[:2])
    seen.append(source(path).fingerprint())
    assert len({repr(one) for one in seen}) == 4


def test_a_byte_order_mark_is_no_part_of_a_column(tmp_path: Path) -> None:
    tree(tmp_path, FILES)
    (tmp_path / "list.csv").write_bytes(b"\xef\xbb\xbfpath,label\na/1.png,cat\n")
    assert len(run(source(tmp_path / "list.csv", split_column=None, group_column=None), tmp_path / "out").images) == 1


def test_a_cell_may_be_as_long_as_the_system_allows_everywhere(tmp_path: Path) -> None:
    write(tree(tmp_path, FILES) / "list.csv", ROWS)
    assert len(list(source(tmp_path / "list.csv").records())) == len(ROWS)
    assert csv.field_size_limit() == 2_147_483_647  # the largest `long` of Windows


@pytest.mark.parametrize(
    ("cell", "expected"), [(True, "True"), (0, "0"), ("0.10", "0.10"), (b"\xff", "\\xff"), (2.5, "2.5")]
)
def test_text(cell: Any, expected: str) -> None:
    assert cell_text(cell) == expected


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_text_that_stands_for_an_image(spelling: str) -> None:
    assert image_bytes(SPELLINGS[spelling]) == picture(1)


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_images_as_text_in_a_table(ending: str, tmp_path: Path) -> None:
    cells = [{"image": text, "label": "cat", "id": name} for name, text in SPELLINGS.items()]
    path = write(tmp_path / f"t.{ending}", cells)
    made = list(
        source(
            path, path_column=None, bytes_column="image", id_column="id", split_column=None, group_column=None
        ).records()
    )
    assert [record.data for record in made if isinstance(record, ImageRecord)] == [picture(1)] * len(SPELLINGS)


@pytest.mark.parametrize("cell", ["no base64!", 3, [1], "iVBORw0", "größe", "data:image/png;base64,!"])
def test_cells_that_hold_no_image(cell: Any) -> None:
    with pytest.raises(RejectionError, match=f"^{RejectionReason.NOT_AN_IMAGE}: "):
        image_bytes(cell)


def test_half_a_pair_of_surrogates_is_text_that_can_be_written(tmp_path: Path) -> None:
    gone = {"path": "\ud800.png", "label": "cat", "split": "", "group": ""}
    odd = {**ROWS[0], "label": "c\udfff", "group": "\ud800"}
    result = run(source(write(tree(tmp_path / "in", FILES) / "list.jsonl", [odd, *ROWS[1:], gone])), tmp_path / "out")
    assert set(result.rejected) == {"\\ud800.png"}
    assert {record.label for record in result.images.values()} == {"c\\udfff", "cat", 'Ä, "quoted"'}


def test_a_fingerprint_of_a_list_of_bytes_is_the_lists(tmp_path: Path) -> None:
    path = write(tmp_path / "list.jsonl", [{"label": "x", "data": spellings(picture(1))["base64"]}])
    listed = {"path_column": None, "bytes_column": "data", "split_column": None, "group_column": None}
    digest = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    assert source(path, **listed).fingerprint() == {"md5": digest}
    files = source(write(tree(tmp_path / "in", FILES) / "list.csv", ROWS)).fingerprint()
    assert set(files) == {"md5", "images", "rows"}


def test_a_row_that_holds_no_image_is_missing(tmp_path: Path) -> None:
    rows = [{"label": "x", "data": None}, {"label": "x", "data": spellings(picture(1))["base64"]}]
    listed = {"path_column": None, "bytes_column": "data", "split_column": None, "group_column": None}
    found = list(source(write(tmp_path / "list.jsonl", rows), **listed).records())
    assert isinstance(found[0], Rejection)
    assert (found[0].reason, found[0].detail) == (RejectionReason.MISSING, "the row holds no image")
    assert isinstance(found[1], ImageRecord)


def test_a_cell_of_a_list_may_be_large(tmp_path: Path) -> None:
    """csv's own limit is 131,072 characters, and an image in base64 soon has more."""
    data = spellings(picture(1, side=300))["base64"]
    assert len(data) > 2**17
    path = write(tmp_path / "list.csv", [{"label": "x", "data": data}])
    listed = {"path_column": None, "bytes_column": "data", "split_column": None, "group_column": None}
    (found,) = source(path, **listed).records()
    assert isinstance(found, ImageRecord)


def test_files_of_a_service_are_held_against_the_largest_size(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = pytest.importorskip("fsspec").filesystem("memory")
    memory.pipe("/sized/1.png", b"12345")
    assert RemoteTableFiles("memory://sized", 5).read("1.png") == b"12345"
    with pytest.raises(RejectionError) as caught:
        RemoteTableFiles("memory://sized", 4).read("1.png")
    assert (caught.value.reason, caught.value.detail) == (
        RejectionReason.TOO_MANY_BYTES,
        "5 bytes, at most 4 are allowed",
    )

    def gone(path: str) -> bytes:
        raise FileNotFoundError(path)

    monkeypatch.setattr(type(memory), "cat_file", lambda _, path: gone(path))
    with pytest.raises(RejectionError, match="deleted since it was listed"):
        RemoteTableFiles("memory://sized", 5).read("1.png")


def test_litter_beside_listed_files_hides_no_image(tmp_path: Path) -> None:
    root = tree(tmp_path, {"._0.png": b"", "a.png": b"1", "z.png": b"2"})
    assert list(LocalTableFiles(root, 9).unlisted({"a.png"})) == ["z.png"]
    assert list(LocalTableFiles(root, 9).unlisted({"gone/a.png", "z.png"})) == ["a.png"]


def test_a_refused_row_hides_no_unlisted_image(tmp_path: Path) -> None:
    root = tree(tmp_path, {"a/0.png/x": b"", "a/1.png": picture(1), "a/2.png": picture(2), "a/3.png": picture(3)})
    rows = [{"path": path, "label": ["x"] if path == "a/2.png" else "x"} for path in ("a/1.png", "a/2.png")]
    found = list(source(write(root / "list.jsonl", rows), split_column=None, group_column=None).records())
    assert [(one.id, type(one).__name__) for one in found] == [
        ("a/1.png", "ImageRecord"), ("a/2.png", "Rejection"), ("a/3.png", "Rejection")
    ]  # fmt: skip


PIXELS = {"path_column": None, "pixel_columns": "*", "split_column": None, "group_column": None}


def levels(data: bytes) -> list[int]:
    with Image.open(io.BytesIO(data)) as image:
        return list(image.tobytes())


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_pixels_are_cells_of_a_row(kind: str, tmp_path: Path) -> None:
    """As Kaggle's MNIST has them."""
    rows = [{"label": n % 2, **{f"pixel{i}": (40 * n + i) % 256 for i in range(16)}} for n in range(6)]
    result = run(source(write(tmp_path / f"train.{kind}", rows), **PIXELS), tmp_path / "out")
    assert {i.id: (i.label, levels(i.data), i.width) for i in result.images.values()} == {
        f"row-{n:07}": (str(row.pop("label")), list(row.values()), 4) for n, row in enumerate(rows, 1)
    }


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_pixels_are_all_in_one_cell(kind: str, tmp_path: Path) -> None:
    grey = [[n * 12 + i for i in range(12)] for n in range(4)]
    cells = [" ".join(map(str, row)) if kind == "csv" else [row[:6], row[6:]] for row in grey]
    path = write(tmp_path / f"list.{kind}", [{"label": n % 2, "pixels": cell} for n, cell in enumerate(cells)])
    option = {**PIXELS, "pixel_columns": "pixels"}
    assert [
        levels(i.data) for i in run(source(path, **option, pixel_shape=[2, 6]), tmp_path / "1").images.values()
    ] == grey
    colour = run(source(path, **option, pixel_shape=[2, 2, 3]), tmp_path / "2")
    assert {(i.width, i.height, levels(i.data) in grey) for i in colour.images.values()} == {(2, 2, True)}


def test_rows_that_are_no_pixels_are_listed(tmp_path: Path) -> None:
    lines = ["1,0,0,0,9", "0,0,1,2,3", "1,0,0,0,256", "0,0,0,0.5,1", "1,0,0,,1", "0,1,2", "1,4.0,0,0,7"]
    (tmp_path / "train.csv").write_text("\n".join(lines) + "\n")
    result = run(source(tmp_path / "train.csv", columns=["label"], **PIXELS), tmp_path / "out")
    assert [i.id for i in result.images.values()] == ["row-0000001", "row-0000002", "row-0000007"]
    assert set(result.rejected.values()) == {"corrupt"}
    assert len(result.rejected) == 4
    with pytest.raises(UserError, match=r"row-0000001: 4 pixels instead of 3 x 1; see ingest.source.pixel_shape"):
        run(source(tmp_path / "train.csv", columns=["label"], **PIXELS, pixel_shape=[3, 1]), tmp_path / "odd")


@pytest.mark.parametrize(("kind", "between"), [("csv", ","), ("tsv", "\t"), ("txt", " "), ("csv", ";")])
def test_a_list_without_a_header(kind: str, between: str, tmp_path: Path) -> None:
    rows = [between.join((row["path"], "cat", row["split"])) for row in ROWS]
    path = tree(tmp_path / "in", FILES) / f"list.{kind}"
    path.write_text("\n".join(rows))
    separator = ";" if between == ";" else None
    option = {"columns": ["path", "label", "split"], "group_column": None, "separator": separator}
    result = run(source(path, **option), tmp_path / "out")
    assert {i.id: (i.label, i.split) for i in result.images.values()} == {
        "a/1.png": ("cat", "train"), "a/2.png": ("cat", "val"), "b/3.png": ("cat", None),
    }  # fmt: skip
    assert source(path, **option).fingerprint()["images"]


def test_what_a_list_of_another_kind_cannot_have(tmp_path: Path) -> None:
    path = write(tmp_path / "list.jsonl", ROWS)
    with pytest.raises(UserError, match=r"is not a text table: set \+\+ingest.source_options.columns=\[\]"):
        list(source(path, columns=["path"]).records())
    for option in ({"separator": ";;"}, {"columns": ["a", "a"]}, {"pixel_shape": [3]}, {"pixel_columns": "*"}):
        with pytest.raises(ValueError, match=next(iter(option)) if "pixel_columns" not in option else "path_column"):
            source(path, **option)
    for shape in ([0, 4], [2, 2, 2], [2, 2, 1, 1]):
        with pytest.raises(ValueError, match="pixel_shape: must be"):
            source(path, pixel_shape=shape)
    for shape in ([1, 4], [2, 2, 1], [2, 2, 3]):
        source(path, pixel_shape=shape)
    with pytest.raises(ValueError, match=r"set ingest\.path or ingest\.url, not both"):
        source(path, url="s3://bucket/list.jsonl")


@pytest.mark.parametrize(("kind", "between", "column"), [("csv", ", ", " label"), ("txt", "  ", "label")])
def test_spaces_after_a_separator(kind: str, between: str, column: str, tmp_path: Path) -> None:
    path = tree(tmp_path, FILES) / f"list.{kind}"
    path.write_text(f"path{between}label\na/1.png{between}cat\n")
    option = {"label_column": column, "split_column": None, "group_column": None}
    (record, *_) = source(path, **option, unlisted=False).records()
    assert isinstance(record, ImageRecord)
    assert (record.id, record.label) == ("a/1.png", "cat")


def test_a_fingerprint_goes_on_after_a_row_without_a_file(tmp_path: Path) -> None:
    path = write(tree(tmp_path, FILES) / "list.csv", [{**ROWS[0], "path": ""}, *ROWS])
    before = source(path).fingerprint()
    (tmp_path / ROWS[-1]["path"]).write_bytes(picture(99))
    assert source(path).fingerprint() != before


def test_a_limit_takes_an_even_sample_and_says_so(tmp_path: Path) -> None:
    rows = [{"path": f"{n:02}.png", "label": f"class {n // 10}", "split": "", "group": ""} for n in range(40)]
    path = write(tree(tmp_path / "in", {row["path"]: picture(n) for n, row in enumerate(rows)}) / "list.csv", rows)
    result = run(source(path, limit=8), tmp_path / "out")
    assert result.summary["classes"] == {f"class {n}": 2 for n in range(4)}
    assert result.summary["notes"] == ["ingest.limit: 8 of 40 inputs, sampled evenly from each of 4 classes"]
    assert result.rejected == {}
    assert len(list(source(path, limit=40).records())) == 40
