"""The query of a request, by its declaration."""

from __future__ import annotations

import pytest

from sightline.serve.api import PredictQuery, parse_query


def test_defaults_and_values() -> None:
    assert parse_query({}) == PredictQuery(5, None)
    assert parse_query({"top_k": "3", "threshold": "0.5", "other": "x"}) == PredictQuery(3, 0.5)
    assert parse_query({"threshold": "0"}).threshold == 0.0


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("top_k", "0", "top_k: must be a whole number of at least 1"),
        ("top_k", "1.5", "top_k: must be a whole number of at least 1"),
        ("threshold", "1.01", "threshold: must be a number from 0 to 1"),
        ("threshold", "nan", "threshold: must be a number from 0 to 1"),
        ("threshold", "", "threshold: must be a number from 0 to 1"),
    ],
)
def test_a_value_out_of_range_is_named(name: str, value: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_query({name: value})
