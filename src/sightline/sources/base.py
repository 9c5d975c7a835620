"""The base class of all sources of images, and their registry."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

from sightline.config.schema import Option, Registry
from sightline.datasets.raw_set import ImageRecord, Rejection
from sightline.sources.content import NO_MEMORY, ContentMemory
from sightline.sources.name_pattern import PathPatterns


class SourceConfig(Protocol):
    """The part of the configuration that a source reads.

    Attributes:
        source: The chosen option.
        limit: Maximum number of inputs; None for all.
        max_bytes: Larger inputs are rejected without being read.
        patterns: Patterns that are applied to the images' paths; only sources with paths use them.
    """

    @property
    def source(self) -> SourceOption: ...
    @property
    def limit(self) -> int | None: ...
    @property
    def max_bytes(self) -> int: ...
    @property
    def patterns(self) -> PathPatterns: ...


class Source(Protocol):
    """A source of labelled images: a folder, an archive, a list, a database, a built-in dataset.

    A source reads and never writes, and opens nothing until one of its methods is called.
    """

    def fingerprint(self, memory: ContentMemory = NO_MEMORY) -> dict[str, Any]:
        """Returns JSON values that change when the source's content changes; cheap, and without credentials.

        The same content gives the same fingerprint on every machine.

        Args:
            memory: Content digests of files on disk from the last run.

        Raises:
            UserError: If the source cannot be reached; one line with its name and the remedy.
        """
        ...

    def records(self) -> Iterator[ImageRecord | Rejection]:
        """Yields every input once, as a record or as a rejection, in a stable order and in constant memory.

        Raises:
            UserError: If the source cannot be reached.
        """
        ...


@dataclass
class SourceOption(Option, ABC):
    """Base class of the options: the settings of a source, their checks, and how to open it.

    Attributes:
        has_paths: Whether its images have paths, from which a pattern can read class, group and split.
        one_class_remedy: The remedy if all images turn out to be of one class.
        no_training_remedy: The remedy if the source's own splits leave no image to train on.
        no_label_remedy: The remedy if no input has a class; empty if the source's own messages are enough.
    """

    has_paths: ClassVar[bool] = False
    one_class_remedy: ClassVar[str] = "check where the labels come from"
    no_training_remedy: ClassVar[str] = "read the source without its splits"
    no_label_remedy: ClassVar[str] = ""

    @abstractmethod
    def open(self, config: SourceConfig) -> Source:
        """Returns the source. It opens nothing until one of its methods is called.

        Args:
            config: The ingest section, for the limits that apply to all sources.
        """


SOURCES: Registry[SourceOption] = Registry("ingest/source", modules="sightline.sources.*")
"""Importing any module of this package registers the sources that it defines."""


@runtime_checkable
class SourceWithNotes(Protocol):
    """A source with notes on what it read.

    Attributes:
        notes: Human-readable lines; complete once all records have been read.
    """

    notes: list[str]
