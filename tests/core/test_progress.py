"""Progress on a terminal, and nowhere else."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from sightline.core.progress import track

SLOW = """
import time
from sightline.core.progress import track
for _ in track(range(30), 'reading', 30): time.sleep(0.1)
"""
QUICK = SLOW.replace("0.1", "0")


def on_a_terminal(code: str) -> str:
    leader, follower = pty.openpty()
    with subprocess.Popen([sys.executable, "-c", code], stdout=follower, stderr=follower, stdin=follower) as process:
        os.close(follower)
        said = b""
        while True:
            try:
                block = os.read(leader, 4096)
            except OSError:  # how Linux says that the other end is closed
                break
            if not block:
                break
            said += block
        assert process.wait() == 0
    os.close(leader)
    return said.decode()


@pytest.mark.slow
def test_who_waits_sees_count_and_speed() -> None:
    said = on_a_terminal(SLOW)
    assert "reading" in said
    assert "30 of 30" in said
    assert "images/s" in said


IMPATIENT = "from sightline.core import progress; progress._PATIENCE = 0\n"
NEAR = (
    "import numpy as np; from sightline.stages.ingest.near_duplicates import near_pairs; "
    "near_pairs(np.full((40, 32), 85, np.uint8))"
)
FOLDER = "from pathlib import Path; from sightline.sources.tree import fingerprint; fingerprint(Path('.'), deep=True)"
FILE = "from pathlib import Path; from sightline.sources.file import LocalFile; LocalFile(Path('a')).fingerprint(True)"
ROWS = "from sightline.sources.databases.digests import set_digest; set_digest([[1], [2]])"
LOAD = """
from pathlib import Path
from sightline.sources.databases.loading import load
load(Path('.'), 'sqlite:///images.db', 'images')
"""


@pytest.mark.parametrize(
    ("code", "seen"),
    [
        (NEAR, ("comparing", "40 of 40", "images/s")),
        (FOLDER, ("watching", "files/s")),
        (FILE, ("watching", "MiB/s")),
        (ROWS, ("watching", "images/s")),
        (LOAD, ("loading", "images/s")),
    ],
    ids=["near", "folder", "file", "rows", "load"],
)
def test_what_can_take_long_is_counted(
    code: str, seen: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    (tmp_path / "a").write_bytes(b"bytes")
    said = on_a_terminal(IMPATIENT + code)
    assert all(word in said for word in seen), said


def test_who_does_not_wait_sees_nothing() -> None:
    assert on_a_terminal(QUICK) == ""


def test_a_log_gets_no_bars(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(track(range(5), "reading")) == [0, 1, 2, 3, 4]
    assert capsys.readouterr().err == ""
