"""The file of corrections: later rows win, a row is whole or not there, and a bad one is named by its line."""

from __future__ import annotations

import os
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
    ],
)
def test_a_bad_row_is_named_by_its_line(tmp_path: Path, line: str, wrong: str) -> None:
    path = tmp_path / "c.csv"
    path.write_text(f"{','.join(HEADER)}\n{A},accept,,dog,,,\n{line}\n")
    with pytest.raises(UserError, match=rf"c\.csv, line 3: .*{wrong}.*; fix the line or remove it"):
        CorrectionFile(path).rows()


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
