"""Detection of the columns of an image list that contain the file and the class, from their names and cells."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sightline.core.errors import UserError
from sightline.sources.file import LocalFile
from sightline.sources.table_rows import read_rows

LABELS = ("label", "class", "class_name", "label_name", "category", "species", "target", "y", "diagnosis", "name")
_PATHS = ("path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path", "img", "image_id")
_SPLITS = ("split", "subset", "partition")
_GROUPS = ("group", "patient", "patient_id", "subject", "subject_id", "burst", "session")
_PIXELS = 40
"""Number of columns above which a list without file names is assumed to contain pixels."""


def list_options(path: Path) -> dict[str, Any]:
    """Returns the settings of the source `table` that differ from its defaults.

    Raises:
        UserError: If the columns are ambiguous; the message says how to specify them.
    """
    rows = [row for row in itertools.islice(read_rows(LocalFile(path), {}, every=True), 20) if isinstance(row, Mapping)]
    if not rows:
        raise UserError(f"{path} has no row below its first line: a list has the columns path and label")
    columns = [str(column) for column in rows[0]]
    label, pictures = named(columns, LABELS), named(columns, _PATHS)
    if label and len(columns) > _PIXELS and not pictures:
        return {"path_column": None, "pixel_columns": "*", **_unless("label_column", label, "label")}
    options: dict[str, Any] = {}
    if not (label and pictures) and len(columns) == 2 and (root := _root(path, columns[0])) is not None:
        return {"columns": ["path", "label"], **root}  # there is no header: the first line is an image
    by_cells = [column for column in columns if _root(path, rows[0][column]) is not None]
    pictures = by_cells[0] if by_cells else pictures
    if label is None and len(columns) == 2 and pictures:
        label = next(column for column in columns if column != pictures)
    if label is None or pictures is None or label == pictures:
        raise UserError(
            f"{path} has the columns {', '.join(columns[:12])}: say which ones contain the file and the class: "
            f"ingest.source_options.path_column={columns[0]} ingest.source_options.label_column={columns[-1]}"
        )
    options |= _unless("path_column", pictures, "path") | _unless("label_column", label, "label")
    options |= {"split_column": split} if (split := named(columns, _SPLITS)) else {}
    options |= {"group_column": group} if (group := named(columns, _GROUPS)) else {}
    return options | (_root(path, rows[0][pictures]) or {})


def named(columns: Sequence[str], names: Sequence[str]) -> str | None:
    """Returns the column whose normalised name comes first in `names`; None if there is no such column."""
    by_name = {column.strip().lower().replace(" ", "_"): column for column in reversed(columns)}
    return next((by_name[name] for name in names if name in by_name), None)


def _unless(setting: str, value: str, default: str) -> dict[str, Any]:
    return {} if value == default else {setting: value}


def _root(path: Path, cell: Any) -> dict[str, Any] | None:
    """Returns the setting `root` that a cell's path is relative to, if needed; None if the cell names no file."""
    if not isinstance(cell, str) or not cell or len(cell) > 1000:
        return None
    relative = cell.replace("\\", "/")
    for folder in itertools.chain([path.parent], _subfolders(path.parent)):
        if (folder / relative).is_file():
            return {} if folder == path.parent else {"root": str(folder.absolute())}
    return None


def _subfolders(folder: Path) -> Iterator[Path]:
    yield from sorted(entry for entry in itertools.islice(folder.iterdir(), 200) if entry.is_dir())
