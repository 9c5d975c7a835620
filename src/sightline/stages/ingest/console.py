"""Terminal output of ingestion."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

from sightline.core import files
from sightline.core.text import listed
from sightline.stages.ingest import audit


def summary_lines(summary: dict[str, Any], raw: str = "") -> list[str]:
    """Returns the lines that describe a set: its counts, and everything worth checking.

    Args:
        summary: As `ingest` returns it.
        raw: Folder of the raw dataset, as `sightline rejected` takes it; empty for the project's.
    """
    rejected = sum(summary["rejected"].values())
    shards = f"{summary['shards']} shard{'s' if summary['shards'] > 1 else ''}"
    lines = [f"{summary['accepted']:,} images of {len(summary['classes'])} classes in {shards}"]
    if rejected:
        reasons = ", ".join(f"{number:,} {reason}" for reason, number in summary["rejected"].items())
        lines.append(
            f"{rejected:,} of {summary['inputs']:,} inputs rejected: {reasons}; the first: "
            f"{summary['first_rejected']}; `{_listing(raw)}` lists all, with remedies"
        )
    lines += correction_lines(summary)
    if summary["unused_labels"]:
        lines.append(
            f"ingest.labels names classes that the source does not have: {', '.join(summary['unused_labels'])}"
        )
    if lost := summary["lost_classes"]:
        lines.append(f"all images of {listed(lost)} were rejected")
    if left_out := summary["rejected"].get("conflict", 0):  # the audit reports those that were kept
        conflicts = summary["conflicts"]
        lines.append(
            f"{conflicts['pictures']:,} image(s) with two labels, {left_out:,} input(s) left out by "
            f"ingest.conflicts, such as {conflicts['first']}"
        )
    lines += [
        f"the labels {listed(names)} differ only in case, spaces or hyphens; ingest.labels merges them"
        for names in _alike(summary)
    ]
    return [*lines, *summary["notes"], *audit.finding_lines(summary["audit"])]


def _listing(raw: str) -> str:
    return " ".join(filter(None, ["sightline rejected", raw and shlex.quote(raw)]))


def unknown_lines(summary: dict[str, Any], raw: str) -> list[str]:
    """Returns the lines that describe the images of none of the classes, whose raw dataset is the folder `raw`."""
    rejected, first = sum(summary["rejected"].values()), summary["first_rejected"]
    lines = [f"{summary['accepted']:,} images of none of the classes (ingest.unknown)"]
    if rejected:
        reasons = ", ".join(f"{number:,} {reason}" for reason, number in summary["rejected"].items())
        counts = f"{rejected:,} of {summary['inputs']:,} of them rejected: {reasons}"
        lines.append(f"{counts}; the first: {first}; `{_listing(raw)}` lists all, with remedies")
    return lines


def correction_lines(summary: dict[str, Any]) -> list[str]:
    """Returns a line that counts the corrections; an empty list if there are none."""
    counts = summary.get("corrections")
    if not counts:
        return []
    removed = summary["rejected"].get("removed", 0)
    line = f"corrections: {counts['relabelled']:,} labels changed, {removed:,} inputs removed, "
    unmatched = f"; {counts['unmatched']:,} match no image here" if counts["unmatched"] else ""
    return [f"{line}{counts['confirmed']:,} confirmed{unmatched}"]


def _alike(summary: dict[str, Any]) -> list[list[str]]:
    """Returns the groups of classes whose names differ only in case, spaces, hyphens or underscores."""
    groups: dict[str, list[str]] = {}
    for name in summary["classes"]:
        groups.setdefault(re.sub(r"[\s_-]+", " ", name.strip().casefold()), []).append(name)
    return [names for names in groups.values() if len(names) > 1]


def class_changes(classes: list[str], memory: Path) -> list[str]:
    """Returns lines that name classes added or gone since the last ingestion, and saves the current classes.

    Args:
        classes: The classes of the set that was just written.
        memory: File with the previous set's classes. It is not one of the stage's outputs, which DVC removes before
            each run.
    """
    before = set(json.loads(memory.read_text(encoding="utf-8"))) if memory.is_file() else set(classes)
    files.write_json(memory, sorted(classes))
    appeared, gone = sorted(set(classes) - before), sorted(before - set(classes))
    lines = [f"new class(es) since the last ingestion: {', '.join(appeared)}"] if appeared else []
    return lines + ([f"class(es) gone since the last ingestion: {', '.join(gone)}"] if gone else [])
