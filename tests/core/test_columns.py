"""Tables and lines at the width of a terminal."""

from __future__ import annotations

import pytest

from sightline.core.columns import folded, table

ROWS = [
    ("setting", "first", "second"),
    ("train.lr", "0.001", "0.002"),
    ("train.augment", "{'crop': 0.1, 'scale': 0.2, 'translate': 0.07, 'rotate': 10}", "none"),
    ("ingest.path", "/data/" + "birds" * 20, "-"),
]


@pytest.mark.parametrize("width", [30, 80, 120, 300])
def test_a_table_fits_the_terminal_and_loses_nothing(width: int) -> None:
    lines = table(ROWS, width, right=(1,), indent="  ")
    assert max(map(len, lines)) <= width
    text = "".join("".join(lines).split())
    assert all(text.count(character) == "".join(map("".join, ROWS)).count(character) for character in "{}'/:")
    assert (len(lines) == len(ROWS)) == (width == 300)
    assert lines[1].split() == ["train.lr", "0.001", "0.002"]


def test_a_table_that_fits_is_as_wide_as_it_is() -> None:
    assert table(ROWS, 300) == table(ROWS)
    assert table([("a", "1"), ("bcd", "22")], 80, right=(1,)) == ["a     1", "bcd  22"]
    assert table([("a", ""), ("", "b")]) == ["a", "   b"]


def test_a_line_goes_on_below_its_last_column() -> None:
    line = "next       sightline serve models/bundle    # try it on pictures of your own"
    assert folded(line, 80) == folded(line, None) == line
    assert folded(line, 60).splitlines() == [line[:56].rstrip(), f"{' ' * 11}pictures of your own"]
    assert folded("  a sentence without columns", 16) == "  a sentence\n    without\n    columns"
    assert folded("one line\nand another", 12) == "one line\nand another"
    assert folded("digest  " + "f" * 64, 40) == "digest  " + "f" * 64  # a word stays whole
