"""A walk over a folder: each entry to the field, and what the system refuses."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from sightline.core.rejection import RejectionError, RejectionReason
from sightline.sources.tree import TreeEntry, read_file, walk
from tests.stages.ingest.helpers import tree


def without_time(entry: TreeEntry) -> tuple[Any, ...]:
    reason = entry.fault.reason if entry.fault else None
    return entry.path, entry.size, reason, entry.folder


def refusing(name: str, number: int, real: Any) -> Any:
    """Returns a system call that fails for what is called so, as for root a folder without rights does not."""

    def call(path: Any, *rest: Any) -> Any:
        if Path(path).name == name:
            raise OSError(number, os.strerror(number), str(path))
        return real(path, *rest)

    return call


def test_each_entry_says_what_it_is(tmp_path: Path) -> None:
    root = tree(tmp_path / "in", {"a/1.png": b"12345", "a.png": b"", "b/c/2.png": b"12"})
    (root / "empty/inner").mkdir(parents=True)
    (root / ".hidden").mkdir()
    (root / "gone").symlink_to(root / "nothing")
    (root / "to a").symlink_to(root / "a")
    (root / "inside").symlink_to(root / "a/1.png")
    tree(tmp_path, {"out/3.png": b"123"})
    (root / "out").symlink_to(tmp_path / "out")
    (root / "out.png").symlink_to(tmp_path / "out/3.png")
    os.mkfifo(root / "pipe")
    expected = [
        ("a.png", 0, None, False),
        ("a/1.png", 5, None, False),
        ("b/c/2.png", 2, None, False),
        ("empty/inner", 0, None, True),
        ("gone", 0, RejectionReason.MISSING, False),
        ("inside", 5, None, False),
        ("out", 0, RejectionReason.UNSAFE_ENTRY, True),
        ("out.png", 0, RejectionReason.UNSAFE_ENTRY, False),
        ("pipe", 0, RejectionReason.UNREADABLE, False),
        ("to a", 0, RejectionReason.UNSAFE_ENTRY, True),
    ]
    assert [without_time(entry) for entry in walk(root, empty=True)] == expected
    assert [without_time(entry) for entry in walk(root)] == [one for one in expected if one[0] != "empty/inner"]
    times = {entry.path: entry.stamp[0] for entry in walk(root, empty=True)}
    whole = {"a.png", "a/1.png", "b/c/2.png", "inside"}
    assert {path: time for path, time in times.items() if time} == {p: (root / p).stat().st_mtime_ns for p in whole}


def test_an_empty_root_is_no_entry(tmp_path: Path) -> None:
    assert list(walk(tmp_path, empty=True)) == []


@pytest.mark.parametrize(("call", "name"), [("scandir", "b"), ("realpath", "link.png")])
def test_what_the_system_refuses_is_one_entry(
    call: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tree(tmp_path, {"a/1.png": b"1", "b/2.png": b"2"})
    (root / "link.png").symlink_to(root / "a/1.png")
    place, real = (os, os.scandir) if call == "scandir" else (os.path, os.path.realpath)
    with monkeypatch.context() as patched:
        patched.setattr(place, call, refusing(name, errno.EACCES, real))
        (refused,) = (entry for entry in walk(root) if entry.fault)
        assert without_time(refused) == (name, 0, RejectionReason.UNREADABLE, False)
        assert refused.stamp == (0, 0, 0)
        assert refused.fault is not None
        assert "Permission denied" in refused.fault.detail
        assert len(list(walk(root))) == 3
    with monkeypatch.context() as patched:
        patched.setattr(place, call, refusing(name, errno.EMFILE, real))
        with pytest.raises(OSError, match="Too many open files"):
            list(walk(root))


def test_a_system_error_without_words_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "link.png").symlink_to(tree(tmp_path, {"a/1.png": b"1"}) / "a/1.png")

    def wordless(path: object) -> str:
        raise TimeoutError

    monkeypatch.setattr(os.path, "realpath", wordless)
    with pytest.raises(TimeoutError):
        list(walk(tmp_path))  # the root itself
    monkeypatch.undo()
    real = os.path.realpath
    monkeypatch.setattr(
        os.path, "realpath", lambda path: wordless(path) if str(path).endswith("link.png") else real(path)
    )
    (refused,) = (entry.fault for entry in walk(tmp_path) if entry.fault)
    assert (refused.reason, refused.detail) == (RejectionReason.UNREADABLE, "TimeoutError")


def test_a_file_of_the_largest_size_is_read_and_a_larger_one_is_not(tmp_path: Path) -> None:
    path = tree(tmp_path, {"1.png": b"12345"}) / "1.png"
    assert read_file(path, 5) == b"12345"
    with pytest.raises(RejectionError) as caught:
        read_file(path, 4)
    assert (caught.value.reason, caught.value.detail) == (
        RejectionReason.TOO_MANY_BYTES,
        "5 bytes, at most 4 are allowed",
    )


def test_a_file_that_is_gone_or_no_file_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RejectionError) as caught:
        read_file(tmp_path / "gone.png", 9)
    assert (caught.value.reason, caught.value.detail) == (RejectionReason.MISSING, "no such file")
    with pytest.raises(RejectionError) as caught:
        read_file(tmp_path, 2**20)
    assert (caught.value.reason, caught.value.detail) == (RejectionReason.UNREADABLE, "Is a directory")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(RejectionError) as caught:
        read_file(tmp_path / "pipe", 9)
    assert (caught.value.reason, caught.value.detail) == (RejectionReason.UNREADABLE, "not a regular file")
    monkeypatch.setattr(os, "open", refusing("1.png", errno.EMFILE, os.open))
    with pytest.raises(OSError, match="Too many open files"):
        read_file(tmp_path / "1.png", 9)


def test_a_file_comes_in_parts_and_is_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that grows while it is read: it is of the size that it had, which was held against the limit."""
    path = tree(tmp_path, {"1.png": b"1234567"}) / "1.png"
    real_read, real_close, closed = os.read, os.close, []

    def some(descriptor: int, size: int) -> bytes:
        with path.open("ab") as more:
            more.write(b"later")
        return real_read(descriptor, min(size, 3) if size <= 7 else size)

    monkeypatch.setattr(os, "read", some)
    monkeypatch.setattr(os, "close", lambda descriptor: (closed.append(descriptor), real_close(descriptor)))
    assert read_file(path, 7) == b"1234567"
    assert len(closed) == 1


def test_a_file_that_shrinks_while_it_is_read_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, real = tree(tmp_path, {"1.png": b"1234567"}) / "1.png", os.read

    def shrinking(descriptor: int, size: int) -> bytes:
        data = real(descriptor, min(size, 3))
        os.truncate(path, 3)
        return data

    monkeypatch.setattr(os, "read", shrinking)
    assert read_file(path, 7) == b"123"
