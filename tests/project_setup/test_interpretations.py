"""A place recognised by looking."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from sightline.core.errors import UserError
from sightline.imaging.decode import encode_png
from sightline.project_setup.interpretations import interpretations

PICTURE = encode_png(np.zeros((8, 8, 3), np.uint8))


def put(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(PICTURE)
    return root


def test_a_folder_per_class_an_archive_of_one_and_a_source_by_name(tmp_path: Path) -> None:
    birds = put(tmp_path / "birds", "wren/1.png", "owl/2.png")
    assert [reading.knobs for reading in interpretations(str(birds))] == [{"source": "folder", "path": str(birds)}]
    archive = shutil.make_archive(str(tmp_path / "birds"), "zip", birds)
    assert interpretations(archive)[0].knobs == {"source": "archive", "path": archive}
    wrapped = tmp_path / "download"
    wrapped.mkdir()
    shutil.move(archive, wrapped / "birds.zip")
    assert interpretations(str(wrapped))[0].knobs == {"source": "archive", "path": str(wrapped / "birds.zip")}
    assert interpretations("digits")[0].knobs == {"source": "digits"}
    assert interpretations("mysql://me@host/zoo")[0].knobs == {"source": "sql", "url": "mysql://me@host/zoo"}


def test_the_columns_of_a_list_are_found_by_name_and_by_the_files_they_name(tmp_path: Path) -> None:
    root = put(tmp_path / "set", "images/1.png", "images/2.png", "images/3.png")
    (root / "labels.csv").write_text("shot,species,site\n1.png,wren,a\n2.png,owl,b\n")
    options = {"path_column": "shot", "label_column": "species", "root": str(root / "images")}
    assert interpretations(str(root / "labels.csv"))[0].knobs["source_options"] == options
    (root / "labels.csv").write_text("images/1.png,wren\nimages/2.png,owl\n")
    assert interpretations(str(root / "labels.csv"))[0].knobs["source_options"] == {"columns": ["path", "label"]}
    (root / "labels.csv").write_text("path,label,split,patient_id\nimages/1.png,wren,train,7\n")
    options = {"split_column": "split", "group_column": "patient_id"}
    assert interpretations(str(root / "labels.csv"))[0].knobs["source_options"] == options
    (root / "pixels.csv").write_text(f"label,{','.join(f'pixel{n}' for n in range(64))}\n5,{','.join('0' * 64)}\n")
    options = {"path_column": None, "pixel_columns": "*"}
    assert interpretations(str(root / "pixels.csv"))[0].knobs["source_options"] == options
    (root / "labels.csv").write_text("a,b,c\n1,2,3\n")
    with pytest.raises(UserError, match=r"path_column=a ingest\.source_options\.label_column=c"):
        interpretations(str(root / "labels.csv"))


def test_a_list_among_class_folders_is_a_question(tmp_path: Path) -> None:
    root = put(tmp_path / "set", "a/1.png", "b/2.png")
    (root / "labels.csv").write_text("path,label\na/1.png,wren\nb/2.png,owl\n")
    assert [reading.knobs["source"] for reading in interpretations(str(root))] == ["folder", "table"]
    (root / "labels.csv").write_text("note\nnothing to see\n")
    assert [reading.knobs["source"] for reading in interpretations(str(root))] == ["folder"]


def test_classes_in_the_names_of_files(tmp_path: Path) -> None:
    root = put(tmp_path / "pets", *(f"{name}.{number}.png" for name in ("cat", "dog") for number in range(4)))
    knobs = interpretations(str(root))[0].knobs
    assert knobs["source"] == "folder"
    assert set(knobs) == {"source", "path", "class_from"}


def test_tables_of_an_sqlite_file(tmp_path: Path) -> None:
    path = tmp_path / "zoo.bin"  # known by its first bytes
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE birds (key INTEGER, photo BLOB, species TEXT)")
        database.execute("CREATE TABLE notes (words TEXT)")
        database.execute("INSERT INTO birds VALUES (1, ?, 'wren')", [PICTURE])
        database.commit()
    options = {"table": "birds", "image_column": "photo", "label_column": "species", "id_column": "key"}
    assert interpretations(str(path))[0].knobs == {
        "source": "sql",
        "url": f"sqlite:///{path}",
        "source_options": options,
    }
