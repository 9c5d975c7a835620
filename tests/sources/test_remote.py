"""Images behind URLs: a real S3 server and a real web server, both on private ports."""

from __future__ import annotations

import http.server
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sightline.core.errors import UserError
from sightline.datasets.raw_set import ImageRecord, Rejection
from sightline.sources.archive import ArchiveSource
from sightline.sources.file import RemoteFile
from sightline.sources.folder import FolderOption, FolderSource
from sightline.sources.remote_folder import RemoteFolderSource
from sightline.sources.table import TableOption, TableSource
from tests.servers.odd_web import odd_web
from tests.stages.ingest.helpers import birds, picture, run, tree

CANARY = "CaNaRySeCrEt1234567890"


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the method's parameter
        pass


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The address of a web server, and the folder that it shows."""
    root = tmp_path / "www"
    root.mkdir()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(root))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", root
        server.shutdown()


@pytest.fixture(scope="module")
def s3_server() -> Iterator[str]:
    moto = pytest.importorskip("moto.server")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An fsspec file system of the server; credentials stand in the environment, as with the real one."""
    for name, value in {
        "AWS_ENDPOINT_URL": s3_server,
        "AWS_ACCESS_KEY_ID": "someone",
        "AWS_SECRET_ACCESS_KEY": CANARY,
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    fs = s3fs.S3FileSystem()
    if not fs.exists("birds"):
        fs.mkdir("birds")
    yield fs
    fs.rm("birds", recursive=True)
    s3fs.S3FileSystem.clear_instance_cache()


def upload(fs: Any, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        fs.pipe_file(f"birds/{name}", data)


def test_a_folder_in_s3_gives_the_shards_of_the_same_folder_on_disk(s3: Any, tmp_path: Path) -> None:
    files = {**birds(prefix="train/"), **birds(prefix="test/", each=2)}
    upload(s3, {f"set/{name}": data for name, data in files.items()})
    local = run(FolderSource(tree(tmp_path / "in", files), 2**20), tmp_path / "local")
    far = run(RemoteFolderSource("s3://birds/set", 2**20), tmp_path / "far")
    assert far.files == local.files
    assert len(list(RemoteFolderSource("s3://birds/set", 2**20, limit=5).records())) == 5


def test_a_large_object_is_refused_unread(s3: Any, tmp_path: Path) -> None:
    upload(s3, {**birds(), "owl/large.png": b"\0" * 2**20, "owl/empty.png": b""})
    result = run(RemoteFolderSource("s3://birds/", 2**19), tmp_path / "out")
    assert result.rejected == {"owl/large.png": "too_many_bytes", "owl/empty.png": "empty"}


def test_a_fingerprint_of_s3_changes_with_an_object(s3: Any) -> None:
    upload(s3, birds())
    source = RemoteFolderSource("s3://birds", 2**20)
    first = source.fingerprint()
    assert RemoteFolderSource("s3://birds", 2**20).fingerprint() == first
    name = next(iter(birds()))
    s3.pipe_file(f"birds/{name}", picture(1234))
    s3.invalidate_cache()
    assert source.fingerprint() != first


def test_an_archive_and_a_table_in_s3(s3: Any, tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as writer:
        for name, data in birds().items():
            writer.writestr(name, data)
    listed = "path,label\n" + "".join(f"{name},{name.split('/')[0]}\n" for name in birds()) + "gone.png,owl\n"
    upload(s3, {**birds(), "a.zip": archive.read_bytes(), "list.csv": listed.encode()})
    local = run(FolderSource(tree(tmp_path / "in", birds()), 2**20), tmp_path / "local")
    file = RemoteFile("s3://birds/a.zip")
    zipped = run(ArchiveSource(file, 2**20, 100, 100), tmp_path / "zipped")
    assert zipped.files == local.files
    assert file.fingerprint()["bytes"] == archive.stat().st_size
    option = TableOption(
        name="table", path=None, url="s3://birds/list.csv", root=None, columns=[], separator=None, path_column="path",
        bytes_column=None, pixel_columns=None, pixel_shape=[], label_column="label", split_column=None,
        group_column=None, id_column=None, unlisted=True,
    )  # fmt: skip
    table = run(TableSource(option, 2**20), tmp_path / "table")
    assert {i.id: i.data for i in table.images.values()} == birds()
    assert table.rejected == {"gone.png": "missing"}
    before = TableSource(option, 2**20).fingerprint()
    s3.pipe_file(f"birds/{next(iter(birds()))}", picture(55))
    s3.invalidate_cache()
    assert TableSource(option, 2**20).fingerprint() != before


def test_a_bucket_that_is_not_there_is_one_line_without_credentials(s3: Any) -> None:
    with pytest.raises(UserError, match="nothing found at s3://none/set") as caught:
        RemoteFolderSource("s3://none/set", 2**20).fingerprint()
    assert CANARY not in str(caught.value)


def test_a_folder_on_the_web(web: tuple[str, Path], tmp_path: Path) -> None:
    url, root = web
    tree(root / "set", birds())
    local = run(FolderSource(root / "set", 2**20), tmp_path / "local")
    far = run(RemoteFolderSource(f"{url}/set", 2**20), tmp_path / "far")
    assert far.files == local.files
    first = RemoteFolderSource(f"{url}/set", 2**20).fingerprint()
    assert RemoteFolderSource(f"{url}/set", 2**20).fingerprint() == first
    (root / "set" / next(iter(birds()))).write_bytes(picture(5, side=20))
    assert RemoteFolderSource(f"{url}/set", 2**20).fingerprint() != first


def test_a_web_server_that_tells_no_sizes_is_read_whole_and_not_without_end(tmp_path: Path) -> None:
    root = tree(tmp_path / "www", {"cat/chunked-a.png": picture(0), "cat/endless-b.png": picture(1)})
    with odd_web(root) as url:
        whole, endless = RemoteFolderSource(url, 2**20).records()
    assert isinstance(whole, ImageRecord)
    assert whole.data == picture(0)
    assert isinstance(endless, Rejection)
    assert str(endless.reason) == "too_many_bytes"


def test_an_archive_on_the_web(web: tuple[str, Path], tmp_path: Path) -> None:
    url, root = web
    with zipfile.ZipFile(root / "a.zip", "w") as writer:
        for name, data in birds().items():
            writer.writestr(name, data)
    result = run(ArchiveSource(RemoteFile(f"{url}/a.zip"), 2**20, 100, 100), tmp_path / "out")
    assert {i.id: i.data for i in result.images.values()} == birds()
    with pytest.raises(UserError, match=r"nothing found at http://127\.0\.0\.1:\d+/none\.zip"):
        RemoteFile(f"{url}/none.zip?token={CANARY}").fingerprint()


def test_a_server_that_is_down_is_one_line_without_credentials() -> None:
    with pytest.raises(UserError, match=r"cannot read http://127\.0\.0\.1:9/set .*check the address") as caught:
        RemoteFolderSource(f"http://127.0.0.1:9/set?token={CANARY}", 2**20).fingerprint()
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (f"s3://someone:{CANARY}@birds/set", "must not contain credentials"),
        (f"https://host/set?api_key={CANARY}", "must not contain credentials"),
        ("file:///etc", "must be the URL of a service"),
        ("zip://x.png::https://host/a.zip", "must be the URL of a service"),
        ("/data/birds", "must be the URL of a service"),
    ],
)
def test_urls_that_are_not_taken(url: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        FolderOption("folder", None, url, "auto", 1)
    assert CANARY not in str(caught.value)


def test_a_kind_of_url_without_its_package_names_the_extra() -> None:
    with pytest.raises(UserError, match=r"pip install .*\[gcs\]"):
        RemoteFolderSource("gs://bucket/set", 2**20).fingerprint()
