"""The label map: a file that renames, merges and drops classes."""

from __future__ import annotations

from pathlib import Path

from sightline.core.errors import UserError
from sightline.core.rejection import RejectionError, RejectionReason
from sightline.core.text import composed


class LabelMap:
    """Maps the source's labels to the set's.

    Attributes:
        unused: Labels in the file that no image has had so far.
        seen: Labels of the set that have occurred so far, including those of images rejected later.
    """

    def __init__(self, mapping: dict[str, str | None]) -> None:
        self._mapping = mapping
        self.unused = set(mapping)
        self.seen: set[str] = set()

    @classmethod
    def load(cls, path: Path | None) -> LabelMap:
        """Reads a YAML (or JSON) mapping from labels to labels; a label that maps to null is dropped.

        Raises:
            UserError: If the file cannot be read, or is not such a mapping.
        """
        if path is None:
            return cls({})
        import yaml  # here because `watch` runs on every `dvc repro`, and this import would be a tenth of its time

        try:
            # Everything as text: a class may be called 1, no or 2024-01-01.
            content = yaml.load(path.expanduser().read_text(encoding="utf-8"), Loader=yaml.BaseLoader) or {}  # noqa: S506 - text only
        except OSError as error:
            raise UserError(f"ingest.labels: cannot read {path}: {error.strerror}") from None
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise UserError(f"ingest.labels: {path} is not YAML: {' '.join(str(error).split())}") from None
        if not isinstance(content, dict) or not all(isinstance(value, str) for value in content.values()):
            raise UserError(f"ingest.labels: {path} must map a label to a label a line, or to null to drop it")
        mapping: dict[str, str | None] = {}
        for key, value in content.items():
            mapped = None if value in ("", "null", "~") else composed(value)
            if mapping.setdefault(composed(key), mapped) != mapped:
                raise UserError(f"ingest.labels: {path} maps {key!r}, spelt in two Unicode forms, to two labels")
        return cls(mapping)

    def apply(self, label: str) -> str:
        """Returns the set's label for a label of the source, in Unicode normalization form C.

        Raises:
            RejectionError: If the file drops the label.
        """
        label = composed(label)
        self.unused.discard(label)
        mapped = self._mapping.get(label, label)
        if mapped is None:
            raise RejectionError(RejectionReason.DROPPED_LABEL, f"ingest.labels drops {label!r}")
        self.seen.add(mapped)
        return mapped
