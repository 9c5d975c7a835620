"""The report: one HTML page that holds everything it shows, the same bytes for the same results."""

from __future__ import annotations

import base64
import io
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from PIL import Image

from sightline import files
from sightline.evaluate.plots import Error
from sightline.evaluate.style import DPI
from sightline.metrics.base import Labels
from sightline.metrics.classification import ClassScore
from sightline.records import CLASSES, SPLITS
from sightline.shards import CONTRACT, INDEX, Images, ProcessedSet

TEMPLATE = "report.html.j2"
MOST_CONFUSIONS = 10
FEW_IMAGES = 10
_PERCENT = "\u00a0%"

# Name in metrics.json: (name for a person, what it is, whether it is shown in percent).
_NUMBERS = {
    "accuracy": ("Accuracy", "share of test images answered right", True),
    "balanced_accuracy": ("Balanced accuracy", "mean recall of the classes that have test images", True),
    "precision_macro": (
        "Precision, macro",
        "of the images given a class, the share that is right (0 if none); mean over classes",
        True,
    ),
    "recall_macro": ("Recall, macro", "of a class's images, the share found; mean over classes", True),
    "f1_macro": ("F1, macro", "harmonic mean of precision and recall; mean over classes", True),
    "precision_weighted": ("Precision, weighted", "mean over classes by number of test images", True),
    "recall_weighted": ("Recall, weighted", "mean over classes by number of test images; equals accuracy", True),
    "f1_weighted": ("F1, weighted", "mean over classes by number of test images", True),
    "log_loss": ("Log loss", "mean negative log-probability of the true class; 0 is perfect", False),
}


@dataclass(frozen=True)
class Picture:
    """One figure of the report, drawn for light and for dark paper (PNG), and its description in words."""

    light: bytes
    dark: bytes
    alt: str
    caption: str

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in CSS pixels, from the PNG's header."""
        width, height = struct.unpack(">II", self.light[16:24])
        return round(width * 96 / DPI), round(height * 96 / DPI)


@dataclass(frozen=True)
class Results:
    """All that a report shows.

    Attributes:
        split: Name of the split scored.
        numbers: As in `metrics.json`.
        scores: One a class.
        counts: [K, K] confusion matrix, rows true.
        errors: The errors to show.
        images: [len(errors), height, width, channels] uint8, their pictures.
        figures: By name: `confusion_counts`, `confusion_rates`, `per_class`, `training_*`; any may be missing.
        model_info: What to say about the model, nested mappings of plain values.
    """

    split: str
    numbers: Mapping[str, float]
    scores: Sequence[ClassScore]
    counts: Labels
    errors: Sequence[Error]
    images: Images
    figures: Mapping[str, Picture]
    model_info: Mapping[str, Any]


def render(data: ProcessedSet, results: Results) -> str:
    """Returns the page. Class names and ids are escaped, whatever they hold; the page asks for nothing outside it."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"percent": percent, "share": share, "data_uri": data_uri, "grouped": grouped}
    table = class_counts(data)
    return environment.get_template(TEMPLATE).render(
        r=results,
        classes=data.classes,
        shape=data.shape,
        summary=summary(results, data.classes, table),
        rows=number_rows(results.numbers),
        class_counts=table,
        splits=split_rows(data, table),
        confusions=most_confused(results.counts),
        gallery=[(error, thumbnail(image)) for error, image in zip(results.errors, results.images, strict=True)],
        lineage=[*flatten(results.model_info), *data_digests(data)],
        absent=[i for i, score in enumerate(results.scores) if score.support == 0],
        few=[i for i, score in enumerate(results.scores) if 0 < score.support < FEW_IMAGES],
        few_images=FEW_IMAGES,
        training=[name for name in results.figures if name.startswith("training_")],
        pixelated=max(data.shape[:2]) < 96,
    )


def summary(results: Results, classes: Sequence[str], table: Mapping[str, Labels]) -> list[str]:
    """Returns three sentences: how good, where it fails, against what."""
    n = results.numbers
    low, high = share(n["accuracy_low"]), share(n["accuracy_high"])
    first = (
        f"The model is right on {percent(n['accuracy'])} of {grouped(n['images'])} {results.split} images "
        f"(95 % interval {low} to {high} %)."
    )
    confused = most_confused(results.counts, 1)
    if confused:
        true, said, count, _ = confused[0]
        worst = min((i for i, s in enumerate(results.scores) if s.support), key=lambda i: (results.scores[i].recall, i))
        second = (
            f"It finds “{classes[worst]}” least reliably ({percent(results.scores[worst].recall)} of its images), and "
            f"most often takes “{classes[true]}” for “{classes[said]}” ({times(count)})."
        )
    else:
        second = "It makes no error on these images, so that they cannot show where it would fail."
    guess = int(table["train"].argmax())
    always = results.scores[guess].support / n["images"]
    third = (
        f"Always answering “{classes[guess]}”, the most frequent training class, would be right on {percent(always)}."
    )
    return [first, second, third]


def number_rows(numbers: Mapping[str, float]) -> list[tuple[str, str, str, str]]:
    """Returns what the table of metrics shows: name, value, 95 % interval or nothing, meaning."""
    known = dict(_NUMBERS)
    for name in numbers:
        if match := re.fullmatch(r"top_(\d+)_accuracy", name):
            known[name] = (f"Top-{match[1]} accuracy", f"the true class is among the {match[1]} most probable", True)
    rows = []
    for name, (title, meaning, in_percent) in known.items():
        if name in numbers:
            form = percent if in_percent else "{:.3f}".format
            low, high = numbers.get(f"{name}_low"), numbers.get(f"{name}_high")
            between = "" if low is None or high is None else f"{form(low).removesuffix(_PERCENT)} to {form(high)}"
            rows.append((title, form(numbers[name]), between, meaning))
    return rows


def class_counts(data: ProcessedSet) -> dict[str, Labels]:
    """Returns for each split the number of rows of each class, [K]."""
    labels, splits = data.index["label"].to_numpy(), np.array(data.index["split"].to_pylist())
    return {name: np.bincount(labels[splits == name], minlength=len(data.classes)) for name in SPLITS}


def split_rows(data: ProcessedSet, table: Mapping[str, Labels]) -> list[dict[str, Any]]:
    """Returns what the table of splits shows: images, augmented copies, smallest and largest class."""
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


def most_confused(counts: Labels, n: int = MOST_CONFUSIONS) -> list[tuple[int, int, int, float]]:
    """Returns the most frequent errors: true class, predicted class, images, share of the true class's images."""
    wrong = counts * (1 - np.eye(len(counts), dtype=np.int64))
    pairs = [(int(t), int(p), int(wrong[t, p])) for t, p in zip(*np.nonzero(wrong), strict=True)]
    pairs.sort(key=lambda pair: (-pair[2], pair[0], pair[1]))
    return [(t, p, count, count / int(counts[t].sum())) for t, p, count in pairs[:n]]


def data_digests(data: ProcessedSet) -> list[tuple[str, str]]:
    """Returns the digests that name the data: of its index (which names every shard), class map and contract."""
    return [(f"data.{name}", f"sha256:{files.sha256_file(data.root / name)}") for name in (INDEX, CLASSES, CONTRACT)]


def flatten(node: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Returns nested mappings as pairs of dotted key and text, in the order given.

    >>> flatten({"name": "cnn", "train": {"lr": 0.1}})
    [('name', 'cnn'), ('train.lr', '0.1')]
    """
    rows: list[tuple[str, str]] = []
    for key, value in node.items():
        if isinstance(value, Mapping):
            rows += flatten(value, f"{prefix}{key}.")
        else:
            rows.append((f"{prefix}{key}", str(value)))
    return rows


def thumbnail(image: Images) -> bytes:
    """Returns an image [height, width, 1 or 3] as PNG."""
    stream = io.BytesIO()
    Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image).save(stream, "PNG", optimize=True)
    return stream.getvalue()


def data_uri(png: bytes) -> str:
    """Returns a PNG as a `data:` address."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


def share(value: float) -> str:
    """Returns a share as a number of percent with one decimal; never rounds an imperfect one up to 100.

    >>> share(0.5), share(0.9996), share(0.0004), share(1)
    ('50.0', '99.9', '0.1', '100.0')
    """
    if 0 < value < 1:
        value = min(max(value, 0.001), 0.999)
    return f"{100 * value:.1f}"


def percent(value: float) -> str:
    """Returns `share` with its sign and a space that does not break."""
    return share(value) + _PERCENT


def grouped(value: float) -> str:
    """Returns a count with thin spaces between thousands."""
    return f"{int(value):,}".replace(",", "\u202f")


def times(count: int) -> str:
    """Returns `once`, `twice` or `<count> times`."""
    return {1: "once", 2: "twice"}.get(count, f"{count} times")
