"""Progress: a line that moves on a terminal, lines now and then in a pipe."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sightline.core import progress
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
        output = b""
        while True:
            try:
                block = os.read(leader, 4096)
            except OSError:  # how Linux says that the other end is closed
                break
            if not block:
                break
            output += block
        assert process.wait() == 0
    os.close(leader)
    return output.decode()


@pytest.mark.slow
def test_who_waits_sees_count_and_speed() -> None:
    output = on_a_terminal(SLOW)
    assert "reading |" in output
    assert "29 of 30" in output
    assert "images/s" in output
    assert "0:00 left" in output


IMPATIENT = "from sightline.core import progress; progress._PATIENCE = 0\n"
NEAR = (
    "import numpy as np; from sightline.stages.ingest.near_duplicates import near_pairs; "
    "near_pairs(np.full((40, 32), 85, np.uint8))"
)
FOLDER = "from pathlib import Path; from sightline.sources.content import fingerprint; fingerprint(Path('.'))"
FILE = "from pathlib import Path; from sightline.sources.file import LocalFile; LocalFile(Path('a')).fingerprint()"
ROWS = "from sightline.sources.databases.digests import set_digest; set_digest([[1], [2]])"
LOAD = """
from pathlib import Path
from sightline.sources.databases.loading import fill_database
fill_database(Path('.'), 'sqlite:///images.db', 'images')
"""


@pytest.mark.parametrize(
    ("code", "seen"),
    [
        (NEAR, ("comparing", " of 40", "images/s")),
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
    output = on_a_terminal(IMPATIENT + code)
    assert all(word in output for word in seen), output


def test_who_does_not_wait_sees_nothing() -> None:
    assert on_a_terminal(QUICK) == ""


def test_a_log_gets_no_bars(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(track(range(5), "reading")) == [0, 1, 2, 3, 4]
    assert capsys.readouterr().err == ""


STAGE = """
import sys, time
from sightline.core import progress, terminal_log
terminal_log.configure()
with progress.stage("evaluate"):
    progress.step("robustness")
    with progress.Progress("corrupted images", 40) as count:
        count.advance(10)
        progress.write_line("a result", sys.stdout)
        progress.write_line("a note on" + " everything" * 8, sys.stdout)
        progress.write_line("a warning on" + " everything" * 8, sys.stderr)
        time.sleep(0.2)  # it is drawn ten times a second
        count.to(25, "others", "loss 0.5")
        count.to(50)
    progress.step("the report")
print("the end")
"""


def test_steps_and_counts_share_the_last_line_of_a_terminal() -> None:
    output = on_a_terminal(IMPATIENT + STAGE)
    shown = [line.strip() for line in re.split(r"[\r\n]+", output) if line.strip()]
    assert shown[0] == "evaluate: robustness ..."
    assert any(line.startswith("evaluate: robustness, corrupted images |") and "10 of 40" in line for line in shown)
    assert any(line.startswith("evaluate: robustness, others |") and "loss 0.5" in line for line in shown)
    assert "a result" in shown  # a line of its own
    assert {f"a note on{' everything' * 6}", "everything everything"} <= set(shown)  # broken at words
    assert f"a warning on{' everything' * 8}" in shown
    assert shown[-2:] == ["evaluate: the report ...", "the end"]


def test_a_pipe_gets_a_line_a_step_and_now_and_then_one_of_a_count() -> None:
    run = [sys.executable, "-c", "from sightline.core import progress; progress._INTERVAL = 0\n" + STAGE]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    assert done.stderr == f"a warning on{' everything' * 8}\n"
    assert f"a note on{' everything' * 8}\n" in done.stdout
    steps = [line for line in done.stdout.splitlines() if line.startswith("evaluate: ")]
    assert [line.partition(":")[2].partition(":")[0].strip() for line in steps] == [
        "robustness", "robustness, corrupted images", "robustness, others", "robustness, others", "the report"
    ]  # fmt: skip
    assert "10 of 40" in steps[1]
    assert "left" in steps[1]
    assert "40 of 40" in steps[3]
    assert "\r" not in done.stdout


def test_a_notebooks_cell_has_the_same_line(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = type("OutStream", (io.StringIO,), {"__module__": "ipykernel.iostream"})()
    monkeypatch.setattr(sys, "stderr", cell)
    monkeypatch.setattr(progress, "_PATIENCE", 0)
    with progress.stage("train"):
        progress.step("loading PyTorch")
        list(track(range(5), "reading", 5))
    assert "train: loading PyTorch ..." in cell.getvalue()
    assert "train: loading PyTorch, reading |" in cell.getvalue()
    assert "\n" not in cell.getvalue()
