"""Digests of content: DVC's own, with a memory that asks the disk for times alone."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from sightline.core import dvc_files
from sightline.core.errors import UserError
from sightline.sources import known_digests
from sightline.sources.content import ContentMemory, fingerprint
from sightline.sources.file import LocalFile
from sightline.sources.folder import FolderSource
from tests.sources.test_table import ROWS, source, write
from tests.stages.ingest.helpers import birds, picture, tree


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def listed(root: Path) -> str:
    """Returns DVC's digest of a folder, by its definition."""
    found = [
        {"md5": md5(path.read_bytes()), "relpath": path.relative_to(root).as_posix()}
        for path in root.rglob("*")
        if path.is_file()
    ]
    found.sort(key=lambda item: item["relpath"])
    return md5(json.dumps(found, sort_keys=True).encode()) + ".dir"


def track(path: Path, digest: str | None = None) -> Path:
    """Writes the file by which DVC tracks a path."""
    pointer = path.with_name(f"{path.name}.dvc")
    pointer.write_text(f"outs:\n- md5: {digest or listed(path)}\n  hash: md5\n  path: {path.name}\n")
    return pointer


def test_the_digest_is_dvcs(tmp_path: Path) -> None:
    root = tree(tmp_path / "mine", {**birds(), ".DS_Store": b"litter"})
    environment = {**os.environ, "DVC_NO_ANALYTICS": "1", "PYTHONPATH": ""}
    for words in (["init", "--no-scm", "--quiet"], ["add", "mine"]):
        subprocess.run([sys.executable, "-m", "dvc", *words], cwd=tmp_path, env=environment, check=True)
    tracked = dvc_files.tracked(root)
    assert tracked is not None
    assert fingerprint(root) == {"md5": tracked.md5} == {"md5": listed(root)}
    (root / ".DS_Store").unlink()
    assert fingerprint(root) == {"md5": listed(root)} != {"md5": tracked.md5}


def test_what_has_not_changed_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, memory = tree(tmp_path / "in", birds()), ContentMemory(tmp_path / "memory")
    fresh = fingerprint(root, memory)
    monkeypatch.setattr(known_digests, "_SETTLED", 0)
    assert fingerprint(root, memory) == fresh  # too new to be trusted, they were read again; now they are kept
    opened: list[str] = []
    real = Path.open

    def noted(path: Path, *rest: Any, **more: Any) -> Any:
        opened.extend([path.name] if path.suffix == ".png" else [])
        return real(path, *rest, **more)

    monkeypatch.setattr(Path, "open", noted)
    assert fingerprint(root, memory) == fresh
    assert opened == []
    name = next(iter(birds()))
    status = (root / name).stat()
    (root / name).write_bytes(picture(999)[: status.st_size].ljust(status.st_size, b"\0"))
    os.utime(root / name, ns=(status.st_atime_ns, status.st_mtime_ns))
    opened.clear()
    assert fingerprint(root, memory) != fresh  # the time of its entry has changed
    assert opened == [Path(name).name]


def test_a_file_that_may_change_within_the_same_tick_is_not_remembered(tmp_path: Path) -> None:
    root, memory = tree(tmp_path / "in", birds()), tmp_path / "memory"
    fingerprint(root, ContentMemory(memory))
    assert not list(memory.glob("*.jsonl"))


@pytest.mark.parametrize("kept", ["", "[", "[1]", '{"a": 1}', "{}"])
def test_a_memory_that_is_damaged_is_made_anew(kept: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_digests, "_SETTLED", 0)
    root, memory = tree(tmp_path / "in", {"a": b"1"}), tmp_path / "memory"
    before = fingerprint(root, ContentMemory(memory))
    (file,) = memory.glob("*.jsonl")
    whole = file.read_text()
    file.write_text(kept)
    assert fingerprint(root, ContentMemory(memory)) == before
    assert file.read_text() == whole


@pytest.mark.parametrize("in_order", [True, False])
def test_what_is_known_stays_known_whatever_comes_and_goes(
    in_order: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_digests, "_SETTLED", 0)
    root, memory = tmp_path / "in", ContentMemory(tmp_path / "memory")
    looks = [["b", "c", "d", "x"], ["a", "b", "b2", "d", "x"], ["x"], [], ["a", "b", "x", "y"]]
    if not in_order:
        looks += [["y", "b", "x", "a"], ["x", "a", "c", "y"]]
    seen: set[str] = set()
    for look in looks:
        tree(root, {name: name.encode() for name in look if name not in seen})
        computed: list[str] = []
        real = known_digests.KnownDigests._computed
        with monkeypatch.context() as patched, memory.below(root, in_order) as known:
            patched.setattr(
                known_digests.KnownDigests,
                "_computed",
                lambda self, path, *rest, real=real, computed=computed: (
                    computed.append(path) or real(self, path, *rest)
                ),
            )
            found = {name: known.md5(name, len(name), (0, 0, 0)) for name in look}
        assert found == {name: md5(name.encode()) for name in look}
        assert set(computed) == set(look) - seen
        seen = set(look)
        (kept,) = (tmp_path / "memory").glob("*.jsonl")
        assert [json.loads(line)[0] for line in kept.read_text().splitlines()] == look


def test_memory_does_not_grow_with_the_files_that_have_not_changed(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("".join(f'["{i:06}", 1, 0, 0, 0, "digest"]\n' for i in range(5_000)))
    tracemalloc.start()
    with known_digests.known_digests(tmp_path, tmp_path / "kept", in_order=True) as known:
        before = tracemalloc.get_traced_memory()[0]
        for i in range(5_000):
            assert known.md5(f"{i:06}", 1, (0, 0, 0)) == "digest"
        grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 5_000, "bytes: less than one a file"


def test_a_full_disk_costs_the_memory_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_digests, "_SETTLED", 0)
    (tmp_path / "memory").write_text("no folder")
    root = tree(tmp_path / "in", birds())
    assert fingerprint(root, ContentMemory(tmp_path / "memory")) == fingerprint(root)


def test_what_cannot_be_read_is_part_of_the_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree(tmp_path / "in", {"1.png": b"1", "2.png": b"2"})
    (root / "gone.png").symlink_to("nowhere")
    seen = [fingerprint(root)]
    real = Path.open

    def refused(number: int) -> Any:
        def call(path: Path, *rest: Any, **more: Any) -> Any:
            if path.name == "1.png":
                raise OSError(number, os.strerror(number))
            return real(path, *rest, **more)

        return call

    for number in (errno.EACCES, errno.EIO):
        monkeypatch.setattr(Path, "open", refused(number))
        seen.append(fingerprint(root))
    assert len({repr(one) for one in seen}) == 3
    monkeypatch.setattr(Path, "open", refused(errno.EMFILE))
    with pytest.raises(OSError, match="Too many open files"):
        fingerprint(root)


def test_a_tracked_folder_has_its_pointers_digest_there_or_not(tmp_path: Path) -> None:
    root = tree(tmp_path / "data/mine", {**birds(), "owl/Thumbs.db": b"litter"})
    pointer = track(root)
    here = FolderSource(root, 2**20).fingerprint()
    assert here == {"md5": listed(root)}
    inside = FolderSource(root / "Ente", 2**20).fingerprint()
    assert inside == here
    (root / "owl/new.png").write_bytes(picture(1))
    assert FolderSource(root, 2**20).fingerprint() != here
    root.rename(tmp_path / "elsewhere")
    assert FolderSource(root, 2**20).fingerprint() == FolderSource(root / "Ente", 2**20).fingerprint() == here
    with pytest.raises(UserError, match=rf"is not a folder; run `dvc pull {pointer}`"):
        list(FolderSource(root, 2**20).records())
    pointer.unlink()
    with pytest.raises(UserError, match="is not a folder; name the one"):
        FolderSource(root, 2**20).fingerprint()


def test_a_tracked_file_and_a_list_in_a_tracked_folder(tmp_path: Path) -> None:
    file = tree(tmp_path, {"set.zip": b"bytes"}) / "set.zip"
    track(file, md5(b"bytes"))
    here = LocalFile(file).fingerprint()
    file.unlink()
    assert LocalFile(file).fingerprint() == here
    with pytest.raises(UserError, match=r"set.zip: No such file or directory; run `dvc pull .*set.zip.dvc`"):
        LocalFile(file).open()
    root = tree(tmp_path / "mine", {row["path"]: picture(n) for n, row in enumerate(ROWS)})
    path = write(root / "list.csv", ROWS)
    alone = source(path).fingerprint()
    assert set(alone) == {"md5", "images", "rows"}
    assert alone["rows"] == len(ROWS)
    track(root)
    whole = source(path).fingerprint()
    assert whole == {"md5": listed(root)}
    root.rename(tmp_path / "elsewhere")
    assert source(path).fingerprint() == whole


@pytest.mark.parametrize("text", ["<<<<<<< HEAD\n", "outs: 3\n", "outs:\n- path: mine\n  md5: [\n"])
def test_a_pointer_that_cannot_be_read_is_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "mine.dvc").write_text(text)
    with pytest.raises(UserError, match=r"mine.dvc: not a DVC file; fix it, or run `dvc add .*mine`"):
        FolderSource(tmp_path / "mine", 2**20).fingerprint()
