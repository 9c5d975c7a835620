"""Ingestion: every input of a source becomes a row either of a shard or of `rejected.parquet`."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from sightline.core import files
from sightline.core.errors import UserError
from sightline.core.progress import track
from sightline.core.project import located
from sightline.core.rejection import RejectionError, RejectionReason
from sightline.core.text import composed
from sightline.datasets import raw_set
from sightline.datasets.raw_set import ImageRecord, Rejection
from sightline.sources import remote
from sightline.sources.additions import with_additions
from sightline.sources.base import Source, SourceWithNotes
from sightline.sources.layout import split_of
from sightline.stages.ingest import remedies
from sightline.stages.ingest.audit import audit
from sightline.stages.ingest.check_result import CheckFailure, CheckResult
from sightline.stages.ingest.config import IngestConfig
from sightline.stages.ingest.conflicts import resolve_conflicts
from sightline.stages.ingest.correction_overlay import CorrectionOverlay
from sightline.stages.ingest.label_map import LabelMap
from sightline.stages.ingest.sorter import ImageSorter
from sightline.stages.ingest.workers import CheckPool

_GOES_ON = "goes on without them, and `sightline rejected` lists them"

SourceItem = ImageRecord | Rejection


def ingest(source: Source, config: IngestConfig, out: Path, knob: str | None = None) -> dict[str, Any]:
    """Writes the raw set of a source below `out`.

    Args:
        source: The source of the images.
        config: The `ingest` section.
        out: An empty folder, to which `shard-*.parquet`, `classes.json`, `rejected.parquet`, `near.parquet` and
            `ingest.json` are written, and `former_labels.json` if corrections changed labels.
        knob: The setting that names the source, for messages; None for `ingest.source`.

    Returns:
        The content of `ingest.json`, a pure function of the set, the configuration and the corrections (counted in
        `corrections` if there are any); and the source's `notes`.

    Raises:
        UserError: If the source cannot be reached, or its images do not make a valid set.
    """
    labels = LabelMap.load(located(config.labels) if config.labels else None)
    overlay = CorrectionOverlay(located(config.corrections) if config.corrections else None)
    source = with_additions(source, located(config.additions) if config.additions else None, config.max_bytes)
    with ImageSorter(out / ".sorter") as sorter, CheckPool(limits_of(config), config.workers) as workers:
        inputs = itertools.islice(source.records(), config.limit)
        for record, outcome in workers.imap(_gate(track(inputs, "reading"), labels, overlay)):
            _take(record, outcome, sorter, overlay)
        overlay.require_classes(labels.seen)
        conflicts = resolve_conflicts(sorter, config.conflicts)
        classes = sorter.count("SELECT label, count(*) FROM image GROUP BY 1")
        rejected = sorter.count("SELECT reason, count(*) FROM rejection GROUP BY 1")
        _require_a_set(classes, rejected, sorter, config, knob)
        images = track(sorter.images(), "writing", sum(classes.values()))
        shards = raw_set.write_raw_shards(images, out)
        raw_set.write_rejected(sorter.rejections(), out / raw_set.REJECTED)
        summary = {
            "inputs": sum(classes.values()) + sum(rejected.values()),
            "accepted": sum(classes.values()),
            "rejected": rejected,
            "classes": classes,
            "shards": len(shards),
            "unused_labels": sorted(labels.unused),
            "conflicts": conflicts,
            "first_rejected": _first(sorter),
            "lost_classes": sorted(labels.seen - set(classes)),
            "audit": audit(sorter),
        }
        if corrections := overlay.summary():
            summary["corrections"] = corrections
        if overlay.former:
            files.write_json(out / raw_set.FORMER_LABELS, dict(sorted(overlay.former.items())))
        raw_set.write_near(sorter.near(), out / raw_set.NEAR)
    raw_set.write_classes(list(classes), out / raw_set.CLASSES)
    files.write_json(out / raw_set.SUMMARY, summary)
    # Notes are about the set's origin, so they are not written: the same set from elsewhere gives the same files.
    return {**summary, "notes": list(source.notes) if isinstance(source, SourceWithNotes) else []}


def limits_of(config: IngestConfig) -> dict[str, Any]:
    """Returns the limits for an image as arguments of `sightline.imaging.image_file.Limits`."""
    return {
        "max_pixels": config.max_pixels,
        "max_bytes": config.max_bytes,
        "max_frames": config.max_frames,
        "first_frame": config.first_frame,
        "formats": tuple(config.formats),
    }


def _gate(
    inputs: Iterable[SourceItem], labels: LabelMap, overlay: CorrectionOverlay
) -> Iterator[tuple[SourceItem, bytes | None]]:
    """Rejects records with a bad label or split, and yields the others with their bytes for checking."""
    for record in inputs:
        if isinstance(record, Rejection):
            yield record, None
            continue
        try:
            if record.label:
                label = labels.apply(record.label)
            elif (given := overlay.label_of_unlabelled(record.data)) is not None:
                label = given
            else:
                raise RejectionError(RejectionReason.NO_LABEL, "the source gives it no class")
            split = split_of(record.split) if record.split else None
            if record.split and split is None:
                raise RejectionError(
                    RejectionReason.BAD_SPLIT, f"{record.split!r} is not one of {', '.join(raw_set.SPLITS)}"
                )
        except RejectionError as error:
            yield Rejection(record.id, error.reason, error.detail), None
        else:
            group = composed(record.group) if record.group else record.group
            if (label, split, group) != (record.label, record.split, record.group):
                record = ImageRecord(record.id, record.data, label, split, group, record.path)
            yield record, record.data


def _take(record: SourceItem, outcome: CheckResult | None, sorter: ImageSorter, overlay: CorrectionOverlay) -> None:
    if isinstance(record, Rejection):
        sorter.reject(record)
    elif isinstance(outcome, CheckFailure):
        sorter.reject(Rejection(record.id, outcome.reason, outcome.detail))
    elif outcome is not None and record.label is not None:
        try:
            label = overlay.apply(outcome.sha256, record.label, record.id)
        except RejectionError as error:
            sorter.reject(Rejection(record.id, error.reason, error.detail))
        else:
            sorter.add(record, label, record.split, outcome)
    else:
        raise AssertionError(f"{record.id!r} was not checked")


def _first(sorter: ImageSorter) -> str | None:
    first = next(sorter.rejections(), None)
    return f"{first.id}: {first.detail or first.reason}" if first else None


def _require_a_set(
    classes: dict[str, int], rejected: dict[str, int], sorter: ImageSorter, config: IngestConfig, knob: str | None
) -> None:
    """Ends the stage if the set does not meet the configured requirements."""
    rejections, accepted = sum(rejected.values()), sum(classes.values())
    total = accepted + rejections
    named = knob or f"ingest.source={config.source.name}"
    if not total:
        place = config.path or (remote.location(config.url) if config.url else "the source")
        remedy = f"set {knob or 'ingest.path or ingest.url'} to the place of the images"
        raise UserError(f"{named}: there is nothing in {place} (hidden files are ignored); {remedy}")
    reasons = ", ".join(f"{number:,} {reason}" for reason, number in rejected.items())
    first = _first(sorter)
    example = f"; the first: {first}" if first else ""
    if not accepted:
        most_frequent = max(rejected, key=lambda reason: rejected[reason])
        unlabelled = most_frequent == RejectionReason.NO_LABEL and config.source.no_label_remedy
        remedy = f"; {unlabelled}" if unlabelled else remedies.remedy_of_reason(most_frequent, "; ")
        raise UserError(f"{named}: all {total:,} inputs were rejected ({reasons}){example}{remedy}")
    unwanted = rejections - rejected.get(RejectionReason.REMOVED, 0)  # removals by a correction are intended
    of = f" of {knob}" if knob else ""
    if unwanted and config.on_reject == "fail":
        raise UserError(
            f"ingest.on_reject=fail: {unwanted:,} of {total:,} inputs{of} were rejected ({reasons}){example}; "
            f"ingest.on_reject=warn {_GOES_ON}"
        )
    if unwanted > config.max_rejected * total:
        most = f"ingest.max_rejected={config.max_rejected:g}"
        raise UserError(
            f"{most}: {unwanted:,} of {total:,} inputs{of} were rejected ({reasons}){example}; "
            f"ingest.max_rejected=1 {_GOES_ON}"
        )
    if small := [f"{label!r} ({number})" for label, number in classes.items() if number < config.min_per_class]:
        raise UserError(
            f"ingest.min_per_class={config.min_per_class}: too few images of {', '.join(small[:10])}; "
            "add some, or drop or merge the class: ingest.labels=FILE, a YAML file of lines old: new or old: null"
        )
