"""Dataset part of the report: splits and classes, the audit of the raw images, and the steps of preprocessing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sightline.core.errors import UserError
from sightline.core.json_fields import field, parse_object
from sightline.datasets import lost_detail as detail
from sightline.datasets.audit_findings import FINDINGS
from sightline.datasets.processed_set import ProcessedSet
from sightline.datasets.raw_lookup import raw_images
from sightline.datasets.raw_set import FORMER_LABELS, SPLITS, SUMMARY
from sightline.imaging.augment.epoch_images import epoch_images
from sightline.imaging.augment.options import POLICIES
from sightline.imaging.transform.pipeline import Transform
from sightline.metrics.base import Labels
from sightline.reporting import contact_sheet
from sightline.reporting.plots.overlay import PIXELATED_MAX_SIDE, encode_picture
from sightline.stages.evaluate.results import SplitPredictions

EPOCHS = 4
"""Number of epochs for which each training image is shown."""
STEPS_SHOWN = 6
"""Number of images on the contact sheet."""


@dataclass(frozen=True)
class Finding:
    """A kind of finding of the audit: number of findings, title, remark, and ids of the first examples."""

    count: int
    title: str
    remark: str
    examples: tuple[str, ...]


@dataclass(frozen=True)
class Audit:
    """The description of the raw set in `ingest.json`.

    Attributes:
        inputs: Number of inputs.
        accepted: Number of inputs that became images.
        rejected: By reason, the number of rejected inputs.
        facts: (name, value) for sizes, formats and modes.
        findings: The kinds of findings with at least one example.
        looked_for: Number of kinds that the audit checks.
        content: The part `audit` of the file, for derived values.
        corrections: Numbers of relabelled and confirmed images and of unmatched corrections; empty without corrections.
    """

    inputs: int
    accepted: int
    rejected: Mapping[str, int]
    facts: Sequence[tuple[str, str]]
    findings: Sequence[Finding]
    looked_for: int
    content: Mapping[str, Any]
    corrections: Mapping[str, int]


def read_audit(raw: Path) -> Audit:
    """Reads the ingest stage's audit.

    Raises:
        UserError: If the file is missing or damaged.
    """
    path = raw / SUMMARY
    try:
        summary = parse_object(path.read_bytes())
        audit = field(summary, "audit", dict)
        findings = [Finding(k.count(audit), k.title, k.remark, _texts(k.examples(audit))) for k in FINDINGS]
        return Audit(
            field(summary, "inputs", int),
            field(summary, "accepted", int),
            field(summary, "rejected", dict),
            _facts(audit),
            [finding for finding in findings if finding.count],
            len(findings),
            audit,
            field(summary, "corrections", dict) if "corrections" in summary else {},
        )
    except FileNotFoundError:
        raise UserError(f"{path} is missing: run the ingest stage") from None
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}): run the ingest stage again") from None


@dataclass(frozen=True)
class CorrectionGain:
    """The model's predictions for the test images with corrected labels.

    Attributes:
        images: Number of these images.
        corrected: Number for which the model predicts the corrected label.
        former: Number for which it predicts the source's label.
        accuracy: Accuracy on all test images.
        former_accuracy: Accuracy on all test images by the source's labels.
    """

    images: int
    corrected: int
    former: int
    accuracy: float
    former_accuracy: float


def correction_gain(raw: Path, test: SplitPredictions, classes: Sequence[str]) -> CorrectionGain | None:
    """Returns the effect of corrected labels on the accuracy; None if no test image was corrected.

    Raises:
        UserError: If the former labels are damaged.
    """
    path = raw / FORMER_LABELS
    if not path.is_file():
        return None
    try:
        labels = parse_object(path.read_bytes())
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}): run the ingest stage again") from None
    index = {name: number for number, name in enumerate(classes)}
    # A former label may no longer be a class; then no prediction matches it.
    former = {place: index.get(labels[id_], -1) for place, id_ in enumerate(test.ids) if id_ in labels}
    if not former:
        return None
    places = list(former)
    right, right_before = int(test.correct[places].sum()), sum(int(test.predicted[p]) == former[p] for p in places)
    total = int(test.correct.sum())
    n = len(test.ids)
    return CorrectionGain(len(places), right, right_before, total / n, (total - right + right_before) / n)


def _texts(examples: Sequence[str | Sequence[str]], most: int = 3) -> tuple[str, ...]:
    return tuple(e if isinstance(e, str) else " = ".join(e[:3]) for e in examples[:most])


def _facts(audit: Mapping[str, Any]) -> list[tuple[str, str]]:
    sizes = field(audit, "sizes", dict)

    def spread(side: str) -> str:
        low, middle, high = (field(field(sizes, side, dict), key, int) for key in ("min", "median", "max"))
        return f"{low} px" if low == high else f"{low} to {high} px, median {middle}"

    def counted(counts: Mapping[str, int]) -> str:
        ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        return ", ".join(f"{name} ({number:,})" if len(ranked) > 1 else name for name, number in ranked)

    return [
        ("Width", spread("width")),
        ("Height", spread("height")),
        ("Formats", counted(field(audit, "formats", dict))),
        ("Pixels", counted(field(audit, "modes", dict))),
    ]


def lost_detail(audit: Audit | None, shape: tuple[int, int, int]) -> str | None:
    """Returns a line on the detail lost by preprocessing to `shape` (height, width, channels); None if negligible."""
    return detail.lost(audit.content, shape[0], shape[2]) if audit else None


def class_counts(data: ProcessedSet) -> dict[str, Labels]:
    """Returns for each split the number of rows per class, [K]."""
    labels, splits = data.index["label"].to_numpy(), np.array(data.index["split"].to_pylist())
    return {name: np.bincount(labels[splits == name], minlength=len(data.classes)) for name in SPLITS}


def split_rows(data: ProcessedSet, table: Mapping[str, Labels]) -> list[dict[str, Any]]:
    """Returns the rows of the table of splits: images, augmented copies, smallest and largest class."""
    splits, ids = data.index["split"].to_pylist(), data.index["id"].to_pylist()
    copies = [s for s, i, origin in zip(splits, ids, data.index["origin"].to_pylist(), strict=True) if i != origin]
    return [
        {
            "name": name,
            "images": int(counts.sum()) - copies.count(name),
            "copies": copies.count(name),
            "smallest": int(counts.min()),
            "largest": int(counts.max()),
        }
        for name, counts in table.items()
    ]


def contact_rows(data: ProcessedSet, raw: Path, ids: Sequence[str]) -> list[contact_sheet.SheetRow]:
    """Returns the rows of the contact sheet: some images before and after every preprocessing step.

    Raises:
        UserError: If the raw set lacks one of them.
    """
    transform = Transform.load(data.transform)
    rows = {i.id: contact_sheet.row_of(transform, i.id, i.label, i.data) for i in raw_images(raw, ids)}
    return [rows[identity] for identity in ids if rows[identity].states]


def training_rows(data: ProcessedSet, training: Mapping[str, Any]) -> list[contact_sheet.SheetRow]:
    """Returns training images as the network saw them in its first epochs; an empty list without augmentation.

    Args:
        data: The processed set.
        training: The settings that the model was trained with, from its `model.json`.
    """
    settings = training.get("augment") or {"name": "none"}
    split = data.split("train")
    if settings["name"] == "none" or not len(split):
        return []
    policy = POLICIES[settings["name"]](**settings)
    _, places = np.unique(split.labels, return_index=True)
    places = places[:STEPS_SHOWN]
    ids, originals = [split.ids[place] for place in places], split.images(places)
    epochs = [
        epoch_images(originals, ids, policy, training["augment_on"], training["seed"], epoch) for epoch in range(EPOCHS)
    ]
    return [
        contact_sheet.SheetRow(
            ids[i],
            data.classes[split.labels[place]],
            [("prepared", originals[i]), *((f"epoch {n}", images[i]) for n, images in enumerate(epochs, 1))],
        )
        for i, place in enumerate(places)
    ]


def contact_cells(row: contact_sheet.SheetRow) -> list[dict[str, Any]]:
    """Returns a row's images for the page: title, size in pixels, encoded image, whether to scale without smoothing."""
    return [
        {
            "title": title,
            "size": f"{state.shape[1]} \u00d7 {state.shape[0]}",
            "image": encode_picture(state),
            "pixelated": max(state.shape[:2]) <= PIXELATED_MAX_SIDE,
        }
        for title, state in contact_sheet.cells_of(row)
    ]
