"""Samples: even by class, the same in any order, and nearly the same when a set grows."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from sightline.core.sampling import sample

SETS = st.dictionaries(st.text(max_size=4), st.sampled_from("abc"), min_size=1, max_size=60)


def drawn(items: dict[str, str], limit: int) -> list[str]:
    return list(sample(items, limit, str, items.__getitem__))


@given(SETS, st.integers(1, 70), st.randoms())
def test_order_is_of_no_matter_and_shares_are_even(items: dict[str, str], limit: int, random: object) -> None:
    shuffled = sorted(items, key=lambda _: random.random())  # type: ignore[attr-defined]
    chosen = drawn({key: items[key] for key in shuffled}, limit)
    assert chosen == drawn(items, limit)
    assert chosen == sorted(chosen)
    assert len(chosen) == min(limit, len(items))
    of_all, taken = Counter(items.values()), Counter(map(items.__getitem__, chosen))
    for name, count in of_all.items():
        assert abs(taken[name] - limit * count / len(items)) <= len(of_all) or len(chosen) == len(items)
        assert taken[name] or limit < len(of_all)


@given(SETS, st.integers(2, 70))
def test_a_smaller_sample_is_part_of_a_larger(items: dict[str, str], limit: int) -> None:
    assert set(drawn(items, limit - 1)) <= set(drawn(items, limit))


def test_what_was_left_out_is_noted_and_a_set_that_grows_keeps_its_sample() -> None:
    items = {f"{number:04}": f"class {number // 100}" for number in range(1000)}
    notes: list[str] = []
    before = list(sample(items, 50, str, items.__getitem__, notes))
    assert notes == ["ingest.limit: 50 of 1,000 inputs, sampled evenly from each of 10 classes"]
    assert Counter(map(items.__getitem__, before)) == dict.fromkeys(items.values(), 5)
    grown = {**items, **{f"new {number}": f"class {number % 10}" for number in range(100)}}
    assert len(set(drawn(grown, 50)) & set(before)) >= 40
    assert list(sample(items, 1000, str, items.__getitem__, notes)) == sorted(items)
    assert len(notes) == 1
