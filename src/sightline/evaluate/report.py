"""The report: one HTML page that holds everything it shows, the same bytes for the same results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sightline.contact import Row
from sightline.evaluate import lineage
from sightline.evaluate.data import Audit, class_counts, contact_cells, split_rows
from sightline.evaluate.explain import Explainer
from sightline.metrics.base import Labels
from sightline.metrics.classification import ClassScore
from sightline.page.cards import Card
from sightline.page.html import Picture, render
from sightline.page.numbers import rows as number_rows
from sightline.page.text import grouped, percent, share, times
from sightline.shards import ProcessedSet

TEMPLATE = "report.html.j2"
MOST_CONFUSIONS = 10
FEW_IMAGES = 10


@dataclass(frozen=True)
class Results:
    """All that a report shows; what is missing has no section.

    Attributes:
        split: Name of the split scored.
        numbers: As in `metrics.json`.
        scores: One a class.
        counts: [K, K] confusion matrix, rows true.
        figures: By name; any may be missing.
        errors: The errors to show, worst first.
        uncertain: The most uncertain answers.
        typical: The most typical image of each class.
        explainer: What made the heat maps of the cards.
        audit: What ingestion found.
        contact: The contact sheet's rows.
        model_info: What to say about the model, nested mappings of plain values.
    """

    split: str
    numbers: Mapping[str, float]
    scores: Sequence[ClassScore]
    counts: Labels
    figures: Mapping[str, Picture]
    errors: Sequence[Card] = ()
    uncertain: Sequence[Card] = ()
    typical: Sequence[Card] = ()
    explainer: Explainer | None = None
    audit: Audit | None = None
    contact: Sequence[Row] = ()
    model_info: Mapping[str, Any] = field(default_factory=dict)


def write(data: ProcessedSet, results: Results) -> str:
    """Returns the page. Class names and ids are escaped, whatever they hold; the page asks for nothing outside it."""
    table = class_counts(data)
    return render(
        Path(__file__).parent,
        TEMPLATE,
        r=results,
        classes=data.classes,
        shape=data.shape,
        summary=summary(results, data.classes, table),
        facts=facts(results),
        rows=number_rows(results.numbers),
        class_counts=table,
        splits=split_rows(data, table),
        confusions=most_confused(results.counts),
        steps=[(row, contact_cells(row)) for row in results.contact],
        digests=lineage.digests(results.model_info, data),
        environment=lineage.environment(results.model_info),
        settings=lineage.settings(results.model_info),
        absent=[i for i, score in enumerate(results.scores) if score.support == 0],
        few=[i for i, score in enumerate(results.scores) if 0 < score.support < FEW_IMAGES],
        few_images=FEW_IMAGES,
        training=[name for name in results.figures if name.startswith("training_")],
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


def facts(results: Results) -> list[tuple[str, str]]:
    """Returns the few numbers that stand at the top: value and name."""
    n = results.numbers
    wanted = [
        (grouped(n["errors"]), f"errors in {grouped(n['images'])} {results.split} images"),
        (percent(n["f1_macro"]), "F1, mean over classes"),
    ]
    if "ece" in n:
        wanted.append((percent(n["ece"]), "calibration error: how far stated certainty is from the truth"))
    if "roc_auc_macro" in n:
        wanted.append((f"{min(n['roc_auc_macro'], 0.9999 if n['errors'] else 1):.4f}", "area under the ROC curve"))
    return wanted


def most_confused(counts: Labels, n: int = MOST_CONFUSIONS) -> list[tuple[int, int, int, float]]:
    """Returns the most frequent errors: true class, predicted class, images, share of the true class's images."""
    wrong = counts * (1 - np.eye(len(counts), dtype=np.int64))
    pairs = [(int(t), int(p), int(wrong[t, p])) for t, p in zip(*np.nonzero(wrong), strict=True)]
    pairs.sort(key=lambda pair: (-pair[2], pair[0], pair[1]))
    return [(t, p, count, count / int(counts[t].sum())) for t, p, count in pairs[:n]]
