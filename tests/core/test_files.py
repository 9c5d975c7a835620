"""Files and folders: the old content or the new, never a mixture, whatever fails and whenever."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.core import files
from sightline.core.errors import UserError

# --- digests and JSON ----------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


def _reordered(value: Any) -> Any:
    """The same value, its mappings filled in the opposite order."""
    if isinstance(value, dict):
        return {key: _reordered(value[key]) for key in reversed(list(value))}
    return [_reordered(item) for item in value] if isinstance(value, list) else value


@given(JSON)
def test_canonical_json_is_json_and_knows_no_order_of_keys(value: Any) -> None:
    text = files.canonical_json(value)
    assert json.loads(text) == value
    assert text == files.canonical_json(_reordered(value))
    assert text.endswith("\n")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {"a": [-float("inf")]}])
def test_what_is_not_json_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="JSON"):
        files.canonical_json(value)


def test_digests(tmp_path: Path) -> None:
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # FIPS 180-4's of no bytes
    path = tmp_path / "file"
    path.write_bytes(b"")
    assert files.sha256(b"") == files.sha256_file(path) == empty
    path.write_bytes(b"abc" * 100_000)
    assert files.sha256_file(path) == files.sha256(b"abc" * 100_000)


def test_a_trees_digest_sees_names_places_and_content_but_not_times(tmp_path: Path) -> None:
    def tree(name: str, content: dict[str, bytes]) -> str:
        for path, data in content.items():
            (tmp_path / name / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / path).write_bytes(data)
        return files.sha256_tree(tmp_path / name)

    first = tree("one", {"a": b"1", "b/c": b"2"})
    os.utime(tmp_path / "one" / "a", (0, 0))
    assert files.sha256_tree(tmp_path / "one") == first
    others = [
        tree("two", {"b/c": b"2", "a": b"1"}),
        tree("three", {"a": b"2", "b/c": b"1"}),
        tree("four", {"a": b"1", "b": b"2"}),
        tree("five", {"a": b"1", "b/c": b"2", "d": b""}),
    ]
    assert others[0] == first
    assert len({first, *others}) == 4


# --- atomic writes -------------------------------------------------------------------------------------------------

CALLS = ("open", "fsync", "rename", "replace", "chmod", "unlink", "mkdir", "rmdir", "close", "umask", "scandir")


class Killed(BaseException):
    """Stands for what is no Exception: KeyboardInterrupt, SystemExit."""


@contextlib.contextmanager
def failing(number: int, error: BaseException) -> Iterator[list[str]]:
    """Lets the call of that number to the operating system fail; yields the names of the calls as they come."""
    made: list[str] = []

    def guarded(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            made.append(name)
            if len(made) == number + 1:
                raise error
            return real(*arguments, **named)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, guarded(name, getattr(os, name)))
        yield made


def fail_at_every_call(work: Callable[[], None], check: Callable[[bool], None], error: BaseException) -> set[str]:
    """Runs `work` again and again, with its first call failing, its second, ... until it succeeds.

    Args:
        work: The work.
        check: Called after every run, with whether it had raised.
        error: The failure.

    Returns:
        The calls that have failed.
    """
    failed = set()
    for number in range(100):
        with failing(number, error) as made:
            try:
                work()
                raised = False
            except type(error):
                raised = True
        check(raised)
        if len(made) <= number:
            assert not raised
            return failed
        failed.add(made[number])
    raise AssertionError("never succeeded")


FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("error", [FULL, Killed()], ids=["full", "killed"])
@pytest.mark.parametrize("before", [None, b"old"])
def test_a_file_is_old_or_new_whichever_call_fails(tmp_path: Path, before: bytes | None, error: BaseException) -> None:
    path = tmp_path / "file.bin"

    def reset() -> None:
        path.unlink(missing_ok=True)
        if before is not None:
            path.write_bytes(before)

    def check(raised: bool) -> None:
        content = path.read_bytes() if path.exists() else None
        assert content == b"new" if not raised else content in (before, b"new")
        for left in tmp_path.iterdir():
            if left != path:
                assert left.suffix == ".tmp"  # only where removing it was what failed
                left.unlink()
        reset()

    reset()
    failed = fail_at_every_call(lambda: files.write_bytes(path, b"new"), check, error)
    assert {"open", "fsync", "chmod", "replace"} <= failed


@pytest.mark.parametrize("error", [ValueError("no"), Killed(), FULL])
def test_an_error_in_the_block_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")

    def write() -> None:
        with files.atomic_file(path) as temporary:
            temporary.write_bytes(b"half")
            raise error

    with pytest.raises(type(error)):
        write()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_content_is_durable_before_it_gets_its_name(tmp_path: Path) -> None:
    with failing(10**6, FULL) as made:
        files.write_bytes(tmp_path / "file", b"new")
    rename = made.index("replace")
    assert (made[:rename].count("fsync"), made[rename:].count("fsync")) == (1, 1)
    with failing(10**6, FULL) as made, files.atomic_directory(tmp_path / "folder") as fresh:
        (fresh / "a").write_bytes(b"new")
        (fresh / "b").mkdir()
        (fresh / "b" / "c").write_bytes(b"new")
    rename = made.index("rename")
    assert (made[:rename].count("fsync"), made[rename:].count("fsync")) == (4, 1)


@pytest.mark.parametrize("error", [FULL, Killed()], ids=["full", "killed"])
@pytest.mark.parametrize("before", [False, True])
def test_a_folder_is_old_or_new_whichever_call_fails(tmp_path: Path, before: bool, error: BaseException) -> None:
    path = tmp_path / "folder"
    old = {"a": b"old", "gone": b"old"} if before else None
    new = {"a": b"new", "b": b"new"}

    def work() -> None:
        with files.atomic_directory(path) as fresh:
            assert not list(fresh.iterdir())
            for name, data in new.items():
                (fresh / name).write_bytes(data)

    def check(raised: bool) -> None:
        content = {p.name: p.read_bytes() for p in path.iterdir()} if path.exists() else None
        assert content == new if not raised else content in (old, new)
        reset()

    def reset() -> None:
        for left in tmp_path.iterdir():
            for file in left.iterdir():
                file.unlink()
            left.rmdir()
        if old:
            path.mkdir()
            for name, data in old.items():
                (path / name).write_bytes(data)

    reset()
    failed = fail_at_every_call(work, check, error)
    assert {"mkdir", "rename", "fsync"} <= failed


@pytest.mark.parametrize("before", [False, True])
def test_an_error_in_the_block_leaves_the_old_folder_and_nothing_else(tmp_path: Path, before: bool) -> None:
    path = tmp_path / "folder"
    if before:
        path.mkdir()
        (path / "a").write_bytes(b"old")

    def write() -> None:
        with files.atomic_directory(path) as fresh:
            (fresh / "a").write_bytes(b"half")
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        write()
    assert [p.relative_to(tmp_path).as_posix() for p in sorted(tmp_path.rglob("*"))] == (
        ["folder", "folder/a"] if before else []
    )


def test_a_success_leaves_no_traces_and_makes_the_parents(tmp_path: Path) -> None:
    for content in ("one", "größe 数字"):
        files.write_text(tmp_path / "deep" / "er" / "file.txt", content)
        with files.atomic_directory(tmp_path / "deep" / "folder") as fresh:
            (fresh / content).touch()
    assert (tmp_path / "deep" / "er" / "file.txt").read_text(encoding="utf-8") == "größe 数字"
    assert sorted(p.name for p in (tmp_path / "deep").rglob("*")) == sorted(["er", "file.txt", "folder", "größe 数字"])


def test_a_folder_makes_its_parents(tmp_path: Path) -> None:
    with files.atomic_directory(tmp_path / "deep" / "er") as fresh:
        (fresh / "a").touch()
    with files.waiting_lock("x", tmp_path / "state"), files.lock("x", tmp_path / "other"):
        assert (tmp_path / "deep/er/a").exists()


def test_what_was_removed_is_said(tmp_path: Path) -> None:
    (tmp_path / "left").touch()
    assert files.remove_abandoned(tmp_path / "left") is True
    assert files.remove_abandoned(tmp_path / "left") is False
    with files.temporary_folder(".", ".tmp", tmp_path) as owned:
        assert files.remove_abandoned(owned) is False
        assert owned.exists()


def test_an_error_names_the_innermost_file_that_was_being_written(tmp_path: Path) -> None:
    def write() -> None:
        with files.atomic_directory(tmp_path / "folder") as fresh, files.atomic_file(fresh / "inner"):
            raise ValueError("no")

    with pytest.raises(ValueError, match="no") as caught:
        write()
    (note,) = caught.value.__notes__
    assert note.startswith(files.WRITING)
    assert note.endswith("/inner")


def test_a_hard_linked_file_keeps_its_other_name_unchanged(tmp_path: Path) -> None:
    """DVC's cache may be hard-linked into the workspace: writing in place would change the cache."""
    cache, path = tmp_path / "cache", tmp_path / "file"
    cache.write_bytes(b"old")
    cache.chmod(0o444)
    path.hardlink_to(cache)
    files.write_bytes(path, b"new")
    assert (cache.read_bytes(), path.read_bytes()) == (b"old", b"new")


def test_a_link_is_replaced_not_followed(tmp_path: Path) -> None:
    cache, path = tmp_path / "cache", tmp_path / "file"
    cache.write_bytes(b"old")
    path.symlink_to(cache)
    files.write_bytes(path, b"new")
    assert not path.is_symlink()
    assert (cache.read_bytes(), path.read_bytes()) == (b"old", b"new")


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_permissions_are_the_users_own(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        files.write_bytes(tmp_path / "file", b"")
        with files.atomic_directory(tmp_path / "folder"):
            pass
        assert os.umask(mask) == mask
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o666 & ~mask
    assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) == 0o777 & ~mask


KILLED_WRITER = """
import sys, time
from pathlib import Path
from sightline.core import files
kind, path = sys.argv[1], Path(sys.argv[2])
if kind == "file":
    with files.atomic_file(path) as temporary:
        temporary.write_bytes(b"half")
        print("writing", flush=True)
        time.sleep(60)
else:
    with files.atomic_directory(path) as fresh:
        (fresh / "a").write_bytes(b"half")
        print("writing", flush=True)
        time.sleep(60)
"""


def write_new(path: Path, kind: str) -> None:
    if kind == "file":
        files.write_bytes(path, b"new")
    else:
        with files.atomic_directory(path) as fresh:
            (fresh / "a").write_bytes(b"new")


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_a_living_writer_has_half_written_stays(tmp_path: Path, kind: str) -> None:
    path = tmp_path / kind
    with start(KILLED_WRITER, kind, str(path)) as writer:
        assert line(writer) == "writing"
        (half,) = tmp_path.iterdir()
        write_new(path, kind)
        assert set(tmp_path.iterdir()) == {path, half}
        writer.kill()
        writer.wait()
        write_new(path, kind)
        assert set(tmp_path.iterdir()) == {path}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"raw": "old", ".raw.abcd_123.tmp": "half"}, "old"),
        ({".raw.abcd_123.tmp": "new", ".raw.abcd_123.old": "old"}, "old"),  # between the two renames
        (
            {"raw": "new", ".raw.abcd_123.tmp": "newer", ".raw.abcd_123.old": "old"},
            "new",
        ),  # and another has been put there
        ({"raw": "new", ".raw.abcd_123.old": "half"}, "new"),  # while the old content was being removed
        ({".raw.abcd_123.old": "half"}, None),  # after that, somebody removed the new one
    ],
)
def test_what_a_killed_writer_left_is_removed_or_put_back(
    tmp_path: Path, before: dict[str, str], after: str | None
) -> None:
    others = [tmp_path / ".raw.parquet.abcd_123.tmp", tmp_path / "raw.abcd_123.tmp", tmp_path / ".raw"]
    for other in others:
        other.mkdir()
    for name, content in before.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "a").write_text(content)
    path = tmp_path / "raw"
    with pytest.raises(ValueError, match="no"), files.atomic_directory(path):
        raise ValueError("no")
    assert set(tmp_path.iterdir()) == {*others, *([path] if after else [])}
    assert not after or (path / "a").read_text() == after


WRITER = """
import sys
from pathlib import Path
from sightline.core import files
for n in range(100):
    files.write_text(Path(sys.argv[1]) / "file", str(n))
    with files.atomic_directory(Path(sys.argv[1]) / sys.argv[2]) as fresh:
        (fresh / "a").write_text(str(n))
"""


def test_writers_beside_each_other_do_no_harm(tmp_path: Path) -> None:
    with (
        start(WRITER, str(tmp_path), "one") as one,
        start(WRITER, str(tmp_path), "two") as two,
        start(WRITER, str(tmp_path), "three") as three,
    ):
        assert (one.wait(60), two.wait(60), three.wait(60)) == (0, 0, 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "one", "three", "two"]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_kill_while_writing_leaves_the_old_content(tmp_path: Path, kind: str) -> None:
    path = tmp_path / kind
    if kind == "file":
        path.write_bytes(b"old")
    else:
        path.mkdir()
        (path / "a").write_bytes(b"old")
    with start(KILLED_WRITER, kind, str(path)) as writer:
        assert line(writer) == "writing"
        writer.kill()
        writer.wait()
    assert (path if kind == "file" else path / "a").read_bytes() == b"old"
    write_new(path, kind)
    assert (path if kind == "file" else path / "a").read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


# --- locks and processes -------------------------------------------------------------------------------------------


@contextlib.contextmanager
def start(code: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Runs Python code in a process of its own, which has ended when the block has."""
    process = subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout
        process.stdout.close()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


HOLDER = """
import sys, time
from pathlib import Path
from sightline.core import files
with getattr(files, sys.argv[1])("train", Path(sys.argv[2])):
    print("held", flush=True)
    time.sleep(float(sys.argv[3]))
    print(time.monotonic(), flush=True)
"""


def test_a_lock_excludes_another_process_and_names_it(tmp_path: Path) -> None:
    with files.lock("train", tmp_path):
        pass  # whoever held it before is forgotten
    with start(HOLDER, "lock", str(tmp_path), "60") as holder:
        assert line(holder) == "held"
        with pytest.raises(files.LockedError) as caught, files.lock("train", tmp_path):
            pass
        assert str(caught.value) == (f"train is already running here (process {holder.pid}): wait for it, or stop it")
        assert isinstance(caught.value, UserError)
        with files.lock("evaluate", tmp_path):
            pass  # other names are other locks
        holder.kill()
        holder.wait()
        with files.lock("train", tmp_path):  # a killed holder holds nothing
            pass


def test_a_lock_is_let_go_at_the_end_and_after_an_error(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(ValueError, match="no"), files.lock("train", tmp_path):
            raise ValueError("no")
    with files.lock("train", tmp_path), pytest.raises(files.LockedError), files.lock("train", tmp_path):
        pass


def test_a_lock_that_was_refused_still_names_its_holder(tmp_path: Path) -> None:
    with files.lock("train", tmp_path):
        for _ in range(3):
            with pytest.raises(files.LockedError, match=f"process {os.getpid()}"), files.lock("train", tmp_path):
                pass


def test_a_waiting_lock_waits(tmp_path: Path) -> None:
    with start(HOLDER, "waiting_lock", str(tmp_path), "0.7") as holder:
        assert line(holder) == "held"
        with files.waiting_lock("train", tmp_path):
            entered = time.monotonic()  # of one clock for all processes
            assert float(line(holder)) <= entered


COUNTER = """
import sys
from pathlib import Path
from sightline.core import files
path = Path(sys.argv[1]) / "count"
for _ in range(200):
    with files.waiting_lock("count", path.parent):
        path.write_text(str(int(path.read_text()) + 1))
"""


def test_waiting_locks_let_one_in_at_a_time(tmp_path: Path) -> None:
    (tmp_path / "count").write_text("0")
    with start(COUNTER, str(tmp_path)) as one, start(COUNTER, str(tmp_path)) as other:
        assert (one.wait(60), other.wait(60)) == (0, 0)
    assert (tmp_path / "count").read_text() == "400"


PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE, text=True)
print(child.stdout.readline().strip(), flush=True)
time.sleep(3600)
"""

CHILD = """
import os, time
from sightline.core import files
files.die_with_parent()
print(os.getpid(), flush=True)
time.sleep(3600)
"""


def _alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits for its parent to notice does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in ("Z", "X")


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_a_child_dies_with_its_killed_parent(tmp_path: Path) -> None:
    with start(PARENT, CHILD) as parent:
        child = int(line(parent))
        assert _alive(child)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        deadline = time.monotonic() + 60
        while _alive(child) and time.monotonic() < deadline:
            time.sleep(0.01)
        survived = _alive(child)
        if survived:
            os.kill(child, signal.SIGKILL)
        assert not survived
