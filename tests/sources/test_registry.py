"""The registry of sources: a source is one class and one file of conf/."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sightline.config.compose import compose, typed
from sightline.core.errors import ConfigError
from sightline.datasets.raw_set import ImageRecord, Rejection
from sightline.sources import SOURCES, Source, SourceConfig, SourceOption, open_source
from sightline.sources.content import NO_MEMORY, ContentMemory
from sightline.stages.ingest.config import IngestConfig


class BlankSource:
    def __init__(self, count: int) -> None:
        self._count = count

    def fingerprint(self, memory: ContentMemory = NO_MEMORY) -> dict[str, Any]:  # noqa: ARG002 - nothing is on disk
        return {"count": self._count}

    def records(self) -> Iterator[ImageRecord | Rejection]:
        yield from (ImageRecord(f"{number:03}", b"", "blank") for number in range(self._count))


@pytest.fixture
def blank(project: Path) -> Iterator[None]:
    """A source of the test's own, with its option file."""

    @SOURCES.register("blank")
    @dataclass
    class BlankOption(SourceOption):
        """Images without content."""

        count: int

        def __post_init__(self) -> None:
            if self.count < 1:
                raise ValueError(f"count: must be at least 1, not {self.count}")

        def open(self, config: SourceConfig) -> Source:
            return BlankSource(min(self.count, config.limit or self.count))

    (project / "conf/ingest/source/blank.yaml").write_text("# Blank images.\nname: blank\ncount: 5\n")
    yield
    del SOURCES._options["blank"]


def section(*overrides: str) -> IngestConfig:
    return typed(IngestConfig, compose(["ingest/source=blank", *overrides]).ingest, "ingest")


@pytest.mark.usefixtures("blank")
def test_a_new_source_is_a_class_and_an_option_file() -> None:
    assert len(list(open_source(section()).records())) == 5
    source = open_source(section("ingest.source.count=7", "ingest.limit=6"))
    assert source.fingerprint() == {"count": 6}
    with pytest.raises(ConfigError, match=r"ingest\.source\.count: must be at least 1, not 0"):
        section("ingest.source.count=0")


@pytest.mark.parametrize("name", SOURCES)
def test_each_source_is_complete(name: str) -> None:
    option = SOURCES[name]
    assert not option.__abstractmethods__  # type: ignore[attr-defined]
    assert option.__doc__
    assert not option.__doc__.startswith(option.__name__)  # as a dataclass without one has
    assert option.__module__.startswith("sightline.sources.")
