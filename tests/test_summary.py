"""The last lines of a run of the tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

TESTS = """
import pytest
def test_a(): pass
@pytest.mark.parametrize("x", [1, 2])
def test_b(x): pytest.skip("no disk")
@pytest.mark.skipif(True, reason="no moon")
def test_c(): pass
"""


def test_it_ends_with_how_many_were_skipped_and_why(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "--rootdir", str(tmp_path), str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    summary, closing = done.stdout.splitlines()[-2:]
    assert summary == "3 skipped, because no disk: 2; no moon: 1"
    assert "1 passed, 3 skipped in " in closing
