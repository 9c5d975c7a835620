"""The closed list of reasons for rejecting an input, shared by ingestion and prediction."""

from __future__ import annotations

from enum import StrEnum


class RejectionReason(StrEnum):
    """The reason why an input did not become an image. The values appear in `rejected.parquet` and in predictions."""

    # Content of the file
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
    OUT_OF_MEMORY = "out_of_memory"  # depends on this machine, the only reason that is not the input's alone
    # Place of the file
    MISSING = "missing"
    UNREADABLE = "unreadable"
    UNSAFE_ENTRY = "unsafe_entry"
    INCOMPLETE_ARCHIVE = "incomplete_archive"  # prediction only: ingestion rejects an incomplete archive as a whole
    # The source's metadata
    NO_LABEL = "no_label"
    BAD_LABEL = "bad_label"
    CONFLICT = "conflict"
    DROPPED_LABEL = "dropped_label"
    BAD_SPLIT = "bad_split"
    DUPLICATE_ID = "duplicate_id"
    # A person's decision
    REMOVED = "removed"


class RejectionError(ValueError):
    """A rejected input, with the reason and a detail for people.

    Attributes:
        reason: One of the closed list.
        detail: One line; never contains the input's bytes or a credential.
    """

    def __init__(self, reason: RejectionReason, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else str(reason))
        self.reason = reason
        self.detail = detail
