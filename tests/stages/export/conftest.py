from __future__ import annotations

import pytest

from sightline.stages.export import latency
from tests.exported import project  # noqa: F401


@pytest.fixture(autouse=True, scope="session")
def quick() -> None:
    """Measures briefly: no test here asks how fast a network is."""
    latency.ROUNDS, latency.FEWEST = 3, 1
