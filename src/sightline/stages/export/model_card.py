"""The model card of a bundle in Markdown: data, metrics, limits and licence."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sightline.core.text import for_markdown
from sightline.imaging.transform.pipeline import Transform
from sightline.models.novelty_detector import FittedNovelty
from sightline.stages.export.calibration_file import Calibration
from sightline.stages.export.result import ExportResult


@dataclass(frozen=True)
class CardContent:
    """The content of a model card, without the parity check.

    Attributes:
        license: The model's licence.
        classes: Class names in order of index.
        architecture: The network's name and settings.
        transform: The preprocessing transform.
        images_per_split: Number of images by split.
        metrics: Metrics of the test split, flat.
        calibration: The calibration of its probabilities.
        lineage: Digests of the bundle's inputs.
        initial: SHA-256 and licence of the file of initial weights; None without.
        start: The model that training started from, as `model.json` records it; empty without.
        novelty: The detector of images that are none of the classes; None without one.
    """

    license: str
    classes: list[str]
    architecture: Mapping[str, Any]
    transform: Transform
    images_per_split: Mapping[str, int]
    metrics: Mapping[str, Any]
    calibration: Calibration
    lineage: dict[str, str]
    initial: Mapping[str, str] | None = None
    start: Mapping[str, Any] = field(default_factory=dict)
    novelty: FittedNovelty | None = None


def render_card(content: CardContent, outcome: ExportResult, tolerance: float) -> str:
    """Returns the card as Markdown, with the front matter that the Hugging Face hub reads.

    Args:
        content: The card's content.
        outcome: The result of the export, with its parity check.
        tolerance: Maximum allowed difference of a probability.
    """
    splits = content.images_per_split
    total = sum(splits.values())
    transform = content.transform
    steps = [f"{step} ({option.name})" for step, option in transform.steps.items() if option.name != "none"]
    colour = "grey" if transform.channels == 1 else "RGB"
    test = splits.get("test", 0)
    network = for_markdown(content.architecture["name"])
    return f"""---
license: {json.dumps(content.license)}
library_name: onnx
pipeline_tag: image-classification
---

# Image classifier: {len(content.classes)} classes

Architecture: {network}. Licence: {for_markdown(content.license)}.{_initial(content.initial)}{_start(content.start)}

## Use

`sightline predict BUNDLE IMAGE...` does everything below from the encoded file. `model.onnx` takes what `contract.json`
makes of an image, `images`: uint8 [N, {", ".join(map(str, transform.shape))}], and gives `probabilities`: float32
[N, {len(content.classes)}], in the order of `classes.json`{_second_output(content.novelty)}. Normalisation, temperature
and softmax are inside.

{_forms(outcome)}

Preprocessing: {colour}, {", ".join(steps)}; to {transform.size} x {transform.size} pixels.

Classes: {_listed(content.classes)}.

## Data

{total:,} images: {", ".join(f"{count:,} {name}" for name, count in splits.items())}. Identical images,
and images of one group, are in one split only.

## Metrics on the test split ({test:,} images)

{_metrics(content.metrics)}

## Limits

{_novelty(content.novelty, content.metrics)}
- The figures hold for images like those that it was trained and tested on.
{_calibrated(content.calibration)}

## Parity check

`model.onnx` was compared with the trained model on {outcome.parity.images:,} images ({_counted(outcome.counts)}), from
encoded bytes to probabilities: the same class for each, and no probability more than {tolerance:g} apart.
{_integers(outcome)}

{chr(10).join(f"- {name}: `{digest}`" for name, digest in content.lineage.items() if digest)}
"""


def _initial(initial: Mapping[str, str] | None) -> str:
    if initial is None:
        return ""
    return f" Trained from weights of the licence {for_markdown(initial['license'])} (SHA-256 `{initial['sha256']}`)."


def _start(start: Mapping[str, Any]) -> str:
    if not start:
        return ""
    known = (
        f"Training started from the model `{start['model_sha256']}`, which knew {len(start['kept']):,} of the classes"
    )
    return f" {known}; new: {_listed(start['new'])}." if start["new"] else f" {known}."


def _second_output(novelty: FittedNovelty | None) -> str:
    return "" if novelty is None else ", and `novelty`: float32 [N]"


def _novelty(novelty: FittedNovelty | None, metrics: Mapping[str, Any]) -> str:
    """Returns the limits of recognising images of none of the classes."""
    if novelty is None:
        return (
            "- It predicts one of its classes for every image, whatever it shows: images of other classes are not "
            "recognised."
        )
    return (
        f"- An image whose `novelty` is above 1 is unlike all classes: its thresholds were set on {novelty.images:,}\n "
        f" validation images, so that some {100 * novelty.rate:g} % of each class's own images count as novel (of all "
        "images together where a class has too few). With "
        "`--abstain` these get no class.\n  An image that belongs to no class but looks much like one may stay "
        "below the threshold." + _refused(metrics)
    )


def _refused(metrics: Mapping[str, Any]) -> str:
    """Returns the share of unknown test images that are detected; empty if there were none."""
    if "unknown_refused" not in metrics:
        return ""
    share, low, high = (100 * metrics[f"unknown_refused{end}"] for end in ("", "_low", "_high"))
    return (
        f"\n  Of the unknown images that were set aside to test it, {share:.1f} % are detected (95 % interval "
        f"{low:.1f} to {high:.1f})."
    )


def _counted(counts: Mapping[str, int]) -> str:
    return " and ".join(f"{count:,} {split}" for split, count in counts.items())


def _forms(outcome: ExportResult) -> str:
    """Returns which files hold the network, and which of them predicts by default."""
    kept = outcome.int8 is not None and outcome.int8.refused is None
    if not kept:
        return "Predicts: `model.onnx`, in 32-bit floats."
    files = {"fp32": "`model.onnx`, in 32-bit floats", "int8": "`model.int8.onnx`, in 8-bit integers"}
    other = next(form for form in files if form != outcome.default)
    return f"Predicts by default: {files[outcome.default]}. The other: {files[other]}."


def _integers(outcome: ExportResult) -> str:
    if outcome.int8 is None:
        return ""
    compared = (
        "\nIn 8-bit integers the network predicts the same class as in floats for "
        f"{100 * outcome.int8.agreement:.2f} % of these images;\nits accuracy there differs by "
        f"{0 - outcome.int8.accuracy_loss:+.2f} percentage points."
    )
    return compared + (f"\nIt is not part of the bundle: {outcome.int8.refused}." if outcome.int8.refused else "")


def _calibrated(calibration: Calibration) -> str:
    """Returns how the probabilities are calibrated, and what the threshold means."""
    text = (
        f"- Probabilities are calibrated by temperature scaling (T = {calibration.temperature:.4g}, fitted on the "
        "validation split).\n"
    )
    if calibration.tta:
        text += (
            f"- Each answer is the mean over views of the image ({', '.join(calibration.tta)}): the network does it.\n"
        )
    target = f"{100 * calibration.target_accuracy:g} %"
    if calibration.threshold is None:
        return f"{text}- No threshold on them reaches an accuracy of {target} on the validation split."
    share = f"{100 * calibration.coverage:.1f} % of the validation images"
    return (
        f"{text}- Where the largest probability is {calibration.threshold:.4g} or more, as for {share}, at least\n"
        f"  {target} of these were right; `calibration.json` holds the threshold."
    )


def _metrics(metrics: Mapping[str, Any]) -> str:
    """Returns the metrics as a table; `x_low` and `x_high` are the 95 % interval of `x`.

    Metrics of single classes, of which there may be hundreds, are only in the report.
    """
    ends = {f"{name}_{end}" for name in metrics for end in ("low", "high")}
    rows = ["| metric | value | 95 % interval |", "| --- | --- | --- |"]
    for name, value in metrics.items():
        if name not in ends and "/class_" not in name:
            low, high = metrics.get(f"{name}_low"), metrics.get(f"{name}_high")
            interval = f"{_as_text(low)} to {_as_text(high)}" if low is not None and high is not None else ""
            rows.append(f"| {for_markdown(name)} | {_as_text(value)} | {interval} |")
    return "\n".join(rows)


def _as_text(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else for_markdown(value)


def _listed(names: list[str], most: int = 50) -> str:
    shown = ", ".join(map(for_markdown, names[:most]))
    return shown if len(names) <= most else f"{shown} and {len(names) - most:,} more (see `classes.json`)"
