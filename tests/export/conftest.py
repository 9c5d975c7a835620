from __future__ import annotations

import pytest

from sightline.export import speed
from tests.exported import project  # noqa: F401


@pytest.fixture(autouse=True, scope="session")
def quick() -> None:
    """Measures briefly: no test here asks how fast a network is."""
    speed.ROUNDS, speed.FEWEST = 3, 1
