"""The possible interpretations of a location as a set of labelled images, found by inspecting it."""

from __future__ import annotations

import difflib
import itertools
import re
import shlex
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from sightline.core.errors import UserError
from sightline.predict.inputs import is_archive
from sightline.project_setup.list_columns import LABELS, list_options, named
from sightline.project_setup.recognition import TABLES, source_knobs
from sightline.sources import SOURCES, tree
from sightline.sources.layout import IMAGE_SUFFIXES

_LOOK = 20_000
"""Files of a folder that are looked at, by name alone."""
_NAMED = re.compile(r"(.*?[^\W\d_])[-_. (]*\d+[)]?")
_PATTERN = r"([^/]*?[^/\d\W_])[-_. (]*[0-9]+[)]?\.[A-Za-z]+$"


@dataclass(frozen=True)
class Interpretation:
    """One way to read a location.

    Attributes:
        knobs: The settings of the ingest section.
        words: The reading in words, for a question and for the comment in params.yaml.
    """

    knobs: dict[str, Any]
    words: str


def interpretations(source: str) -> list[Interpretation]:
    """Returns the possible interpretations of a location, the most likely first.

    Args:
        source: A folder, an archive, a list, a URL, or a source's name.

    Raises:
        UserError: If there is none: what is wrong, and what to do.
    """
    knobs = source_knobs(source)
    kind = knobs["source"]
    if kind == "sql" and knobs["url"].startswith("sqlite:///") and Path(source).expanduser().is_file():
        return _sqlite(Path(source).expanduser(), knobs)
    path = Path(knobs["path"]) if "path" in knobs else None
    if path is None or source in SOURCES:
        return [Interpretation(knobs, f"{kind}, by its name" if source in SOURCES else f"{kind}, by its URL")]
    if not path.exists():
        raise UserError(f"--images {shlex.quote(source)}: no such file or folder{_like(path)}")
    if kind == "folder":
        return _file(path) if path.is_file() else _folder(path)
    if kind == "table":
        return [Interpretation({**knobs, "source_options": list_options(path)}, "a list of images")]
    return [Interpretation(knobs, {"archive": "an archive of a folder per class"}.get(kind, f"files of {kind}"))]


def _like(path: Path) -> str:
    """Returns similar names that may have been meant, or the existing ones."""
    above = next(folder for folder in (path.parent, *path.parent.parents) if folder.is_dir())
    names = sorted(entry.name for entry in itertools.islice(above.iterdir(), 1000) if not entry.name.startswith("."))
    wanted = path.relative_to(above).parts[0]
    near = difflib.get_close_matches(wanted, names, 1)
    if near:
        return f"; there is --images {shlex.quote(str(above / near[0]))}"
    there = ", ".join(names[:5]) + (" ..." if len(names) > 5 else "")
    return f"; {above} holds {there or 'nothing'}"


def _file(path: Path) -> list[Interpretation]:
    if path.suffix.lower() in IMAGE_SUFFIXES:
        raise UserError(f"{path} is a single image: name the folder that contains one folder per class")
    raise UserError(
        f"{path} is not an archive or list of images: name a folder, a .zip or .tar, or a list that ends in "
        f"{', '.join(TABLES)}"
    )


def _folder(path: Path) -> list[Interpretation]:
    names = [entry.path for entry in itertools.islice(tree.walk(path), _LOOK) if entry.fault is None]
    images = [name for name in names if PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES]
    top = [name for name in names if "/" not in name]
    below = [name for name in images if "/" in name]
    found = []
    if below:
        found.append(Interpretation({"source": "folder", "path": str(path)}, "a folder per class"))
    for name in top:
        if PurePosixPath(name).suffix.lower() in TABLES and (options := _options(path / name)) is not None:
            knobs = {"source": "table", "path": str(path / name), "source_options": options}
            found.append(Interpretation(knobs, f"the classes that {name} lists"))
    if found:
        return found
    archives = [name for name in top if is_archive(name)]
    if not images and archives:
        return [
            Interpretation({"source": "archive", "path": str(path / name)}, f"the archive {name}") for name in archives
        ]
    if not images:
        content = f"{len(names):,} files, but no image" if names else "nothing"
        raise UserError(f"{path} contains {content}: name the folder that contains one folder of images per class")
    return [_flat(path, images)]


def _flat(path: Path, images: Sequence[str]) -> Interpretation:
    """Reads pictures that lie in no folders: by their names, where these tell classes."""
    here = path.resolve()
    others = sorted(
        entry.name for entry in here.parent.iterdir() if entry != here and entry.is_dir() and _has_images(entry)
    )
    if others and path.name not in ("", "."):
        raise UserError(
            f"{path} contains the images of one class; next to it {'are' if len(others) > 1 else 'is'} "
            f"{', '.join(others[:5])}{' ...' if len(others) > 5 else ''}: name the folder above: {_init(path.parent)}"
        )
    classes = Counter(match[1] for name in images if (match := _NAMED.fullmatch(PurePosixPath(name).stem)))
    if 2 <= len(classes) <= len(images) / 3 and min(classes.values()) > 1 and sum(classes.values()) == len(images):
        words = f"the class in each file's name ({', '.join(sorted(classes)[:4])}{' ...' if len(classes) > 4 else ''})"
        return Interpretation({"source": "folder", "path": str(path), "class_from": {"pattern": _PATTERN}}, words)
    raise UserError(
        f"{path} contains {len(images):,} images and no folder per class: move each into a folder named after its "
        f"class (mkdir {shlex.quote(str(path / 'first class'))}), or list them: a line path,label in labels.csv, then "
        f"{_init(Path('labels.csv'))}"
    )


def _options(path: Path) -> dict[str, Any] | None:
    try:
        return list_options(path)
    except UserError:  # a list of something else
        return None


def _has_images(folder: Path) -> bool:
    entries = itertools.islice(folder.iterdir(), 100)
    return any(entry.suffix.lower() in IMAGE_SUFFIXES for entry in entries)


def _init(source: Path) -> str:
    return f"sightline init DIR --images {shlex.quote(str(source))}"


def _sqlite(path: Path, knobs: dict[str, Any]) -> list[Interpretation]:
    """Finds the tables that hold pictures: one column of bytes, and one that is called as a class."""
    import sqlite3
    from contextlib import closing

    found, seen = [], defaultdict(list)
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
        tables = database.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')").fetchall()
        for (table,) in tables:
            quoted = table.replace('"', '""')
            row = database.execute(f'SELECT * FROM "{quoted}" LIMIT 1')  # noqa: S608 - quoted; no other way for a name
            columns = [column[0] for column in row.description]
            seen[table] = columns
            first = row.fetchone()
            images = [name for name, cell in zip(columns, first or (), strict=False) if isinstance(cell, bytes)]
            label = named(columns, LABELS)
            if images and label:
                identity = named(columns, ("id", "name", "path", "filename")) or columns[0]
                options = {"table": table, "image_column": images[0], "label_column": label, "id_column": identity}
                found.append(Interpretation({**knobs, "source_options": options}, f"the table {table}"))
    if not found:
        there = "; ".join(f"{table}: {', '.join(columns)}" for table, columns in seen.items()) or "no table"
        raise UserError(
            f"{path}: no table with a column of images and one called label ({there}): name them, such as "
            "ingest.source_options.table=birds ingest.source_options.image_column=photo "
            "ingest.source_options.label_column=species"
        )
    return found
