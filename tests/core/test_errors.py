"""Faults of the machine, as libraries raise them, in one line that names the path and what to do."""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import save_file

from sightline.core import files
from sightline.core.errors import UserError, fault
from sightline.stages.train.checkpoint_io import DurableCheckpointIO
from tests.disks import mounted

SIZE = 256 * 1024
FULL = r": the disk is full \(0\.\d MiB are free\): free some space there, and run the same command again$"


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    with mounted(tmp_path, f"size={SIZE}") as folder:
        yield folder


@pytest.fixture(scope="module")
def read_only(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with mounted(tmp_path_factory.mktemp("read-only"), "ro") as folder:
        yield folder


PIXELS = np.random.default_rng(0).integers(0, 256, (600, 600, 3), np.uint8)  # about a mebibyte, however compressed


def _onnx(path: Path) -> None:
    tensor = onnx.numpy_helper.from_array(PIXELS, "pixels")
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([], "graph", [], [], [tensor])), str(path))


def _numpy(path: Path) -> None:
    with path.open("wb") as stream:
        np.save(stream, PIXELS)


def _sqlite(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE images (image BLOB)")
        database.execute("INSERT INTO images VALUES (?)", (PIXELS.tobytes(),))
        database.commit()


WRITERS: dict[str, Callable[[Path], Any]] = {
    "bytes": lambda path: path.write_bytes(PIXELS.tobytes()),
    "text": lambda path: path.write_text("x" * 2**20),
    "numpy": _numpy,
    "parquet": lambda path: pq.write_table(pa.table({"image": [PIXELS.tobytes()]}), path),
    "png": lambda path: Image.fromarray(PIXELS).save(path, "PNG"),
    "safetensors": lambda path: save_file({"pixels": torch.from_numpy(PIXELS)}, path),
    "torch": lambda path: torch.save({"pixels": torch.from_numpy(PIXELS)}, path),
    "checkpoint": lambda path: DurableCheckpointIO().save_checkpoint({"pixels": torch.from_numpy(PIXELS)}, path),
    "onnx": _onnx,
    "sqlite": _sqlite,
}


def line(work: Callable[[], Any]) -> str:
    """Returns the line that an error is told in."""
    with pytest.raises((OSError, RuntimeError, sqlite3.Error, SafetensorError)) as caught:
        work()
    mendable = fault(caught.value)
    assert mendable is not None, repr(caught.value)
    assert "\n" not in str(mendable)
    return str(mendable)


@pytest.mark.parametrize("kind", WRITERS)
def test_a_full_disk_is_one_line_whoever_writes(small: Path, kind: str) -> None:
    path = small / f"{kind}.out"

    def write() -> None:
        with files.atomic_file(path) as temporary:
            WRITERS[kind](temporary)

    assert re.search(f"^{re.escape(str(path))}{FULL}", line(write))
    assert list(small.iterdir()) == []


def test_a_full_disk_within_a_folder_names_the_folder_and_leaves_the_old_one(small: Path) -> None:
    folder = small / "folder"
    with files.atomic_directory(folder) as new:
        (new / "old").write_text("old")

    def write() -> None:
        with files.atomic_directory(folder) as new:
            WRITERS["numpy"](new / "pixels.npy")

    assert re.search(f"^{re.escape(str(folder))}{FULL}", line(write))
    assert [path.name for path in small.rglob("*")] == ["folder", "old"]


@pytest.mark.parametrize("kind", WRITERS)
def test_a_read_only_file_system_is_one_line(read_only: Path, kind: str) -> None:
    path = read_only / f"{kind}.out"
    remedy = f"mount -o remount,rw {read_only}, or work in a copy of the project elsewhere"
    for work in (lambda: files.write_text(path, "x"), lambda: WRITERS[kind](path)):
        message = line(work)
        # SQLite and torch do not say why they cannot open a file, and then neither is known.
        assert message == f"{path}: the file system is read-only: {remedy}" or kind in (
            "sqlite",
            "torch",
            "safetensors",
        )
        assert "read-only" in message or "permission denied" in message


def test_standard_output_on_a_full_disk() -> None:
    with Path("/dev/full").open("w") as stream:
        code = "from sightline.cli import app; app()"
        words = [sys.executable, "-c", code, "verify", "--help"]
        done = subprocess.run(words, stdout=stream, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    place = "standard output, or a temporary file"
    assert (
        done.stderr == f"sightline: {place}: the disk is full: free some space there, and run the same command again\n"
    )


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of the user's own, whose parents anybody may look through; root is nobody for a while."""
    made = Path(tempfile.mkdtemp(prefix="sightline-", dir="/tmp"))
    user, nobody = os.geteuid(), pwd.getpwnam("nobody").pw_uid
    if user == 0:
        os.chown(made, nobody, -1)
        os.seteuid(nobody)
    yield made
    os.seteuid(user)
    shutil.rmtree(made)


@pytest.mark.parametrize("mode", [0o500, 0o000])
def test_a_folder_of_the_users_own_that_is_closed(folder: Path, mode: int) -> None:
    inner = folder / "of mine"
    inner.mkdir(mode=mode)
    expected = rf": permission denied: chmod -R u\+rwX '{inner}', and run the same command again$"
    assert re.search(expected, line(lambda: files.write_text(inner / "out", "x")))
    inner.chmod(0o700)
    files.write_text(inner / "out", "x")
    (inner / "out").chmod(0)
    expected = rf"^{inner}/out: permission denied: chmod -R u\+rwX '{inner}/out', and run"
    assert re.search(expected, line((inner / "out").read_text))


def test_a_folder_of_somebody_else(folder: Path) -> None:
    message = line(lambda: files.write_text(Path("/etc/sightline"), "x"))
    assert re.fullmatch(r"/etc/\S+: permission denied: sudo chown -R \w+ /etc, and run the same command again", message)


def test_an_immutable_folder(tmp_path: Path) -> None:
    if os.geteuid() != 0 or subprocess.run(["chattr", "+i", str(tmp_path)], capture_output=True).returncode:
        pytest.skip("only root may make a folder immutable, and not on every file system")
    try:
        message = line(lambda: files.write_text(tmp_path / "out", "x"))
    finally:
        subprocess.run(["chattr", "-i", str(tmp_path)], check=True)
    remedy = f"chattr -i {tmp_path} if it is immutable, and run the same command again"
    assert message == f"{tmp_path}/out: permission denied: {remedy}"


def test_too_many_open_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").touch()
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    opened: list[int] = []

    def exhaust() -> None:
        while True:
            opened.append(os.open("in", os.O_RDONLY))

    resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
    try:
        message = line(exhaust)
    finally:
        for descriptor in opened:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    more = min(4096, before[1]) if before[1] != resource.RLIM_INFINITY else 4096
    assert message.startswith("in: too many files are open (")
    assert message.endswith(f"ulimit -n {more}, and run the same command again")


def test_a_file_beyond_the_limit(tmp_path: Path) -> None:
    code = """
import resource
from pathlib import Path
from sightline.core import files
from sightline.core.errors import fault
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
try:
    files.write_text(Path("out"), "x" * 2000)
except OSError as error:
    print(fault(error))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    remedy = "ulimit -f unlimited, and run the same command again"
    assert done.stdout == f"out: the file would be larger than this process may write: {remedy}\n", done.stderr
    assert list(tmp_path.iterdir()) == []


def _raised(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(errno.ENOENT, "No such file or directory", "data/raw/classes.json"),
        FileExistsError(errno.EEXIST, "File exists", "x"),
        ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"),
        RuntimeError("shapes differ"),
        KeyError("No space left on device"),
        AssertionError("Permission denied"),
        _raised(TypeError("a bug in a handler"), OSError(errno.ENOSPC, "No space left on device")),
    ],
)
def test_an_error_of_the_program_is_none_of_the_machine(error: BaseException) -> None:
    assert fault(error) is None


def test_a_users_error_stays_what_it_is_and_a_librarys_cause_is_looked_at() -> None:
    mine = UserError("one line")
    assert fault(mine) is mine
    wrapped = _raised(RuntimeError("could not be saved"), OSError(errno.EIO, "Input/output error", "models/model.json"))
    assert str(fault(wrapped)).startswith("models/model.json: the disk reports an error: see what `dmesg`")
