"""Real Ray clusters for tests."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
CODE = f"{ROOT / 'src'}{os.pathsep}{ROOT}"
"""Import path for new processes: the project and the tests' own modules."""


@pytest.fixture
def ray_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("PYTHONPATH", CODE)


@contextlib.contextmanager
def two_nodes() -> Iterator[tuple[Any, Any]]:
    """Yields a cluster of two nodes with one CPU each, and the second node."""
    from ray.cluster_utils import Cluster

    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        second = nodes.add_node(num_cpus=1)
        nodes.wait_for_nodes()
        yield nodes, second
    finally:
        nodes.shutdown()
