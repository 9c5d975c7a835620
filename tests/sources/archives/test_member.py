"""Bounds of what an archive is unpacked to, and the paths that its members may have."""

from __future__ import annotations

import pytest

from sightline.core.rejection import RejectionError
from sightline.sources.archives.member import UnpackBudget, safe_path


def test_a_budget_may_be_spent_to_its_last_byte() -> None:
    budget = UnpackBudget(5)
    assert [budget.spend(3), budget.spend(2), budget.spend(1)] == [True, True, False]


@pytest.mark.parametrize("name", ["a\0b", "./", ".", "//./"])
def test_a_name_that_no_file_can_have_is_refused(name: str) -> None:
    with pytest.raises(RejectionError, match="an absolute path" if name[0] == "/" else "not a valid file name"):
        safe_path(name)


def test_a_path_loses_what_says_nothing() -> None:
    assert safe_path("./a//b/./c.png") == "a/b/c.png"
