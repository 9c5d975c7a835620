"""An MLflow store with runs as the stages write them."""

from __future__ import annotations

from tests.tracking.conftest import migrated, project, store

__all__ = ["migrated", "project", "store"]
