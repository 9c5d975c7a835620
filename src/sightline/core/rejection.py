"""The closed list of reasons for which an input is refused: the same words at ingestion and at prediction."""

from __future__ import annotations

from enum import StrEnum


class RejectionReason(StrEnum):
    """The reason why an input did not become an image. The values stand in `rejected.parquet` and in predictions."""

    # What the bytes are
    EMPTY = "empty"
    TOO_MANY_BYTES = "too_many_bytes"
    TOO_MANY_PIXELS = "too_many_pixels"
    TOO_MANY_FRAMES = "too_many_frames"
    FORMAT_NOT_ALLOWED = "format_not_allowed"
    UNSUPPORTED_FORMAT = "unsupported_format"
    NOT_AN_IMAGE = "not_an_image"
    TRUNCATED = "truncated"
    CORRUPT = "corrupt"
    BLANK = "blank"
    TOO_MANY_BITS = "too_many_bits"
    OUT_OF_MEMORY = "out_of_memory"  # of this machine: the one reason that is not the input's alone
    # Where they come from
    MISSING = "missing"
    UNREADABLE = "unreadable"
    UNSAFE_ENTRY = "unsafe_entry"
    INCOMPLETE_ARCHIVE = "incomplete_archive"  # of prediction alone: ingestion takes no part for the whole
    # What the source says about them
    NO_LABEL = "no_label"
    BAD_LABEL = "bad_label"
    CONFLICT = "conflict"
    DROPPED_LABEL = "dropped_label"
    BAD_SPLIT = "bad_split"
    DUPLICATE_ID = "duplicate_id"
    # What a person has decided
    REMOVED = "removed"


class RejectionError(ValueError):
    """An input that is refused, with its reason and a detail for a person.

    Attributes:
        reason: One of the closed list.
        detail: One line; never holds the input's bytes or a credential.
    """

    def __init__(self, reason: RejectionReason, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else str(reason))
        self.reason = reason
        self.detail = detail
