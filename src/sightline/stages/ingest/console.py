"""What ingestion says on the terminal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sightline.core import files
from sightline.stages.ingest import audit


def summary_lines(summary: dict[str, Any]) -> list[str]:
    """Returns what to say of a set: the counts, and what a person should look at."""
    rejected = sum(summary["rejected"].values())
    said = [f"{summary['accepted']:,} images of {len(summary['classes'])} classes in {summary['shards']} shards"]
    if rejected:
        why = ", ".join(f"{number:,} {reason}" for reason, number in summary["rejected"].items())
        said.append(
            f"{rejected:,} of {summary['inputs']:,} inputs refused: {why} (data/raw/rejected.parquet); the first: "
            + summary["first_rejected"]
        )
    if summary["unused_labels"]:
        said.append(f"ingest.labels names classes that did not come: {', '.join(summary['unused_labels'])}")
    if lost := summary["lost_classes"]:
        said.append(f"all images of {_listed(lost)} were refused")
    if left_out := summary["rejected"].get("conflict", 0):  # those that are kept are the audit's to name
        conflicts = summary["conflicts"]
        said.append(
            f"{conflicts['pictures']:,} picture(s) under two labels, {left_out:,} input(s) left out by "
            f"ingest.conflicts, as {conflicts['first']}"
        )
    said += [
        f"the labels {_listed(names)} differ in case alone; ingest.labels merges them" for names in _alike(summary)
    ]
    return [*said, *summary["notes"], *audit.finding_lines(summary["audit"])]


def _alike(summary: dict[str, Any]) -> list[list[str]]:
    """Returns the groups of classes whose names differ in case alone."""
    groups: dict[str, list[str]] = {}
    for name in summary["classes"]:
        groups.setdefault(name.casefold(), []).append(name)
    return [names for names in groups.values() if len(names) > 1]


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 5:,} more" if len(names) > 5 else ""
    return ", ".join(map(repr, names[:5])) + more


def class_changes(classes: list[str], memory: Path) -> list[str]:
    """Says which classes appeared and disappeared since the last time, and remembers them for the next.

    Args:
        classes: Of the set that was just written.
        memory: Where the last set's classes are kept, outside what the stage writes: DVC removes that before each run.
    """
    before = set(json.loads(memory.read_text(encoding="utf-8"))) if memory.is_file() else set(classes)
    files.write_json(memory, sorted(classes))
    appeared, gone = sorted(set(classes) - before), sorted(before - set(classes))
    said = [f"new class(es) since the last ingestion: {', '.join(appeared)}"] if appeared else []
    return said + ([f"class(es) gone since the last ingestion: {', '.join(gone)}"] if gone else [])
