"""The file of corrections: later rows win, a row is whole or not there, and a bad one is named by its line."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sightline.core.errors import UserError
from sightline.datasets.corrections import (
    HEADER,
    Correction,
    CorrectionFile,
    ReviewDecision,
    current,
    digest_of_changes,
)

A, B = "a" * 64, "b" * 64


def row(sha256: str, decision: str, new: str = "", old: str = "") -> Correction:
    return Correction(sha256, ReviewDecision(decision), old, new, "why, so", "2026-11-27T21:30:00Z", "Ann")


def test_what_is_written_reads_back_and_a_person_can_read_it(tmp_path: Path) -> None:
    file = CorrectionFile(tmp_path / "data/corrections.csv")
    assert file.rows() == []
    file.append([row(A, "label", 'a "cat", ørn', "dog")])
    file.append([row(B, "none"), row(B, "undo")])
    assert file.rows() == [row(A, "label", 'a "cat", ørn', "dog"), row(B, "none"), row(B, "undo")]
    lines = file.path.read_text().splitlines()
    assert lines[0] == ",".join(HEADER) == "sha256,decision,old,new,reason,when,who"
    assert lines[2] == f'{B},none,,,"why, so",2026-11-27T21:30:00Z,Ann'


@pytest.mark.parametrize(
    ("rows", "held"),
    [
        ([row(A, "label", "x"), row(A, "label", "y")], "y"),
        ([row(A, "label", "x"), row(A, "accept", "x")], "x"),
        ([row(A, "remove"), row(A, "label", "x")], "x"),
        ([row(A, "label", "x"), row(A, "undo")], None),
        ([row(A, "accept", "x")], None),
    ],
)
def test_later_rows_win(rows: list[Correction], held: str | None) -> None:
    now = current(rows)
    assert (now[A].new if A in now and now[A].changes else None) == held
    assert (digest_of_changes(now) is None) == (held is None)


def test_the_digest_is_of_what_changes_the_set_alone() -> None:
    one = current([row(A, "label", "x")])
    same = current([row(B, "accept", "z"), row(A, "label", "y"), row(A, "label", "x", "other")])
    assert digest_of_changes(one) == digest_of_changes(same)
    assert digest_of_changes(one) != digest_of_changes(current([row(A, "remove")]))


def test_a_row_that_was_cut_short_goes_with_the_next(tmp_path: Path) -> None:
    file = CorrectionFile(tmp_path / "c.csv")
    file.append([row(A, "label", "x")])
    whole = file.path.read_bytes()
    file.path.write_bytes(whole + f"{B},lab".encode())
    assert file.rows() == [row(A, "label", "x")]
    file.append([row(B, "remove")])
    assert file.rows() == [row(A, "label", "x"), row(B, "remove")]
    file.path.write_bytes(whole + f"{B},label,,".encode() + "ø".encode()[:1])
    assert file.rows() == [row(A, "label", "x")]
    file.append([row(B, "remove")])
    assert file.rows() == [row(A, "label", "x"), row(B, "remove")]
    file.path.write_bytes(whole.removesuffix(b"\n"))  # as some editors leave it
    file.append([row(B, "remove")])
    assert file.rows() == [row(A, "label", "x"), row(B, "remove")]


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("cat,label,,dog,,,", "not the SHA-256"),
        (f"{A},lable,,dog,,,", "'lable' is not one of label, new-class"),
        (f"{A},label,dog", "3 cells"),
        (f"{A},label,dog,,,,", "names no class"),
        (f"{A};label;cat;dog;;;", "separated by semicolons; save the file with commas"),
    ],
)
def test_a_bad_row_is_named_by_its_line(tmp_path: Path, line: str, wrong: str) -> None:
    path = tmp_path / "c.csv"
    path.write_text(f"{','.join(HEADER)}\n{A},accept,,dog,,,\n{line}\n")
    with pytest.raises(UserError, match=rf"c\.csv, line 3: .*{wrong}.*; fix the line or remove it"):
        CorrectionFile(path).rows()


def test_a_bad_row_that_a_person_wrote_last_is_not_taken_for_one_cut_short(tmp_path: Path) -> None:
    file = CorrectionFile(tmp_path / "c.csv")
    file.path.write_text(f"{','.join(HEADER)}\n{A},lable,,dog,,,")  # no end of line: as an editor leaves it
    file.append([row(B, "remove")])
    with pytest.raises(UserError, match="line 2: 'lable' is not one of"):
        file.rows()
    file.path.write_text(file.path.read_text().replace("lable", "new-class"))
    assert [each.new for each in file.rows()] == ["dog", ""]


def test_a_spreadsheet_may_save_it(tmp_path: Path) -> None:
    file = CorrectionFile(tmp_path / "c.csv")
    file.append([row(A, "label", "ørn, =1+1"), row(B, "none")])
    expected = file.rows()
    quoted = "\r\n".join([",".join(f'"{name}"' for name in HEADER), *file.path.read_text().splitlines()[1:], ",,,,,,"])
    file.path.write_bytes(b"\xef\xbb\xbf" + quoted.replace(A, A.upper()).encode() + b"\r\n")
    assert file.rows() == expected
    file.append([row(A, "undo")])
    assert len(file.rows()) == 3
    file.path.write_bytes("\ufeff".encode("utf-16"))
    with pytest.raises(UserError, match="not UTF-8"):
        file.rows()


def test_a_conflict_of_git_is_named(tmp_path: Path) -> None:
    file = CorrectionFile(tmp_path / "c.csv")
    file.append([row(A, "remove")])
    file.path.write_text(file.path.read_text() + "<<<<<<< HEAD\n")
    with pytest.raises(UserError, match="line 3: a merge conflict of git; remove the lines that begin with <<<<<<<"):
        file.rows()


def test_two_branches_that_add_rows_merge_without_a_conflict(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        subprocess.run(["git", "-c", "user.name=Ann", "-c", "user.email=a@b.c", *arguments], cwd=tmp_path, check=True)

    def add(added: Correction) -> None:
        file.append([added])
        git("add", "--all")
        git("commit", "-qm", "rows")

    file = CorrectionFile(tmp_path / "data/corrections.csv")
    shutil.copy(Path(__file__).parents[2] / ".gitattributes", tmp_path)
    git("init", "-q", "-b", "main")
    add(row(A, "remove"))
    git("checkout", "-qb", "other")
    add(row(B, "remove"))
    git("checkout", "-q", "main")
    add(row(B, "accept"))
    git("merge", "-q", "--no-edit", "other")
    assert file.rows() == [row(A, "remove"), row(B, "accept"), row(B, "remove")]


@pytest.mark.parametrize(
    "label", ["a\nb", "a\\nb", "a\r\nb\\", "\\\n", "cats\\red", "=1+1", 'a "b", c', " é", "\\\\\\n\n"]
)
def test_any_label_stands_on_one_line(tmp_path: Path, label: str) -> None:
    file = CorrectionFile(tmp_path / "c.csv")
    file.append([row(A, "label", label, label)])
    assert file.path.read_bytes().count(b"\n") == 2
    assert (file.rows()[0].old, file.rows()[0].new) == (label, label)


def test_many_writers_at_once_lose_no_row(tmp_path: Path) -> None:
    path = tmp_path / "c.csv"
    code = (
        "import sys; from pathlib import Path; from sightline.datasets import corrections as c\n"
        "f = c.CorrectionFile(Path(sys.argv[1]))\n"
        "for n in range(50): f.append([c.Correction(f'{int(sys.argv[2]) * 100 + n:064x}', c.ReviewDecision.REMOVE)])"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, str(path), str(n)], env=os.environ) for n in range(3)]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert len({each.sha256 for each in CorrectionFile(path).rows()}) == 150
