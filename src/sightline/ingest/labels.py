"""The file that renames, merges and drops classes."""

from __future__ import annotations

from pathlib import Path

import yaml

from sightline.errors import UserError
from sightline.reasons import Reason, Rejected


class Labels:
    """Maps the source's labels to the set's.

    Attributes:
        unused: Labels that the file names and that have not come yet.
    """

    def __init__(self, mapping: dict[str, str | None]) -> None:
        self._mapping = mapping
        self.unused = set(mapping)

    @classmethod
    def read(cls, path: Path | None) -> Labels:
        """Reads a YAML (or JSON) mapping of labels to labels; one that maps to null is dropped.

        Raises:
            UserError: If there is no such file, or something else in it.
        """
        if path is None:
            return cls({})
        try:
            # As text: a class called 1, no or 2024-01-01 is called so.
            content = yaml.load(path.expanduser().read_text(encoding="utf-8"), Loader=yaml.BaseLoader) or {}  # noqa: S506 - text only
        except OSError as error:
            raise UserError(f"ingest.labels: cannot read {path}: {error.strerror}") from None
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise UserError(f"ingest.labels: {path} is not YAML: {' '.join(str(error).split())}") from None
        if not isinstance(content, dict) or not all(isinstance(value, str) for value in content.values()):
            raise UserError(f"ingest.labels: {path} must map a label to a label a line, or to null to drop it")
        return cls({key: None if value in ("", "null", "~") else value for key, value in content.items()})

    def apply(self, label: str) -> str:
        """Returns the set's label.

        Raises:
            Rejected: If the file drops the label.
        """
        self.unused.discard(label)
        mapped = self._mapping.get(label, label)
        if mapped is None:
            raise Rejected(Reason.DROPPED_LABEL, f"ingest.labels drops {label!r}")
        return mapped
