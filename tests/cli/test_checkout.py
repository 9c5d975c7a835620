"""The code that the `sightline` command runs in a worktree, in an experiment's copy, and in a stranger's folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sightline.cli.checkout import own_code

ROOT = Path(__file__).parents[2]


def git(*words: str, at: Path) -> None:
    settings = ["-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "init.defaultBranch=main"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    subprocess.run(["git", *settings, *words], cwd=at, env=environment, check=True, capture_output=True)


@pytest.fixture
def main(tmp_path: Path) -> Path:
    """A repository with the command in it, which says where it is."""
    root = tmp_path / "main"
    shutil.copytree(ROOT / "src" / "sightline" / "cli", root / "src" / "sightline" / "cli")
    (root / "src" / "sightline" / "__init__.py").touch()
    (root / "src" / "sightline" / "cli" / "__init__.py").write_text(
        "from sightline.cli.checkout import run_own_code\nrun_own_code()\nprint(__file__)\n"
    )
    git("init", at=root)
    git("add", ".", at=root)
    git("commit", "-m", "all", at=root)
    return root


def output_of(code: Path, here: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(code / "src")}
    command = [sys.executable, "-c", "import sightline.cli"]
    done = subprocess.run(command, cwd=here, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_worktree_and_an_experiments_copy_run_their_own_code(main: Path, tmp_path: Path) -> None:
    git("worktree", "add", "../tree", at=main)
    copy = main / ".dvc" / "tmp" / "exps" / "tmp1"
    shutil.copytree(main / "src", copy / "src")
    for here in (main, tmp_path / "tree", copy):
        assert output_of(main, here) == str(here / "src" / "sightline" / "cli" / "__init__.py")
    assert output_of(tmp_path / "tree", main) == str(main / "src" / "sightline" / "cli" / "__init__.py")


def test_a_strangers_folder_runs_no_code(main: Path, tmp_path: Path) -> None:
    stranger, pretender = tmp_path / "stranger", tmp_path / "pretender"
    git("clone", str(main), str(stranger), at=tmp_path)
    git("worktree", "add", "../tree", at=main)
    shutil.copytree(main / "src", pretender / "src")
    shutil.copy(tmp_path / "tree" / ".git", pretender / ".git")
    for here in (stranger, pretender, tmp_path):
        assert own_code(here, main) is None
        assert output_of(main, here) == str(main / "src" / "sightline" / "cli" / "__init__.py")
