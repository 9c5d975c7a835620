"""`sightline verify` of a project: damage is named by its file, and the remedy of its line mends it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sightline.cli import app
from sightline.core import files
from sightline.datasets.corrections import Correction, CorrectionFile, ReviewDecision
from sightline.stages.train.checkpoint_io import DurableCheckpointIO

PIPELINE = """stages:
  make:
    cmd: mkdir -p out && echo one > out/a && echo two > out/b && echo three > c
    outs: [out, c]
"""


def verify(*words: str) -> tuple[int, list[str]]:
    done = CliRunner().invoke(app, ["verify", *words])
    return done.exit_code, (done.stderr if done.exit_code else done.stdout).splitlines()


def flip(path: Path) -> None:
    """Changes a bit, as a disk does: size, time and inode stay, by which DVC knows a file."""
    path.chmod(0o644)
    content, about = path.read_bytes(), path.stat()
    path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))


def copy_of(content: str) -> Path:
    """Returns DVC's copy of what echo writes."""
    (found,) = [p for p in Path(".dvc/cache/files/md5").glob("*/*") if p.read_bytes() == content.encode() + b"\n"]
    return found


@pytest.mark.slow
def test_damage_is_named_and_its_line_mends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert verify() == (2, ["sightline: there is no dvc.lock here: name a bundle, or go to the project's folder"])
    Path("dvc.yaml").write_text(PIPELINE)
    for command in ("git init -q", "dvc init -q", "dvc repro -q"):
        subprocess.run(command.split(), check=True)
    kept = files.STATE / "checkpoints" / "x" / "last.ckpt"
    DurableCheckpointIO().save_checkpoint({"epoch": 1}, kept)
    assert verify() == (0, ["4 files are intact"])

    decided = Path("data/corrections.csv")
    rows = [Correction(f"{number:064x}", ReviewDecision.ACCEPT, "cat", who="Ann") for number in range(3)]
    CorrectionFile(decided).append(rows[:2])
    for command in ("git add data/corrections.csv", "git -c user.name=a -c user.email=b commit -qm x"):
        subprocess.run(command.split(), check=True)
    CorrectionFile(decided).append(rows[2:])
    assert verify() == (0, ["5 files are intact"])
    decided.write_text(decided.read_text().replace("cat", "car", 1))
    code, (line,) = verify()
    assert (code, line.startswith("data/corrections.csv has changed since it was written: ")) == (2, True)
    subprocess.run(line.partition(": ")[2], shell=True, check=True)  # noqa: S602 - as a reader would type it
    assert CorrectionFile(decided).rows() == rows
    decided.write_text(decided.read_text() + "no digest,accept\n")
    assert verify()[0] == 2
    CorrectionFile(decided).path.unlink()

    (listing,) = Path(".dvc/cache/files/md5").glob("*/*.dir")
    for damaged in (Path("out/b"), Path("c"), copy_of("one"), copy_of("three"), listing, kept):
        flip(damaged)
        code, lines = verify()
        assert (code, len(lines)) == (2, 1), lines
        name, remedy = lines[0].split(" has changed since it was written: ")
        assert Path(name).samefile(damaged)
        subprocess.run(remedy, shell=True, check=True, capture_output=True)  # noqa: S602 - as a reader would type it
        assert verify()[0] == 0, (damaged, remedy)

    listing.unlink()
    assert verify()[0] == 0
    flip(Path("out/b"))
    assert verify() == (2, ["out has changed since it was written: rm -rf out && dvc repro make"])
    subprocess.run("rm -rf out && dvc repro -q make", shell=True, check=True)  # noqa: S602
    assert verify() == (0, ["3 files are intact"])

    Path("c").unlink()  # not here is not damaged
    assert verify() == (0, ["3 files are intact"])
    assert verify("--digests-only")[0] == 2
