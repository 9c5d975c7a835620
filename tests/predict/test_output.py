from __future__ import annotations

import csv
import doctest
import io
import json
import os

import pytest

from sightline.predict import writers
from sightline.predict.prediction import Prediction
from sightline.predict.tally import Tally

CLASSES = ["cat", "dog, small", "数字"]
ROWS = [
    Prediction("a.png", (("cat", 0.9000000357627869), ("数字", 0.1)), novelty=0.5, class_set=("cat", "数字")),
    Prediction("b, \"c\"\n.png", (("dog, small", 0.5), ("cat", 0.5))),
    Prediction("gone.png", error="missing", detail="no such file"),
    Prediction(os.fsdecode(b"caf\xe9.png"), (("数字", 1.0), ("cat", 0.0))),
    Prediction("\x1b[31m[bold]x.png", error="corrupt"),
]  # fmt: skip


def written(form: str, rows: list[Prediction] = ROWS, top_k: int = 2) -> str:
    stream = io.StringIO()
    writers.write_as(form, iter(rows), stream, CLASSES, top_k)
    stream.getvalue().encode()  # is valid Unicode
    return stream.getvalue()


def test_csv_says_everything_and_survives_odd_names() -> None:
    rows = list(csv.DictReader(io.StringIO(written("csv"), newline="")))
    names = ["path", "label", "probability", "error", "detail", "abstained", "label_2", "probability_2"]
    assert list(rows[0]) == [*names, "novelty", "class_set"]
    assert list(rows[0].values()) == [
        "a.png",
        "cat",
        "0.900000036",
        "",
        "",
        "false",
        "数字",
        "0.1",
        "0.5",
        '["cat", "数字"]',
    ]
    assert rows[1]["path"] == 'b, "c"\n.png'
    assert rows[1]["label"] == "dog, small"
    assert list(rows[2].values()) == ["gone.png", "", "", "missing", "no such file", "false", "", "", "", ""]
    assert rows[3]["path"] == "caf\\xe9.png"
    assert len(rows) == len(ROWS)


def test_csv_of_the_best_class_alone_has_no_further_columns() -> None:
    assert (
        written("csv", ROWS[2:3], 1)
        == "path,label,probability,error,detail,abstained,novelty,class_set\ngone.png,,,missing,no such file,false,,\n"
    )


def test_json_and_json_lines_say_the_same() -> None:
    rows = json.loads(written("json"))
    assert rows == [json.loads(line) for line in written("jsonl").splitlines()]
    assert rows[0] == {
        "path": "a.png",
        "label": "cat",
        "probability": 0.900000036,
        "top": [{"label": "cat", "probability": 0.900000036}, {"label": "数字", "probability": 0.1}],
        "error": None,
        "detail": "",
        "abstained": False,
        "novelty": 0.5,
        "class_set": ["cat", "数字"],
    }
    assert rows[2]["error"] == "missing"
    assert (rows[2]["label"], rows[2]["probability"], rows[2]["top"]) == (None, None, [])
    assert [row["path"] for row in rows][3] == "caf\\xe9.png"


@pytest.mark.parametrize(("form", "empty"), [("json", "[]\n"), ("jsonl", "")])
def test_no_rows(form: str, empty: str) -> None:
    assert written(form, []) == empty


def test_the_table_is_one_aligned_line_a_row() -> None:
    lines = written("table").splitlines()
    assert lines == [
        "class       probability  class       probability  image",
        "cat             90.00 %  数字            10.00 %  a.png  (one of: cat, 数字)",
        'dog, small      50.00 %  cat             50.00 %  b, "c"\\n.png',
        "-                     -  -                     -  gone.png: missing (no such file)",
        "数字           100.00 %  cat              0.00 %  caf\\xe9.png",
        "-                     -  -                     -  \\x1b[31m[bold]x.png: corrupt",
    ]


def test_long_labels_are_cut_and_columns_stay() -> None:
    stream = io.StringIO()
    writers.write_as("table", [Prediction("a", (("x" * 99, 0.25),))], stream, ["x" * 99], 5)
    header, row = stream.getvalue().splitlines()
    assert row == "x" * 31 + "…" + "      25.00 %  a"
    assert header.index("image") == row.rindex("a")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_colour_on_a_terminal_unless_it_is_not_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    writers.write_as("table", ROWS, terminal := Terminal(), CLASSES, 1)
    assert "\x1b[31m-" in terminal.getvalue()
    assert "\x1b[31m[bold]" not in terminal.getvalue()  # a file's name colours nothing
    monkeypatch.setenv("NO_COLOR", "1")
    writers.write_as("table", ROWS, plain := Terminal(), CLASSES, 1)
    assert "\x1b" not in plain.getvalue()


def test_tally_counts_as_rows_pass() -> None:
    tally = Tally()
    assert list(tally.count(ROWS)) == ROWS
    assert (tally.predicted, tally.failed) == (3, 2)
    assert str(tally) == "5 inputs: 3 predicted, 2 failed (corrupt: 1, missing: 1)"


def test_the_examples_in_the_docstrings() -> None:
    assert doctest.testmod(writers).failed == 0
