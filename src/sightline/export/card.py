"""The model card: what a person needs to know before using the bundle, from what the pipeline knows."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sightline.contract.contract import Contract


@dataclass(frozen=True)
class Facts:
    """What a card says.

    Attributes:
        license: The model's licence.
        classes: Class names in order of index.
        architecture: The network's name and settings.
        contract: The preprocessing contract.
        images_per_split: Number of images by split.
        metrics: Of the test split, flat; empty if it was not evaluated.
        parity_images: On how many images the bundle was compared with the trained model.
        parity_tolerance: Largest difference of a probability that was allowed.
        lineage: Digests of what the bundle was made from.
    """

    license: str
    classes: list[str]
    architecture: Mapping[str, Any]
    contract: Contract
    images_per_split: Mapping[str, int]
    metrics: Mapping[str, Any]
    parity_images: int
    parity_tolerance: float
    lineage: Mapping[str, str]


def render(facts: Facts) -> str:
    """Returns the card as Markdown, with the front matter that the Hugging Face hub reads."""
    splits = facts.images_per_split
    total = sum(splits.values())
    contract = facts.contract
    steps = [f"{step} ({option.name})" for step, option in contract.steps.items() if option.name != "none"]
    colour = "grey" if contract.channels == 1 else "RGB"
    test = splits.get("test", 0)
    return f"""---
license: {json.dumps(facts.license)}
library_name: onnx
pipeline_tag: image-classification
---

# Image classifier: {len(facts.classes)} classes

Architecture: {_text(facts.architecture["name"])}. Licence: {_text(facts.license)}.

## Use

`sightline predict BUNDLE IMAGE...` does everything below from the encoded file. `model.onnx` takes what `contract.json`
makes of an image, `images`: uint8 [N, {", ".join(map(str, contract.shape))}], and gives `probabilities`: float32
[N, {len(facts.classes)}], in the order of `classes.json`. Normalisation and softmax are inside.

Preprocessing: {colour}, {", ".join(steps)}; to {contract.size} x {contract.size} pixels.

Classes: {_listed(facts.classes)}.

## Data

{total:,} images: {", ".join(f"{count:,} {name}" for name, count in splits.items())}. Images that are equal,
and those of one group, are in one split only.

## Metrics on the test split ({test:,} images)

{_metrics(facts.metrics)}

## Limits

- It names one of its classes for every image, of whatever it is: what was not among the classes is not recognised.
- The figures hold for images like those it was trained and tested on.
- Probabilities are not calibrated.

## Proof

Compared with the trained model on {facts.parity_images:,} images of the data, from encoded bytes to probabilities:
the same class for each, and no probability more than {facts.parity_tolerance:g} apart.

{chr(10).join(f"- {name}: `{digest}`" for name, digest in facts.lineage.items() if digest)}
"""


def _metrics(metrics: Mapping[str, Any]) -> str:
    """Returns the metrics as a table; `x_low` and `x_high` are the 95 % interval of `x`."""
    if not metrics:
        return "Not evaluated."
    ends = {f"{name}_{end}" for name in metrics for end in ("low", "high")}
    rows = ["| metric | value | 95 % interval |", "| --- | --- | --- |"]
    for name, value in metrics.items():
        if name not in ends:
            low, high = metrics.get(f"{name}_low"), metrics.get(f"{name}_high")
            interval = f"{_number(low)} to {_number(high)}" if low is not None and high is not None else ""
            rows.append(f"| {_text(name)} | {_number(value)} | {interval} |")
    return "\n".join(rows)


def _number(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else _text(value)


def _listed(names: list[str], most: int = 50) -> str:
    shown = ", ".join(map(_text, names[:most]))
    return shown if len(names) <= most else f"{shown} and {len(names) - most:,} more (see `classes.json`)"


def _text(value: object) -> str:
    """Escapes what Markdown, HTML or a table row would take for markup: class names come from the data."""
    return re.sub(r"([\\`*_\[\]<>|#&~])", r"\\\1", " ".join(str(value).split()))
