"""git as a command that may fail, say nothing, or not be there."""

from __future__ import annotations

from pathlib import Path

import pytest

from sightline.core import git
from sightline.core.errors import UserError


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    git.run("init", "--quiet")
    for name in ("one.txt", "two words.txt", "drei-ß.txt"):
        Path(name).write_text(name)
    return tmp_path


def test_questions_are_answered(repository: Path) -> None:
    assert git.answer("rev-parse", "--show-toplevel") == str(repository)
    assert git.answer("rev-parse", "--is-inside-work-tree", folder=repository) == "true"
    assert git.paths("ls-files", "-z", "--others") == ["drei-ß.txt", "one.txt", "two words.txt"]
    assert git.paths("ls-files", "-z", "*.dvc") == []


def test_a_question_that_git_cannot_answer_has_no_answer(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert git.stdout("rev-parse", "--verify", "--quiet", "HEAD") is None
    assert git.paths("diff", "--name-only", "-z", "HEAD") == []
    monkeypatch.setenv("PATH", "")
    assert git.answer("rev-parse", "--show-toplevel") is None


def test_work_that_fails_says_why(repository: Path) -> None:
    with pytest.raises(UserError, match=r"^git add failed: fatal: pathspec 'three.txt' did not match any files$"):
        git.run("add", "three.txt")
