"""Arrow arrays made without pandas are those that Arrow makes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.datasets.arrow_columns import binaries, integers, strings, valid, whole_numbers
from tests.stages.preprocess.sets import pictures, write_set


@given(st.lists(st.none() | st.text(st.characters(codec="utf-8"))))
def test_strings(values: list[str | None]) -> None:
    assert strings(values).equals(pa.array(values, pa.string()))


@given(st.lists(st.binary()))
def test_binaries(values: list[bytes]) -> None:
    assert binaries(values).equals(pa.array(values, pa.binary()))


@given(st.lists(st.integers(-(2**31), 2**31 - 1)), st.booleans())
def test_integers(values: list[int], strided: bool) -> None:
    array = np.array(values, np.int64)
    array = np.repeat(array, 2)[::2] if strided else array
    assert integers(array).equals(pa.array(values, pa.int32()))


@given(st.lists(st.none() | st.integers(0, 9)), st.integers(0, 9))
def test_back(values: list[int | None], cut: int) -> None:
    parts = [pa.array(values[:cut], pa.int32()), pa.array(values[cut:], pa.int32())]
    for column in (pa.array([7, *values], pa.int32())[1:], pa.chunked_array(parts)):
        assert valid(column).tolist() == [place for place, value in enumerate(values) if value is not None]
        assert whole_numbers(column.drop_null()).tolist() == [value for value in values if value is not None]


def test_integers_that_are_too_large() -> None:
    with pytest.raises(ValueError, match="32 bits"):
        integers(np.array([2**31]))


def test_the_stages_of_data_do_without_pandas(tmp_path: Path) -> None:
    raw = write_set(tmp_path / "raw", pictures(20, split="train"))
    (tmp_path / "out").mkdir()
    code = """
import sys
from pathlib import Path
from sightline.datasets import raw_set
from sightline.stages.preprocess.stage import preprocess
from tests.stages.preprocess.sets import configuration
raw, out = Path(sys.argv[1]), Path(sys.argv[2])
preprocess(raw, configuration(), out)
raw_set.write_raw_shards(raw_set.raw_shards(raw)[0].images(), out)
raw_set.write_rejected([], out / raw_set.REJECTED)
raw_set.write_near([("a", "b")], out / raw_set.NEAR)
print("pandas" in sys.modules)
"""
    command = [sys.executable, "-c", code, str(raw), str(tmp_path / "out")]
    root = Path(__file__).parents[2]
    assert subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout == "False\n"
