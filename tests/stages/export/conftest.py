from __future__ import annotations

import pytest

from sightline.stages.export import latency
from tests.exported import project  # noqa: F401


@pytest.fixture(autouse=True, scope="session")
def quick() -> None:
    """Shortens the latency measurements, since no test here depends on a network's speed."""
    latency.ROUNDS, latency.FEWEST = 3, 1
