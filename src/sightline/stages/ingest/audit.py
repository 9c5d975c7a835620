"""The audit of a raw set: problems that can be detected automatically before training."""

from __future__ import annotations

import posixpath
import sqlite3
from collections.abc import Mapping
from typing import Any

from sightline.datasets.audit_findings import FINDINGS
from sightline.stages.ingest.sorter import ImageSorter

EXAMPLES = 10
"""Maximum number of examples listed for each kind of finding; all findings are counted."""

_SUFFIXES = {
    ".jpg": "JPEG", ".jpeg": "JPEG", ".jpe": "JPEG", ".jfif": "JPEG", ".png": "PNG", ".apng": "PNG", ".webp": "WEBP",
    ".bmp": "BMP", ".dib": "BMP", ".gif": "GIF", ".tif": "TIFF", ".tiff": "TIFF",
    ".ppm": "PPM", ".pgm": "PPM", ".pbm": "PPM", ".pnm": "PPM",
}  # fmt: skip


_COMMON_SIZES = "SELECT width || 'x' || height, count(*) FROM image GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 5"


def audit(sorter: ImageSorter) -> dict[str, Any]:
    """Collects problems of accepted images that do not justify rejection, and passes near duplicates to the sorter.

    Returns:
        JSON values that depend only on the set: `images` (by class and split), `sizes`, `modes`, `formats`; and for
        each kind of finding its count and the first examples by id: `exact_duplicates`, `two_labels` (identical bytes
        under two labels), `two_splits` (identical bytes, near duplicates or a source group that cross the source's own
        splits), `near_duplicates` (groups with one image per distinct content), `few_bits` (files with 16-bit samples),
        `wrong_extension`, `dark`, `bright`, `blurred`, `odd_shape`.
    """
    db = sorter.db
    images: dict[str, dict[str, int]] = {}
    for label, split, number in db.execute("SELECT label, split, count(*) FROM image GROUP BY 1, 2"):
        images.setdefault(label, {})[split or "unsplit"] = number
    near = _near_groups(db)
    sorter.link(near)
    return {
        "images": images,
        "sizes": {
            "width": _range(db, "width"),
            "height": _range(db, "height"),
            "most_common": dict(db.execute(_COMMON_SIZES).fetchall()),
        },
        "modes": sorter.count("SELECT mode, count(*) FROM image GROUP BY 1"),
        "formats": sorter.count("SELECT format, count(*) FROM image GROUP BY 1"),
        "exact_duplicates": _same_bytes(db, "count(*) > 1"),
        "two_labels": _same_bytes(db, "count(DISTINCT label) > 1"),
        "two_splits": _two_splits(db, near),
        "near_duplicates": {"groups": len(near), "examples": [ids[:EXAMPLES] for ids in near[:EXAMPLES]]},
        "few_bits": _few_bits(db),
        "wrong_extension": _wrong_extension(db),
        **{flag: _flagged(db, flag) for flag in ("dark", "bright", "blurred", "odd_shape")},
    }


def _range(db: sqlite3.Connection, column: str) -> dict[str, int]:
    (smallest, largest, count) = db.execute(f"SELECT min({column}), max({column}), count(*) FROM image").fetchone()  # noqa: S608 - constants, here and below
    (median,) = db.execute(f"SELECT {column} FROM image ORDER BY 1 LIMIT 1 OFFSET ?", [count // 2]).fetchone()  # noqa: S608
    return {"min": smallest, "median": median, "max": largest}


def _same_bytes(db: sqlite3.Connection, having: str) -> dict[str, Any]:
    grouped = f"SELECT sha256, min(id) AS first, count(*) AS number FROM image GROUP BY 1 HAVING {having}"  # noqa: S608
    count, number = db.execute(f"SELECT count(*), coalesce(sum(number), 0) FROM ({grouped})").fetchone()  # noqa: S608
    first = db.execute(f"{grouped} ORDER BY 2 LIMIT ?", [EXAMPLES]).fetchall()
    return {"groups": count, "images": number, "examples": [_ids(db, sha256) for sha256, *_ in first]}


def _ids(db: sqlite3.Connection, sha256: str) -> list[str]:
    rows = db.execute("SELECT id FROM image WHERE sha256 = ? ORDER BY id LIMIT ?", [sha256, EXAMPLES])
    return [identity for (identity,) in rows]


def _near_groups(db: sqlite3.Connection) -> list[list[str]]:
    import numpy as np

    from sightline.stages.ingest.image_quality import HASH_BYTES
    from sightline.stages.ingest.near_duplicates import near_groups, near_pairs

    # One image per distinct content, without its id: memory holds only 32 bytes per image.
    db.execute("CREATE TABLE unique_image AS SELECT min(id) AS id, phash FROM image GROUP BY sha256 ORDER BY 1")
    joined = bytearray()
    for (phash,) in db.execute("SELECT phash FROM unique_image ORDER BY rowid"):
        joined += phash
    hashes = np.frombuffer(joined, np.uint8).reshape(-1, HASH_BYTES)
    groups = near_groups(near_pairs(hashes))
    select = "SELECT id FROM unique_image WHERE rowid = ?"
    return [[db.execute(select, [position + 1]).fetchone()[0] for position in group] for group in groups]


def _two_splits(db: sqlite3.Connection, near: list[list[str]]) -> dict[str, Any]:
    exact = _same_bytes(db, "count(DISTINCT split) > 1")
    crossing = [ids for ids in near if len(set().union(*(_splits(db, identity) for identity in ids))) > 1]
    several = 'SELECT "group" FROM image WHERE "group" <> \'\' GROUP BY 1 HAVING count(DISTINCT split) > 1 ORDER BY 1'
    parted = [group for (group,) in db.execute(several)]
    return {
        **exact,
        "near_groups": len(crossing),
        "near_examples": [ids[:EXAMPLES] for ids in crossing[:EXAMPLES]],
        "source_groups": len(parted),
        "source_examples": parted[:EXAMPLES],
    }


def _splits(db: sqlite3.Connection, identity: str) -> set[str]:
    """Returns the splits that the source assigns to an image and to all images with the same bytes."""
    same = "SELECT DISTINCT split FROM image WHERE sha256 = (SELECT sha256 FROM image WHERE id = ?)"
    return {split for (split,) in db.execute(same, [identity]) if split is not None}


def _few_bits(db: sqlite3.Connection) -> dict[str, Any]:
    """Finds files with 16-bit samples that use at most 14 bits; `bits` is the largest number any of them uses."""
    from sightline.imaging.bit_depth import (
        FEW_BITS,  # imported here, as above, so that the stage reports configuration errors without delay
    )

    clause = "FROM image WHERE bits <= ?"
    count, bits = db.execute(f"SELECT count(*), max(bits) {clause}", [FEW_BITS]).fetchone()
    rows = db.execute(f"SELECT id {clause} ORDER BY id LIMIT ?", [FEW_BITS, EXAMPLES])
    return {"images": count, "bits": bits, "examples": [identity for (identity,) in rows]}


def _wrong_extension(db: sqlite3.Connection) -> dict[str, Any]:
    examples: list[str] = []
    number = 0
    for identity, path, name in db.execute("SELECT id, path, format FROM image ORDER BY id"):
        suffix = posixpath.splitext(path or identity)[1].lower()
        if _SUFFIXES.get(suffix, name) != name:
            number += 1
            if len(examples) < EXAMPLES:
                examples.append(f"{identity} is {name}")
    return {"images": number, "examples": examples}


def _flagged(db: sqlite3.Connection, flag: str) -> dict[str, Any]:
    clause = "FROM image WHERE instr(flags, ?)"
    (number,) = db.execute(f"SELECT count(*) {clause}", [flag]).fetchone()
    rows = db.execute(f"SELECT id {clause} ORDER BY id LIMIT ?", [flag, EXAMPLES])
    return {"images": number, "examples": [identity for (identity,) in rows]}


def finding_lines(audit: Mapping[str, Any]) -> list[str]:
    """Returns the findings that are worth a line on the terminal."""
    lines = []
    for kind in FINDINGS:
        if number := kind.count(audit):
            first = kind.examples(audit)[0]
            example = first if isinstance(first, str) else " = ".join(first[:2])
            plural = "s" if number > 1 else ""
            lines.append(f"{number:,} {kind.noun}{plural} {kind.words}, such as {example}{_advice(kind.name, audit)}")
    return lines


def _advice(kind: str, audit: Mapping[str, Any]) -> str:
    """Returns advice on findings of a kind if it includes concrete numbers; otherwise an empty string."""
    if kind != "few_bits":
        return ""
    bits = audit[kind]["bits"]
    return (
        f": they become dark with few levels; the largest sample needs {bits} bits, so if that is white, set "
        f"preprocess.sample_bits={bits}"
    )
