"""The line that is printed where a stage leaves most of the machine's cores idle."""

from __future__ import annotations

import pytest

from sightline.core import cpu_threads


@pytest.mark.parametrize(
    ("there", "threads", "processes", "taken"),
    [(64, 2, 1, 64), (64, 2, 4, 16), (4, 2, 1, 4), (3, 1, 1, None), (2, 2, 1, None), (2, 1, 1, None), (7, 4, 1, None)],
)
def test_half_of_the_cores_idle_is_said_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, there: int, threads: int, processes: int, taken: int | None
) -> None:
    monkeypatch.setattr(cpu_threads, "available", lambda: there)
    line = cpu_threads.idle("train.threads", threads, processes)
    if taken is None:
        assert line is None
    else:
        assert line is not None
        assert line.startswith(f"computes with {threads * processes} of {there} CPU cores; ++train.threads={taken} ")


def test_the_cores_are_those_that_this_process_may_use() -> None:
    assert cpu_threads.available() >= 1
