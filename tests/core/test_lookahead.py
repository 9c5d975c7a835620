"""Look-ahead and connected groups."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from sightline.core.connected import connected_groups
from sightline.core.lookahead import map_ahead


def test_results_come_in_order_and_few_items_are_taken() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    results = map_ahead(lambda number: -number, items(), threads=4, ahead=6)
    assert next(results) == 0
    assert len(taken) == 7
    assert list(results) == [-number for number in range(1, 100)]


def test_a_fault_ends_it_and_no_thread_stays() -> None:
    before = threading.active_count()
    with pytest.raises(ZeroDivisionError):
        list(map_ahead(lambda number: 1 // (50 - number), range(100), threads=4))
    assert threading.active_count() == before


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=30))
def test_groups_are_scipys_components(links: list[tuple[int, int]]) -> None:
    left, right = [a for a, _ in links], [b for _, b in links]
    _, component = connected_components(coo_array(([1] * len(links), (left, right)), shape=(21, 21)), directed=False)
    expected = {frozenset(n for n in range(21) if component[n] == component[seed]) for seed in {*left, *right}}
    groups = connected_groups(links)
    assert {frozenset(group) for group in groups} == expected
    assert sum(map(len, groups)) == len({*left, *right})
