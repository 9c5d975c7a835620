"""The same pictures give the same shards, wherever they are."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from sightline.config.compose import compose, typed
from sightline.core.credentials import DATABASE_URL, parse_url
from sightline.core.files import sha256_file
from sightline.datasets.raw_set import ImageRecord
from sightline.sources import open_source
from sightline.sources.databases import mongo
from sightline.sources.databases.writeback import load_images
from sightline.stages.ingest.config import IngestConfig
from sightline.stages.ingest.stage import ingest
from tests.stages.ingest.pictures import png

pytestmark = pytest.mark.slow

CONF = Path(__file__).parents[3] / "conf"
COUNT = 5_000
FEW = 200
"""Pictures for GridFS: mongomock searches all files for each that is read, so that 5,000 would take hours."""

Ingest = Callable[..., dict[str, str]]


def config(*settings: str) -> IngestConfig:
    return typed(IngestConfig, compose(list(settings), CONF)["ingest"], "ingest")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder `{train,test}/class/**/image` of 5,000 pictures, two copies and a broken file among them."""
    root = tmp_path_factory.mktemp("everywhere") / "pictures"
    for number in range(COUNT):
        split, label = ["train", "train", "test"][number % 3], ["cat", "Hund", "鳥"][number // 3 % 3]
        path = root / split / label / f"set {number % 4}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(number - number % 1000 // 999))
    (root / "train/cat/broken.png").write_bytes(png(1)[:60])
    return root


@pytest.fixture(scope="module")
def records(folder: Path) -> list[ImageRecord]:
    source = open_source(config("ingest/source=folder", f"ingest.path='{folder}'"))
    return [item for item in source.records() if isinstance(item, ImageRecord)]


@pytest.fixture
def shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ingest:
    """Ingests and returns the digest of every file written."""

    def run(*settings: str, url: str | None = None) -> dict[str, str]:
        if url:
            monkeypatch.setenv(DATABASE_URL, url)
        chosen = config(*settings)
        out = tmp_path / "out"
        out.mkdir()
        ingest(open_source(chosen), chosen, out)
        return {path.name: sha256_file(path) for path in out.rglob("*") if path.is_file()}

    return run


@pytest.fixture(scope="module")
def expected(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    chosen = config("ingest/source=folder", f"ingest.path='{folder}'")
    out = tmp_path_factory.mktemp("expected")
    summary = ingest(open_source(chosen), chosen, out)
    assert summary["inputs"] == COUNT + 1
    assert summary["rejected"] == {"conflict": 4, "truncated": 1}  # two of the copies have another label
    return {path.name: sha256_file(path) for path in out.rglob("*") if path.is_file()}


def test_zip(folder: Path, expected: dict[str, str], shards: Ingest, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "pictures.zip", "w") as archive:
        for path in sorted(folder.rglob("*.png"), reverse=True):
            archive.write(path, path.relative_to(folder))
    assert shards("ingest/source=archive", f"ingest.path='{tmp_path}/pictures.zip'") == expected


def test_sql(sql_url: str, table: str, records: list[ImageRecord], expected: dict[str, str], shards: Ingest) -> None:
    assert load_images(records, sql_url, table) == COUNT + 1
    settings = [f"ingest.source.table='{table}'", "ingest.source.split_column=split"]
    assert shards("ingest/source=sql", *settings, url=sql_url) == expected


def test_mongodb(mongo_url: str, records: list[ImageRecord], expected: dict[str, str], shards: Ingest) -> None:
    with mongo.connect(
        parse_url(mongo_url)
    ) as client:  # not load_images: mongomock takes half a minute for the upserts
        fields = [{"_id": r.id, "image": r.data, "label": r.label, "split": r.split} for r in records]
        client[parse_url(mongo_url).path[1:]]["images"].insert_many(fields)
    assert shards("ingest/source=mongodb", url=mongo_url) == expected


def test_gridfs(mongo_url: str, records: list[ImageRecord], shards: Ingest, sqlite_url: str, tmp_path: Path) -> None:
    few = records[:: len(records) // FEW][:FEW]
    load_images(few, mongo_url, "images", gridfs=True)
    load_images(few, sqlite_url, "images")
    found = shards("ingest/source=mongodb", "ingest.source.gridfs=true", url=mongo_url)
    (tmp_path / "out").rename(tmp_path / "first")
    assert found == shards("ingest/source=sql", "ingest.source.split_column=split", url=sqlite_url)
    assert any(name.startswith("shard-") for name in found)
