"""Predictions on a full disk and on a read-only one: one line, and nothing half written."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from sightline.cli import app
from tests.disks import mounted
from tests.exported import Project


def predict(project: Project, output: Path) -> tuple[int, str]:
    words = ["predict", str(project.bundle), str(project.pictures[0]), "--output", str(output)]
    done = CliRunner().invoke(app, words)
    return done.exit_code, done.stderr


@pytest.mark.parametrize("form", ["csv", "json", "jsonl", "parquet"])
def test_a_full_disk(project: Project, tmp_path: Path, form: str) -> None:
    with mounted(tmp_path, "size=4k") as disk:
        (disk / "old").write_text("x")  # a page, and there is but one
        code, line = predict(project, disk / f"out.{form}")
        assert [path.name for path in disk.iterdir()] == ["old"]
    remedy = "free some space there, and run the same command again"
    assert (code, line) == (2, f"sightline: {tmp_path}/out.{form}: the disk is full (0.0 MiB are free): {remedy}\n")


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_read_only_disk(project: Project, tmp_path: Path, form: str) -> None:
    with mounted(tmp_path, "ro"):
        code, line = predict(project, tmp_path / f"out.{form}")
    remedy = f"mount -o remount,rw {tmp_path}, or work in a copy of the project elsewhere"
    assert (code, line) == (2, f"sightline: {tmp_path}/out.{form}: the file system is read-only: {remedy}\n")
