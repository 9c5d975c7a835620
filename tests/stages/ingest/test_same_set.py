"""Circumstances that do not change a set: wrapping, what lies beside it, how its names are spelt, how it comes."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
import unicodedata
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sightline.cli import app
from sightline.sources.archive import ArchiveSource
from sightline.sources.databases.loading import fill_database
from sightline.sources.file import LocalFile
from sightline.sources.folder import FolderSource
from sightline.sources.remote_folder import RemoteFolderSource
from tests.stages.ingest.helpers import Ingested, birds, picture, run, tracked, tree

MAX = 2**20
APPLE = b"\0\5\x16\x07\0\2\0\0Mac OS X        " + b"\0" * 100
LITTER = {
    ".DS_Store": b"\0\0\0\1Bud1" + b"\0" * 90,
    "Thumbs.db": b"\xd0\xcf",
    "Ente/desktop.ini": b"[ViewState]",
    "Ente/._0 é.png": APPLE,
    "Ente/.ipynb_checkpoints/1-checkpoint.png": picture(901),
    "ørn/.hidden.png": picture(902),
    ".cache/x/1.png": picture(903),
    "__MACOSX/Ente/._0 é.png": APPLE,
}


def wrapped(files: dict[str, bytes], *folders: str) -> dict[str, bytes]:
    return {"/".join([*folders, name]): data for name, data in files.items()}


def decomposed(files: dict[str, bytes]) -> dict[str, bytes]:
    return {unicodedata.normalize("NFD", name): data for name, data in files.items()}


def from_folder(files: dict[str, bytes], root: Path, limit: int | None = None) -> Ingested:
    return run(FolderSource(tree(root / "in", files), MAX, limit), root / "out")


def from_zip(files: dict[str, bytes], root: Path, limit: int | None = None) -> Ingested:
    root.mkdir(exist_ok=True)
    with zipfile.ZipFile(root / "in.zip", "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return run(ArchiveSource(LocalFile(root / "in.zip"), MAX, 1000, 100, limit), root / "out")


def from_tar(files: dict[str, bytes], root: Path, limit: int | None = None) -> Ingested:
    root.mkdir(exist_ok=True)
    with tarfile.open(root / "in.tgz", "w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return run(ArchiveSource(LocalFile(root / "in.tgz"), MAX, 1000, 100, limit), root / "out")


def from_url(files: dict[str, bytes], root: Path, limit: int | None = None) -> Ingested:
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    place = f"/{root.name}"
    for name, data in files.items():
        memory.pipe(f"{place}/{name}", data)
    try:
        return run(RemoteFolderSource(f"memory:/{place}", MAX, limit), root / "out")
    finally:
        memory.rm(place, recursive=True)


SETS = {
    "classes": birds(),
    "splits": {**birds(2, 3, "train/"), **birds(2, 2, "test/")},
    "splits by other names": {
        **birds(2, 3, "training_set/training_set/"),
        **birds(2, 2, "test_set/test_set/"),
        "to_predict/1.png": picture(700),
    },
}
CHANGES = {
    "nothing": lambda files: files,
    "wrapped": lambda files: wrapped(files, "data"),
    "wrapped twice": lambda files: wrapped(files, "data", "PetImages"),
    "decomposed": decomposed,
    "litter": lambda files: {**files, **LITTER},
    "all": lambda files: decomposed(wrapped({**files, **LITTER}, "é", "b")),
}


@pytest.mark.parametrize("way", [from_folder, from_zip, from_tar, from_url])
@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("limit", [None, 5])
def test_the_set_is_the_same(name: str, way: object, limit: int | None, tmp_path: Path) -> None:
    assert callable(way)
    expected = from_folder(SETS[name], tmp_path / "expected", limit).files
    for number, change in enumerate(CHANGES.values()):
        assert way(change(SETS[name]), tmp_path / str(number), limit).files == expected, number


def test_a_zip_made_on_a_mac_holds_its_pictures_alone(tmp_path: Path) -> None:
    files = {f"pets/{c}/{i}.png": picture(10 * n + i) for n, c in enumerate(("cat", "dog")) for i in range(6)}
    beside = {f"__MACOSX/{name.replace('/', '/._')}": APPLE for name in files}
    result = from_zip({"pets/.DS_Store": b"\0\0\0\1Bud1", **files, **beside}, tmp_path / "mac")
    assert result.summary["classes"] == {"cat": 6, "dog": 6}
    assert result.rejected == {}


def test_hidden_pictures_are_no_input(tmp_path: Path) -> None:
    hidden = {"cat/.ipynb_checkpoints/1-checkpoint.png": picture(900), "dog/.hidden.png": picture(901)}
    files = {f"{c}/{i}.png": picture(100 + 10 * n + i) for n, c in enumerate(("cat", "dog")) for i in range(4)}
    result = from_folder({**files, **hidden}, tmp_path)
    assert set(result.images) == set(files)
    assert result.summary["inputs"] == 8


def test_a_folder_beside_the_splits_is_left_out_and_named(tmp_path: Path) -> None:
    names = [f"{split}/{label}/{i}.png" for split in ("train", "test", "val") for label in "ab" for i in range(3)]
    splits = {name: picture(number) for number, name in enumerate(names, 100)}
    result = from_folder({**splits, **{f"to_predict/{i}.png": picture(i) for i in range(3)}}, tmp_path)
    assert result.summary["classes"] == {"a": 9, "b": 9}
    assert {image.split for image in result.images.values()} == {"train", "val", "test"}
    assert result.rejected == {f"to_predict/{i}.png": "no_label" for i in range(3)}
    assert result.summary["notes"] == ["read as splits: test as test, train as train, val as val; left out: to_predict"]


def test_a_loose_picture_beside_the_classes_is_of_none(tmp_path: Path) -> None:
    result = from_folder({**wrapped(birds(), "pets"), "pets/cover.png": picture(499)}, tmp_path)
    assert set(result.images) == set(birds())
    assert result.rejected == {"cover.png": "no_label"}


def test_a_class_that_is_lost_is_named(tmp_path: Path) -> None:
    root = tree(tmp_path / "in", birds(2))
    (root / "kea").mkdir()
    (root / "docs/empty").mkdir(parents=True)
    tree(tmp_path / "elsewhere", {"owl/1.png": picture(50)})
    (root / "owl").symlink_to(tmp_path / "elsewhere/owl")
    result = run(FolderSource(root, MAX), tmp_path / "out")
    assert result.rejected == {"owl": "unsafe_entry"}
    assert result.summary["notes"] == [
        "no image of class 'owl' (owl): the folder is a link; put the folder itself there",
        "no image of class 'kea' (kea): the folder is empty",
    ]


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_class_that_is_empty_in_an_archive_is_named(kind: str, tmp_path: Path) -> None:
    root = tree(tmp_path / "in", wrapped(birds(2), "w"))
    (root / "w/kea").mkdir()
    (root / "w/.git").mkdir()
    path = Path(shutil.make_archive(str(tmp_path / "a"), kind, root))  # which names every folder by itself
    result = run(ArchiveSource(LocalFile(path), MAX, 1000, 100), tmp_path / "out")
    assert result.summary["notes"] == ["no image of class 'kea' (w/kea): the folder is empty"]
    assert set(result.images) == set(birds(2))


def test_two_folders_of_one_class_lose_no_picture(tmp_path: Path) -> None:
    names = [unicodedata.normalize(form, "café") for form in ("NFC", "NFD")]
    files = {f"{name}/{i}.png": picture(10 * n + i) for n, name in enumerate([*names, "tea"]) for i in range(3)}
    result = from_folder(files, tmp_path)
    assert result.summary["classes"] == {names[0]: 6, "tea": 3}
    assert result.rejected == {}


@pytest.mark.parametrize("shared", [None, "config", "config.local", "personal"])
def test_links_into_dvcs_cache_are_in(shared: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tmp_path / "project"
    cache = project / ".dvc/cache" if shared is None else tmp_path / "shared cache"
    root = tracked(project, cache, project / "data/birds")
    monkeypatch.setenv("DVC_GLOBAL_CONFIG_DIR", str(tmp_path / "personal"))
    if shared == "personal":
        tree(tmp_path, {"personal/config": f"[cache]\n    dir = {cache}\n".encode()})
    elif shared:
        (project / ".dvc" / shared).write_text(
            "[core]\n    remote = x\n['remote \"x\"']\n    url = s3://b\n"
            "[cache]\n    type = symlink\n    dir = ../../shared cache\n"
        )
    source = FolderSource(root, MAX)
    result = run(source, tmp_path / "out")
    assert {image.id: image.data for image in result.images.values()} == birds()
    assert result.rejected == {}
    before = source.fingerprint()
    path = root / next(iter(birds()))
    content = Path(os.path.realpath(path))
    content.write_bytes(content.read_bytes() + b"more")
    assert source.fingerprint() != before


def test_other_links_out_stay_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_GLOBAL_CONFIG_DIR", str(tmp_path / "none"))
    root = tracked(tmp_path / "project", tmp_path / "project/.dvc/cache", tmp_path / "project/birds")
    secret = tree(tmp_path, {"project/.dvc/cache/files/secret.png": picture(1), "secret.png": picture(2)})
    (root / "owl").mkdir()
    (root / "owl/1.png").symlink_to(secret / "secret.png")
    (root / "owl/2.png").symlink_to(secret / "project/.dvc/cache/files/secret.png")
    (root / "owl/3.png").symlink_to("/etc/hostname")
    other = tracked(tmp_path / "other", tmp_path / "other/.dvc/cache", tmp_path / "other/birds")
    (root / "owl/4.png").symlink_to(os.path.realpath(other / next(iter(birds()))))  # another project's cache
    result = run(FolderSource(root, MAX), tmp_path / "out")
    assert result.rejected == {f"owl/{number}.png": "unsafe_entry" for number in range(1, 5)}


def test_load_asks_with_its_own_options(tmp_path: Path) -> None:
    pytest.importorskip("sqlalchemy")
    root = tree(tmp_path / "in", {**SETS["splits"], **birds(2, 1, "holdout/")})
    words = ["load", str(root), "--table", "images", "--url", f"sqlite:///{tmp_path}/images.db"]
    asked = CliRunner().invoke(app, words)
    assert "holdout" in asked.stderr
    assert "set --layout splits" in asked.stderr
    assert "ingest." not in asked.stderr
    done = CliRunner().invoke(app, [*words, "--layout", "splits"])
    assert (done.exit_code, "10 images -> images, 2 inputs could not be read" in done.stderr) == (1, True), done.stderr


@pytest.mark.parametrize(
    ("given", "url", "remedy"),
    [
        ("no", "sqlite:///unused.db", "SOURCE: cannot read"),
        (
            "splits",
            "sqlite:///unused.db",
            "named like splits, but without one folder per class; if these are the classes",
        ),
        ("many.zip", "sqlite:///unused.db", "unpack it, and name the folder, if you trust it"),
        ("bomb.tar.gz", "sqlite:///unused.db", "unpack it, and name the folder, if you trust it"),
        ("owl", None, "set --url (without a password) or SIGHTLINE_DATABASE_URL"),
        ("owl", "mysql://127.0.0.1:1/x", "set --url or SIGHTLINE_DATABASE_URL"),
        ("owl", "mongodb://127.0.0.1:1/x", "set --url or SIGHTLINE_DATABASE_URL"),
    ],
)
def test_a_remedy_of_load_names_what_load_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, url: str | None, remedy: str
) -> None:
    for package in ("sqlalchemy", "pymysql", "pymongo"):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SIGHTLINE_DATABASE_URL", raising=False)
    monkeypatch.setattr("sightline.sources.databases.loading.MAX_ENTRIES", 2)
    monkeypatch.setattr("sightline.sources.archive._FREE_BYTES", 10)
    tree(tmp_path, {"owl/owl/1.png": picture(1), "splits/train/1.png": picture(1), "splits/test/2.png": picture(2)})
    with zipfile.ZipFile("many.zip", "w") as many:
        for number in range(3):
            many.writestr(f"owl/{number}.png", picture(number))
    Path("owl/2.png").write_bytes(bytes(2**20))
    with tarfile.open("bomb.tar.gz", "w:gz") as archive:
        archive.add("owl/2.png")
    done = CliRunner().invoke(app, ["load", given, "--table", "images", *(["--url", url] if url else [])])
    assert done.exit_code == 2
    assert remedy in done.stderr
    assert "ingest." not in done.stderr


def test_load_reads_by_the_same_rules(tmp_path: Path) -> None:
    pytest.importorskip("sqlalchemy")
    files = decomposed(wrapped({**SETS["splits by other names"], **LITTER}, "x"))
    count, refused, notes = fill_database(tree(tmp_path / "in", files), f"sqlite:///{tmp_path}/images.db", "images")
    assert (count, [one.id for one in refused]) == (10, ["to_predict/1.png"])
    assert notes == ["read as splits: test_set as test, training_set as train; left out: to_predict"]
