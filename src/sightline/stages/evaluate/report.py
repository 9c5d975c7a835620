"""Evaluation report: one self-contained HTML page, with the same bytes for the same results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sightline.datasets.processed_set import ProcessedSet
from sightline.metrics.base import Bools, Interval, Labels
from sightline.metrics.intervals import wilson
from sightline.metrics.metric import PerClassMetric
from sightline.metrics.metric_table import of_kind
from sightline.reporting.cards import Card, View
from sightline.reporting.contact_sheet import SheetRow
from sightline.reporting.formatting import grouped, percent, points, share, times
from sightline.reporting.metric_titles import metric_rows as number_rows
from sightline.reporting.plots.overlay import PIXELATED_MAX_SIDE, encode_picture
from sightline.reporting.render import Picture, render
from sightline.stages.evaluate import provenance
from sightline.stages.evaluate.dataset_summary import (
    Audit,
    CorrectionGain,
    class_counts,
    contact_cells,
    lost_detail,
    split_rows,
)
from sightline.stages.evaluate.explain import Explainer
from sightline.stages.evaluate.image_browser import BrowsedImage
from sightline.stages.evaluate.results import Evaluation, Slice, Suspect
from sightline.stages.evaluate.set_scores import SetScore

TEMPLATE = "report.html.j2"
MOST_CONFUSIONS = 10
FEW_IMAGES = 10
MOST_SLICES = 12
MOST_CELLS = 25
"""Maximum number of classes for which the page has the confusion matrix as a table whose cells filter the gallery."""
MOST_NAMED = 4
SCRIPT = "gallery.js"


@dataclass(frozen=True)
class ReportContent:
    """The content of a report; sections without content are omitted.

    Attributes:
        found: The evaluation.
        figures: By name; any may be missing.
        errors: The errors to show, worst first.
        uncertain: The most uncertain predictions.
        typical: The most typical image of each class.
        novel: The most novel images, each with its score.
        suspects: Labels that are probably wrong, with their images.
        explainer: The method that made the heat maps of the cards.
        audit: The findings of ingestion.
        correction_gain: The effect of corrected labels of test images; None without such.
        contact: The contact sheet's rows.
        browsed: The images of the gallery that can be filtered.
        title: The dataset's name; None to name it by its classes.
        augmented: Images as training saw them.
        model_info: Facts about the model, nested mappings of plain values.
    """

    found: Evaluation
    figures: Mapping[str, Picture]
    errors: Sequence[Card] = ()
    uncertain: Sequence[Card] = ()
    typical: Sequence[Card] = ()
    novel: Sequence[tuple[Card, float]] = ()
    suspects: Sequence[tuple[Suspect, View]] = ()
    explainer: Explainer | None = None
    audit: Audit | None = None
    correction_gain: CorrectionGain | None = None
    contact: Sequence[SheetRow] = ()
    browsed: Sequence[BrowsedImage] = ()
    title: str | None = None
    augmented: Sequence[SheetRow] = ()
    model_info: Mapping[str, Any] = field(default_factory=dict)


def render_report(data: ProcessedSet, results: ReportContent) -> str:
    """Returns the page. All class names and ids are escaped; the page loads nothing from elsewhere."""
    table = class_counts(data)
    found = results.found
    return render(
        Path(__file__).parent,
        TEMPLATE,
        r=results,
        found=found,
        numbers=found.numbers,
        split=found.test.split,
        classes=data.classes,
        shape=data.shape,
        summary=summary(results, table),
        facts=facts(results),
        rows=number_rows(found.numbers),
        class_counts=table,
        per_class=of_kind(PerClassMetric),
        lost=lost_detail(results.audit, data.shape),
        splits=split_rows(data, table),
        confusions=most_confused(found.counts),
        slices=shown_slices(found),
        unknown=unknown_rows(found),
        model=model_name(results.model_info),
        version=str(results.model_info.get("weights_sha256", ""))[:8],
        set_name=results.title or set_name(found.classes),
        counts=found.counts.tolist() if len(found.classes) <= MOST_CELLS else None,
        script=(Path(__file__).parent / SCRIPT).read_text(encoding="utf-8") if results.browsed else None,
        steps=[(row, contact_cells(row)) for row in results.contact],
        augmented=[(row, contact_cells(row)) for row in results.augmented],
        digests=provenance.digests(results.model_info, data),
        environment=provenance.environment(results.model_info),
        settings=provenance.flat_settings(results.model_info),
        absent=[i for i, score in enumerate(found.scores) if score.support == 0],
        few=[i for i, score in enumerate(found.scores) if 0 < score.support < FEW_IMAGES],
        few_images=FEW_IMAGES,
        training=[name for name in results.figures if name.startswith("training_")],
    )


@dataclass(frozen=True)
class UnknownRow:
    """Novelty and prediction sets of some test images.

    Attributes:
        images: Number of images.
        novel: The share that is novel, with its 95 % interval; None without a detector or images.
        sets: The prediction sets at the coverage that is shown; None without sets or images.
    """

    images: int
    novel: tuple[float, Interval] | None
    sets: SetScore | None


def unknown_rows(found: Evaluation) -> dict[str, list[UnknownRow]]:
    """Returns a row for each class ("classes"), and for each of the shown slices ("slices")."""

    def row(members: Bools) -> UnknownRow:
        flagged = found.novelty.flagged if found.novelty and found.novelty.fitted else None
        share = None
        if flagged is not None and members.any():
            share = float(flagged[members].mean()), wilson(int(flagged[members].sum()), int(members.sum()))
        return UnknownRow(int(members.sum()), share, found.sets.of(members) if found.sets else None)

    none = np.zeros(len(found.test.ids), bool)
    return {
        "classes": [row(found.test.labels == label) for label in range(len(found.classes))],
        "slices": [row(none if s.members is None else s.members) for s in shown_slices(found)],
    }


def shown_slices(found: Evaluation) -> list[Slice]:
    """Returns the slices of the page's table, the worst first."""
    return sorted(found.slices, key=lambda s: (s.interval[1], s.p_value, s.by, s.value))[:MOST_SLICES]


def model_name(info: Mapping[str, Any]) -> str:
    """Returns a model's name: its network and its learning rate, like the name of its run in MLflow.

    >>> model_name({"architecture": {"name": "cnn"}, "training": {"lr": 0.002}})
    'cnn lr=0.002'
    """
    name = str(info.get("architecture", {}).get("name", "Evaluation"))
    rate = info.get("training", {}).get("lr")
    return name if rate is None else f"{name} lr={rate:g}"


def set_name(classes: Sequence[str]) -> str:
    """Returns a name for a set that has none.

    >>> set_name(["cat", "dog"]), set_name([str(digit) for digit in range(10)])
    ('cat, dog', '10 classes (0, 1, 2, 3, ...)')
    """
    if len(classes) <= MOST_NAMED:
        return ", ".join(classes)
    return f"{len(classes)} classes ({', '.join(classes[:MOST_NAMED])}, ...)"


def summary(results: ReportContent, table: Mapping[str, Labels]) -> list[str]:
    """Returns the summary: how good the model is, where it fails, and how it compares with the best baseline."""
    found, n, classes = results.found, results.found.numbers, results.found.classes
    low, high = share(n["accuracy_low"]), share(n["accuracy_high"])
    first = (
        f"The model is right on {percent(n['accuracy'])} of {grouped(n['images'])} {found.test.split} images "
        f"(95\u00a0% interval {low} to {high}\u00a0%)."
    )
    confused = most_confused(found.counts, 1)
    if confused:
        true, predicted, count, _ = confused[0]
        # A class without training images cannot be learned, so it does not count as the network's weakness.
        tested = [i for i, s in enumerate(found.scores) if s.support]
        unknown = [classes[i] for i in tested if not table["train"][i]]
        taught = [i for i in tested if table["train"][i]]
        worst = min(taught or tested, key=lambda i: (found.scores[i].recall, i))
        second = (
            f"It finds “{classes[worst]}” least reliably ({percent(found.scores[worst].recall)} of its images), and "
            f"most often mistakes “{classes[true]}” for “{classes[predicted]}” ({times(count)})."
        )
        if unknown:
            second += f" It cannot know {', '.join(f'“{name}”' for name in unknown)}: no training image has the label."
    else:
        second = "It makes no error on these images, so they cannot show where it would fail."
    if found.baselines:
        best = found.baselines[0]
        low, high = map(points, best.difference_interval)
        verdict = "is better than the network: it is" if best.beats else "is"
        third = (
            f"The best baseline, “{best.title}”, {verdict} right on {percent(best.accuracy)}: "
            f"{points(best.difference)} points for the network (95\u00a0% interval {low} to {high})."
        )
    else:
        guess = int(table["train"].argmax())
        always = found.scores[guess].support / n["images"]
        third = (
            f"Always answering “{classes[guess]}”, the most frequent training class, would be right on "
            f"{percent(always)}."
        )
    return [first, second, third]


def facts(results: ReportContent) -> list[tuple[str, str]]:
    """Returns the key figures at the top of the page: value and name."""
    found, n = results.found, results.found.numbers
    wanted = [(grouped(n["errors"]), f"errors in {grouped(n['images'])} {found.test.split} images")]
    wanted.append((percent(n["f1_macro"]), "F1, mean over classes"))
    wanted.append((percent(n["ece"]), "calibration error: difference between confidence and accuracy"))
    if found.abstention.threshold and "selective_accuracy" in n:
        meaning = f"classified at the threshold chosen for {percent(found.target_accuracy)} accuracy"
        wanted.append((percent(n["coverage"]), meaning))
    if found.robustness:
        wanted.append((percent(1 - found.robustness.error), "accuracy on corrupted images"))
    return wanted


def pictured(suspects: Sequence[Suspect], data: ProcessedSet) -> list[tuple[Suspect, View]]:
    """Returns suspected labels with their images, as the model sees them."""
    shown = []
    for suspect in suspects:
        image = data.split(suspect.split).images([suspect.position])[0]
        alt = f"Image {suspect.id}, labelled {data.classes[suspect.label]}"
        shown.append((suspect, View(encode_picture(image), alt, pixelated=max(image.shape[:2]) <= PIXELATED_MAX_SIDE)))
    return shown


def most_confused(counts: Labels, n: int = MOST_CONFUSIONS) -> list[tuple[int, int, int, float]]:
    """Returns the most frequent confusions: true class, predicted class, images, fraction of the true class."""
    wrong = counts * (1 - np.eye(len(counts), dtype=np.int64))
    pairs = [(int(t), int(p), int(wrong[t, p])) for t, p in zip(*np.nonzero(wrong), strict=True)]
    pairs.sort(key=lambda pair: (-pair[2], pair[0], pair[1]))
    return [(t, p, count, count / int(counts[t].sum())) for t, p, count in pairs[:n]]
