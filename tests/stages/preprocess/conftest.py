from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sightline.datasets import raw_set
from sightline.stages.preprocess.config import PreprocessConfig
from sightline.stages.preprocess.stage import preprocess

Run = Callable[..., Path]


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits shards to about ten images, so that small datasets have many shards."""
    monkeypatch.setattr(raw_set, "TARGET_ROWS", 10)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Returns a function that preprocesses a raw set into a new folder below `tmp_path`, by default without a cache."""
    made = iter(range(1000))

    def preprocessed(raw: Path, config: PreprocessConfig, cache: Path | None = None) -> Path:
        out = tmp_path / f"out-{next(made)}"
        out.mkdir()
        preprocess(raw, config, out, cache)
        return out

    return preprocessed
