"""Text: sizes in bytes."""

from __future__ import annotations

import doctest

import pytest

from sightline.core import text


def test_the_examples_in_the_docstrings() -> None:
    assert doctest.testmod(text).failed == 0


@pytest.mark.parametrize(
    ("size", "decimal", "binary"),
    [
        (0, "0 B", "0 B"),
        (80, "80 B", "80 B"),
        (1000, "1.0 kB", "1000 B"),
        (1024, "1.0 kB", "1.0 KiB"),
        (1_234_567, "1.2 MB", "1.2 MiB"),
        (3_000_000_000, "3.0 GB", "2.8 GiB"),
        (2**51, "2252 TB", "2048 TiB"),
    ],
)
def test_sizes_have_the_unit_that_suits_them(size: int, decimal: str, binary: str) -> None:
    assert (text.readable_size(size), text.readable_size(size, binary=True)) == (decimal, binary)
