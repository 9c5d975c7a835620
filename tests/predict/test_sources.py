"""Every kind of input and output of prediction, on real archives, servers and databases."""

from __future__ import annotations

import gzip
import http.server
import io
import json
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from PIL import Image

import sightline
from sightline.core.credentials import parse_url
from sightline.core.errors import UserError
from sightline.datasets.raw_set import ImageRecord
from sightline.imaging import convert, decode
from sightline.predict.bundle import Bundle
from sightline.predict.inputs import Database, open_all
from sightline.sources import remote
from sightline.sources.databases import mongo
from sightline.sources.databases.writeback import load_images
from tests.cli.test_cli import run
from tests.exported import Project
from tests.servers.fixtures import sqlite_url, wire_url  # noqa: F401 - fixtures
from tests.servers.odd_web import odd_web
from tests.stages.ingest.helpers import spellings

COUNT = 12


@pytest.fixture(scope="module")
def bundle(project: Project) -> Bundle:
    return Bundle.load(project.bundle, threads=1)


@pytest.fixture(scope="module")
def expected(project: Project, bundle: Bundle) -> list[Any]:
    return [p.top for p in bundle.predict(project.pictures[:COUNT], top_k=3)]


def tops(bundle: Bundle, given: Any, **options: Any) -> tuple[list[str], list[Any]]:
    made = list(bundle.predict(given, top_k=3, **options))
    assert [p.error for p in made] == [None] * len(made)
    return [p.path for p in made], [p.top for p in made]


def same(made: list[Any], expected: list[Any]) -> None:
    assert [[label for label, _ in top] for top in made] == [[label for label, _ in top] for top in expected]
    assert np.array([[s for _, s in top] for top in made]) == pytest.approx(
        np.array([[s for _, s in top] for top in expected]), abs=1e-6
    )


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("batch_size", [1, 5, 64])
def test_order_and_answers_depend_on_neither_threads_nor_batches(
    project: Project, bundle: Bundle, expected: list[Any], workers: int, batch_size: int
) -> None:
    pictures = project.pictures[:COUNT]
    names, made = tops(bundle, pictures, workers=workers, batch_size=batch_size)
    assert names == [str(path) for path in pictures]
    same(made, expected)


@pytest.mark.parametrize("suffix", ["zip", "tar", "tar.gz", "tar.xz"])
def test_archives(project: Project, bundle: Bundle, expected: list[Any], tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"pictures.{suffix}"
    members = {f"set/{p.name}": p.read_bytes() for p in project.pictures[:COUNT]} | {"__MACOSX/x": b"", "set/.x": b""}
    if suffix == "zip":
        with zipfile.ZipFile(path, "w") as packed:
            for name, data in members.items():
                packed.writestr(name, data)
    else:
        with tarfile.open(path, f"w:{suffix.removeprefix('tar').removeprefix('.')}") as archive:
            for name, data in members.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))
    names, made = tops(bundle, path)
    assert names == [f"{path}/set/{p.name}" for p in project.pictures[:COUNT]]
    same(made, expected)


def test_hostile_archives_are_rows(bundle: Bundle, project: Project, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as packed:
        packed.writestr("../../etc/cron.d/x", b"x")
        packed.writestr("good.png", project.pictures[0].read_bytes())
    (tmp_path / "none.zip").write_bytes(b"no archive")
    with zipfile.ZipFile(tmp_path / "empty.zip", "w"):
        pass
    half = (tmp_path / "evil.zip").read_bytes()[:60]
    (tmp_path / "half.zip").write_bytes(half)
    made = list(bundle.predict(tmp_path / f"{name}.zip" for name in ("evil", "none", "empty", "half")))
    assert [p.error for p in made] == ["unsafe_entry", None, "incomplete_archive", "missing", "incomplete_archive"]


def test_an_archive_that_breaks_off_gives_its_rows_and_an_error(project: Project, tmp_path: Path) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for picture in project.pictures[:3]:
            archive.add(picture, picture.name)
        cut = stream.tell()
    (tmp_path / "cut.tar").write_bytes(stream.getvalue()[:cut])
    wrong = bytearray(gzip.compress(stream.getvalue()))
    wrong[-5] ^= 1
    (tmp_path / "wrong.tar.gz").write_bytes(wrong)
    for name, why in (("cut.tar", "its end marker is missing"), ("wrong.tar.gz", "CRC check failed")):
        code, out, err = run("predict", project.bundle, tmp_path / name, "--format", "jsonl")
        rows = [json.loads(line) for line in out.splitlines()]
        assert [row["error"] for row in rows] == [None, None, None, "incomplete_archive"]
        assert why in rows[-1]["detail"]
        assert (code, err) == (1, "4 inputs: 3 predicted, 1 failed (incomplete_archive: 1)\n")


def test_data_urls(project: Project, bundle: Bundle, expected: list[Any]) -> None:
    urls = [text for text in spellings(project.pictures[0].read_bytes()).values() if text.lower().startswith("data:")]
    names, made = tops(bundle, urls)
    same(made, [expected[0]] * len(urls))
    assert names[0].startswith("data:image/png;base64,iVBOR")
    assert {len(name) for name in names} == {49}
    code, out, err = run("predict", project.bundle, urls[0], "data:image/png;base64,no!", "--format", "jsonl")
    assert [json.loads(line)["error"] for line in out.splitlines()] == [None, "not_an_image"]
    assert (code, len(err.splitlines())) == (0, 1)


def test_a_list_on_standard_input(project: Project, tmp_path: Path) -> None:
    stdin = io.StringIO(f"{project.pictures[1]}\n\n{project.root}/pictures\n-\ngone.png\n")
    names = [item.name for item in open_all(["-"], 2**20, stdin=stdin)]
    assert names == [str(project.pictures[1]), *map(str, project.pictures), "gone.png"]


def test_python_takes_pixels_and_bytes(project: Project, bundle: Bundle, expected: list[Any]) -> None:
    opened = sightline.load(project.bundle)
    pictures = project.pictures[:COUNT]
    same(tops(opened, [path.read_bytes() for path in pictures])[1], expected)
    pixels = [np.asarray(Image.open(path)) for path in pictures]
    names, made = tops(opened, pixels)
    assert names[:2] == ["[0]", "[1]"]
    same(made, expected)
    same(tops(opened, np.stack(pixels))[1], expected)
    same(tops(opened, pixels[0])[1], expected[:1])
    same(tops(opened, pixels[0][..., None].repeat(3, axis=2))[1], expected[:1])
    same(tops(opened, pictures[0])[1], expected[:1])


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (np.zeros((8, 8)), TypeError),
        ([3], TypeError),
        (np.zeros((8, 8, 4), np.uint8), ValueError),
        (np.zeros((0, 8), np.uint8), ValueError),
    ],
)
def test_what_is_no_image_is_a_fault_of_the_program(bundle: Bundle, given: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="input 0"):
        list(bundle.predict(given))


def test_grey_from_colours_as_the_decoder_makes_it() -> None:
    colours = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    encoded = decode.encode_png(colours)
    for channels in (1, 3):
        np.testing.assert_array_equal(convert.in_channels(colours, channels), decode.decode(encoded, channels))


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the parameter's name
            pass

    root = tmp_path / "www"
    root.mkdir()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(root))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", root
        server.shutdown()


def test_urls(project: Project, bundle: Bundle, expected: list[Any], web: tuple[str, Path]) -> None:
    url, root = web
    (root / "set").mkdir()
    with zipfile.ZipFile(root / "all.zip", "w") as packed:
        for path in project.pictures[:COUNT]:
            (root / "set" / path.name).write_bytes(path.read_bytes())
            packed.write(path, path.name)
    first = f"{url}/set/{project.pictures[0].name}"
    names, made = tops(bundle, [f"{first}?token=secret"])
    assert names == [first]
    same(made, expected[:1])
    for given in (f"{url}/set/", f"{url}/all.zip"):
        same(tops(bundle, given)[1], expected)
    same(tops(bundle, f"file://{root}/set")[1], expected)
    same(tops(bundle, f"file://{root}/set/*.png")[1], expected)


def test_urls_that_lead_nowhere_are_rows(bundle: Bundle, web: tuple[str, Path]) -> None:
    url, root = web
    (root / "large.png").write_bytes(bytes(33 * 2**20))
    given = [f"{url}/gone.png", "http://127.0.0.1:9/x.png?key=secret", f"{url}/large.png", "file:///no/such/file"]
    made = list(bundle.predict(given))
    assert [p.error for p in made] == ["missing", "unreadable", "too_many_bytes", "missing"]
    assert "secret" not in str(made)


def test_a_web_servers_odd_answers_are_each_the_rows_own(
    project: Project, bundle: Bundle, expected: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "_SILENCE", 0.5)
    kinds = ("chunked", "endless", "fault", "moved", "silent")
    for name in ("a.png", *(f"{kind}-a.png" for kind in kinds)):
        (tmp_path / name).write_bytes(project.pictures[0].read_bytes())
    with odd_web(tmp_path) as url:
        made = list(bundle.predict([f"{url}/"]))
    names = [prediction.path.rpartition("/")[2] for prediction in made]
    assert names == ["a.png", *(f"{kind}-a.png" for kind in kinds)]
    assert [prediction.error for prediction in made] == [None, None, "too_many_bytes", "unreadable", None, "unreadable"]
    assert "(HTTP 500)" in str(made[3].detail)
    assert {made[place].label for place in (0, 1, 4)} == {expected[0][0][0]}


@pytest.mark.parametrize("kind", ["sqlite", "mongodb", "gridfs"])
def test_from_a_database_and_back(
    request: pytest.FixtureRequest, project: Project, bundle: Bundle, expected: list[Any], kind: str
) -> None:
    base = request.getfixturevalue("sqlite_url" if kind == "sqlite" else "wire_url")
    url = base if kind == "sqlite" else f"{base.rstrip('/').partition('?')[0]}/predict_{kind}?directConnection=true"
    records = [ImageRecord(f"n{i:02}", path.read_bytes(), "?") for i, path in enumerate(project.pictures[:COUNT])]
    load_images(records, url, "digits", gridfs=kind == "gridfs")
    source = "gridfs:digits" if kind == "gridfs" else "db:digits"
    names, made = tops(bundle, source, database=Database(url))
    assert names == [record.id for record in records]
    same(made, expected)
    for _ in range(2):  # the second changes nothing
        code, out, err = run("predict", project.bundle, source, "gone.png", "--url", url, "--output", "db:written")
        assert (code, out) == (0, "")
        assert "13 inputs: 12 predicted, 1 failed (missing: 1) -> db:written" in err
    if kind == "sqlite":
        engine = sa.create_engine(url)
        with engine.connect() as connection:
            columns = "id, model, label, probability, reason"
            rows = connection.execute(sa.text(f"SELECT {columns} FROM written ORDER BY id")).all()  # noqa: S608
        engine.dispose()
    else:
        with mongo.connect(parse_url(url)) as client:
            found = mongo.database(client, parse_url(url), None)["written"].find()
            names_of = ("label", "probability", "reason")
            rows = sorted((d["_id"]["id"], d["_id"]["model"], *map(d.get, names_of)) for d in found)
    assert [row[0] for row in rows] == ["gone.png", *names]
    assert {row[1] for row in rows} == {bundle.digest}
    assert [row[2] for row in rows[1:]] == [top[0][0] for top in expected]
    assert rows[0][4] == "missing"


def test_a_database_that_is_not_there_is_one_line(project: Project, tmp_path: Path) -> None:
    code, out, err = run("predict", project.bundle, "db:images", "--url", f"sqlite:///{tmp_path}/gone.db")
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert "there is no such file" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["db:images", "--url", "mysql://u:hunter2@h/x"], "--url: must not contain credentials"),
        (["gridfs:images", "--url", "mongodb://u:hunter2@h/x"], "--url: must not contain credentials"),
        (["PICTURE", "-o", "db:rows", "--url", "mysql://u:hunter2@h/x"], "--url: must not contain credentials"),
        (["gridfs:a$b", "--url", "mongodb://u@h/x"], "gridfs:a$b: collection: must be a name without $"),
    ],
)
def test_a_database_that_is_named_wrongly_is_one_line(project: Project, arguments: list[str], message: str) -> None:
    arguments = [str(project.pictures[0]) if one == "PICTURE" else one for one in arguments]
    code, out, err = run("predict", project.bundle, *arguments)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert message in err
    assert "hunter2" not in err


def test_parquet(project: Project, tmp_path: Path, expected: list[Any]) -> None:
    target = tmp_path / "rows.parquet"
    assert run("predict", project.bundle, project.root / "pictures", "gone.png", "-o", target, "-k", 3)[0] == 0
    rows = pq.read_table(target).to_pylist()
    assert [row["error"] for row in rows] == [None] * len(project.pictures) + ["missing"]
    same([[(one["label"], one["probability"]) for one in row["top"]] for row in rows[:COUNT]], expected)
    code, _, err = run("predict", project.bundle, "x", "-f", "parquet")
    assert (code, err) == (2, "sightline: --format parquet: name a file with --output\n")


def test_abstaining(project: Project, bundle: Bundle) -> None:
    sure = list(bundle.predict(project.pictures[:COUNT]))
    middle = sorted(p.probability or 0 for p in sure)[COUNT // 2]
    code, out, err = run("predict", project.bundle, *project.pictures[:COUNT], "--threshold", middle, "-f", "csv")
    rows = [line.split(",") for line in out.splitlines()[1:]]
    assert code == 0
    for row, p in zip(rows, sure, strict=True):
        unsure = (p.probability or 0) < middle
        assert (row[1], row[5]) == ("" if unsure else p.label, str(unsure).lower())
    assert f"{COUNT // 2} abstained" in err
    assert run("predict", project.bundle, project.pictures[0], "--threshold", "1.5")[0] == 2


def test_a_registered_model_without_a_registry_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(UserError, match=r"there is no mlflow\.db here: set MLFLOW_TRACKING_URI"):
        sightline.load("models:/sightline@champion")
    with pytest.raises(UserError, match="write models:/name@alias"):
        sightline.load("models:/sightline")
    assert list(tmp_path.iterdir()) == []


def test_a_registered_model_is_fetched_once(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expected: list[Any]
) -> None:
    import mlflow

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    before = mlflow.get_tracking_uri()
    try:
        mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
        client = mlflow.MlflowClient()
        client.create_registered_model("digits")
        source = tmp_path / "model"
        (source / "artifacts").mkdir(parents=True)
        for path in project.bundle.iterdir():
            (source / "artifacts" / path.name).write_bytes(path.read_bytes())
        run_id = client.create_run(client.create_experiment("x", artifact_location=str(tmp_path / "art"))).info.run_id
        client.log_artifacts(run_id, str(source), "model")
        client.create_model_version("digits", f"{tmp_path}/art/{run_id}/artifacts/model", run_id)
        client.set_registered_model_alias("digits", "champion", "1")
        for uri in ("models:/digits@champion", "models:/digits/1"):
            same(tops(sightline.load(uri), project.pictures[:COUNT])[1], expected)
        assert len(list((tmp_path / ".sightline/registry").iterdir())) == 1
        with pytest.raises(UserError, match="cannot be fetched from MLflow"):
            sightline.load("models:/digits@nobody")
    finally:
        mlflow.set_tracking_uri(before)


WATCHED = """
import sys
asked = []
HEAVY = ("torch", "mlflow", "fsspec", "sqlalchemy", "pymongo", "pyarrow")
def watch(event, arguments):
    if event in ("pickle.find_class", "socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.system"):
        asked.append(event)
    if event == "import" and arguments[0].partition(".")[0] in HEAVY:
        asked.append(arguments[0])
sys.addaudithook(watch)
from sightline.cli import app
try:
    app(sys.argv[1:])
finally:
    print("ASKED", asked)
"""


def test_predicting_unpickles_nothing_and_asks_for_no_connection(project: Project, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.write(project.pictures[0], "a.png")
    arguments = [str(project.bundle), str(project.root / "pictures"), str(tmp_path / "a.zip"), "-k", "2"]
    command = [sys.executable, "-c", WATCHED, "predict", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "ASKED []", done.stderr
