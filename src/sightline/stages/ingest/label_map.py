"""The label map: a file that renames, merges and drops classes."""

from __future__ import annotations

from pathlib import Path

from sightline.core.errors import UserError
from sightline.core.rejection import RejectionError, RejectionReason
from sightline.core.text import composed


class LabelMap:
    """Maps the source's labels to the set's.

    Attributes:
        unused: Labels that the file names and that have not come yet.
        seen: Labels of the set that have come, whatever became of their images.
    """

    def __init__(self, mapping: dict[str, str | None]) -> None:
        self._mapping = mapping
        self.unused = set(mapping)
        self.seen: set[str] = set()

    @classmethod
    def load(cls, path: Path | None) -> LabelMap:
        """Reads a YAML (or JSON) mapping of labels to labels; one that maps to null is dropped.

        Raises:
            UserError: If there is no such file, or something else in it.
        """
        if path is None:
            return cls({})
        import yaml  # here: `watch` is at every `dvc repro`, and a tenth of it would be this

        try:
            # As text: a class called 1, no or 2024-01-01 is called so.
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
        """Returns the set's label, in Unicode's normal form C.

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
