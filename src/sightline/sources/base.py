"""What a source of images is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

from sightline.config.schema import Option
from sightline.datasets.raw_set import ImageRecord, Rejection


class SourceConfig(Protocol):
    """What the configuration says of a source.

    Attributes:
        source: The option that was chosen.
        limit: At most so many inputs; None for all.
        max_bytes: A larger input is refused without being read.
    """

    @property
    def source(self) -> Option: ...
    @property
    def limit(self) -> int | None: ...
    @property
    def max_bytes(self) -> int: ...


class Source(Protocol):
    """Where labelled images come from: a folder, an archive, a list, a database, a built-in set.

    A source reads and never writes, and opens nothing before one of its methods is called.
    """

    def fingerprint(self, deep: bool = False) -> dict[str, Any]:
        """Returns what changes when the source's content changes, cheaply; JSON values, no credentials.

        Args:
            deep: Read the content itself instead of trusting sizes, times and counts.

        Raises:
            UserError: If the source cannot be reached; one line naming it and the remedy.
        """
        ...

    def records(self) -> Iterator[ImageRecord | Rejection]:
        """Yields every input once, as a record or as a rejection, in a stable order and in constant memory.

        Raises:
            UserError: If the source cannot be reached.
        """
        ...


@runtime_checkable
class SourceWithNotes(Protocol):
    """A source that has more to tell than its records do.

    Attributes:
        notes: Lines for a person, once records have been asked for.
    """

    notes: list[str]
