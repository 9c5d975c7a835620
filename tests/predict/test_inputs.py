from __future__ import annotations

import errno
import os
import pwd
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sightline.core.rejection import RejectionError, RejectionReason
from sightline.predict.inputs import expand, open_all, read_input


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files: b/2.png b/10.png b/c/1.png a.png note.txt, hidden ones, an empty folder."""
    for name in ("b/2.png", "b/10.png", "b/c/1.png", "a.png", "note.txt", ".hidden", "b/.cache/x.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_home_that_no_shell_has_put_in_is_put_in(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tree / "b"))
    opened = open_all(["~/2.png", "~/c", "~/*0.png", "~nobody-here/1.png"], 100)
    assert [one.name for one in opened] == [f"{tree}/b/{name}" for name in ("2.png", "c/1.png", "10.png")] + [
        "~nobody-here/1.png"
    ]
    (tree / "~").mkdir()
    (tree / "~" / "2.png").write_bytes(b"a folder of that name")
    assert [one.name for one in open_all(["~/2.png"], 100)] == ["~/2.png"]


@pytest.mark.parametrize(
    ("inputs", "files"),
    [
        (["b"], ["b/10.png", "b/2.png", "b/c/1.png"]),
        (["note.txt", "a.png", "note.txt"], ["note.txt", "a.png", "note.txt"]),
        ([".hidden"], [".hidden"]),
        (["*.png", "b/?.png"], ["a.png", "b/2.png"]),
        (["b/*"], ["b/10.png", "b/2.png"]),
        (["**/*.png"], ["a.png", "b/10.png", "b/2.png", "b/c/1.png"]),
        (["./b/c/"], ["./b/c/1.png"]),
        (["nothing.png", "empty", "no*match"], ["nothing.png", "empty", "no*match"]),
    ],
)
def test_expand(tree: Path, inputs: list[str], files: list[str]) -> None:
    assert list(expand(inputs)) == files


@pytest.mark.parametrize("name", ["a[1].png", "was?.png", "数字 ö.png", "new\nline.png", "-rf"])
def test_odd_names_are_files_like_any_other(tree: Path, name: str) -> None:
    (tree / name).write_bytes(b"x")
    (tree / "a1.png").write_bytes(b"must not be matched by a[1].png")
    assert list(expand([name])) == [name]
    assert read_input(name, 10) == b"x"


def test_a_name_that_is_not_utf8(tree: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    (tree / "b" / name).write_bytes(b"x")
    assert f"b/{name}" in list(expand(["b"]))


def test_links_to_files_are_followed_and_loops_of_folders_are_not(tree: Path) -> None:
    (tree / "b" / "loop").symlink_to(tree / "b")
    (tree / "b" / "link.png").symlink_to(tree / "a.png")
    (tree / "b" / "broken.png").symlink_to(tree / "gone")
    assert list(expand(["b"])) == ["b/10.png", "b/2.png", "b/broken.png", "b/link.png", "b/c/1.png"]


@pytest.mark.parametrize(
    ("name", "reason", "detail"),
    [
        ("gone.png", RejectionReason.MISSING, "no such file"),
        ("*.gone", RejectionReason.MISSING, "no file matches"),
        ("empty", RejectionReason.MISSING, "the folder contains no files"),
        ("a.png/x", RejectionReason.UNREADABLE, "Not a directory"),
        ("x" * 300, RejectionReason.UNREADABLE, "File name too long"),
        ("nul\0", RejectionReason.UNREADABLE, "embedded null byte"),
        ("note.txt", RejectionReason.TOO_MANY_BYTES, "8 bytes, at most 7 are allowed"),
    ],
)
def test_what_cannot_be_read_says_why(tree: Path, name: str, reason: RejectionReason, detail: str) -> None:
    with pytest.raises(RejectionError) as caught:
        read_input(name, 7)
    assert (caught.value.reason, caught.value.detail) == (reason, detail)


@pytest.mark.timeout(60)
def test_a_pipe_does_not_hang(tree: Path) -> None:
    os.mkfifo(tree / "pipe")
    with pytest.raises(RejectionError, match="not a regular file"):
        read_input("pipe", 10)


@pytest.fixture
def closed(tree: Path) -> Iterator[None]:
    """Takes the permission to read a file and a folder away; root, who may read everything, is nobody for a while."""
    for name in ("a.png", "b/c"):
        (tree / name).chmod(0)
    tree.chmod(0o755)
    user = os.geteuid()
    if user == 0:
        os.seteuid(pwd.getpwnam("nobody").pw_uid)
    yield
    os.seteuid(user)


@pytest.mark.usefixtures("closed")
def test_no_permission() -> None:
    with pytest.raises(RejectionError, match="unreadable: Permission denied"):
        read_input("a.png", 10)
    assert list(expand(["b"])) == ["b/10.png", "b/2.png", "b/c"]


def test_want_of_file_handles_refuses_no_input(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> int:
        raise OSError(errno.EMFILE, "Too many open files", "a.png")

    monkeypatch.setattr(os, "open", full)
    with pytest.raises(OSError, match="Too many open files"):
        read_input("a.png", 10)
