"""Comparison page: one HTML file, in the style of the evaluation report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sightline.compare.comparison import Comparison
from sightline.compare.run_predictions import RunPredictions
from sightline.compare.run_sources import RunPair
from sightline.core.errors import UserError
from sightline.datasets.processed_set import ProcessedSet, Split
from sightline.metrics import base
from sightline.metrics.base import Labels
from sightline.metrics.calibration import reliability
from sightline.metrics.curves import curves
from sightline.metrics.intervals import wilson
from sightline.metrics.selective import risk_coverage
from sightline.reporting import figures
from sightline.reporting.cards import Card, cards
from sightline.reporting.examples import examples
from sightline.reporting.plots import bars
from sightline.reporting.plots.bars import IntervalBar
from sightline.reporting.render import Picture, picture, render

TEMPLATE = "compare.html.j2"
MOST_SHOWN = 24
"""Maximum number of images shown, or named, per kind."""


@dataclass(frozen=True)
class Disagreement:
    """Images that only one of the two models predicted right: their number, and the first ones as cards or ids."""

    count: int
    cards: Sequence[Card] = ()
    ids: Sequence[str] = ()


@dataclass(frozen=True)
class ModelColumn:
    """One model's column on the page: its name, facts about the run, its figures by name."""

    name: str
    about: Sequence[tuple[str, str]]
    figures: dict[str, Picture] = field(default_factory=dict)


def render_page(pair: RunPair, outcome: Comparison, data: Path | None = None) -> str:
    """Returns the page.

    Args:
        pair: Both models' predictions.
        outcome: Their comparison.
        data: A processed set; if it contains the images, they are shown.
    """
    a, b = pair.a, pair.b
    split = find_images(data, a) if data else None
    rows = [IntervalBar(s.name, float(s.correct.mean()), *wilson(int(s.correct.sum()), len(s.ids))) for s in (a, b)]
    best = max(row.value for row in rows)
    rows = [IntervalBar(r.name, r.value, r.low, r.high, r.value == best) for r in rows]
    order = sorted(range(len(a.classes)), key=lambda i: (-abs(outcome.recalls[i][0] - outcome.recalls[i][1]), i))
    return render(
        Path(__file__).parent,
        TEMPLATE,
        a=_column(a),
        b=_column(b),
        outcome=outcome,
        verdict=outcome.verdict(f"“{a.name}”", f"“{b.name}”"),
        images=len(a.ids),
        pair=pair,
        classes=a.classes,
        accuracies=picture(
            lambda theme: bars.draw_intervals(rows, "Accuracy", theme),
            "Accuracy of both models with their 95 % intervals",
            "Each with its own 95 % interval (Wilson). They may overlap although one is better: the test above "
            "compares the two image by image.",
        ),
        order=[i for i in order if outcome.recalls[i][2]],
        differing=[
            _differing(outcome.only_a, b, split),
            _differing(outcome.only_b, a, split),
        ],
    )


def _column(scored: RunPredictions) -> ModelColumn:
    confidences = scored.probabilities.max(axis=1)
    counts = base.confusion(scored.labels, scored.predicted, len(scored.classes))
    drawn = figures.of_confusion(counts, scored.classes)
    drawn |= figures.of_curves(curves(scored.labels, scored.probabilities))
    drawn |= figures.of_confidence(reliability(confidences, scored.correct), risk_coverage(confidences, scored.correct))
    drawn["confusion"] = drawn.get("confusion_rates", drawn["confusion_counts"])
    return ModelColumn(scored.name, scored.about, drawn)


def _differing(places: Labels, loser: RunPredictions, split: Split | None) -> Disagreement:
    """Describes the images at `places`, which only `loser` predicted wrong, with its most confident errors first."""
    worst = sorted(examples(loser, places), key=lambda e: (-e.probability, e.id))[:MOST_SHOWN]
    if split is None:
        return Disagreement(len(places), ids=[example.id for example in worst])
    return Disagreement(len(places), cards(worst, split, loser.classes))


def find_images(data: Path, scored: RunPredictions) -> Split | None:
    """Returns the split of a processed set that was scored; None if the set does not exist or is a different one."""
    try:
        processed = ProcessedSet(data)
    except UserError:
        return None
    for name in ("test", "val", "train"):
        split = processed.split(name)
        if split.ids == scored.ids and np.array_equal(split.labels, scored.labels):
            return split
    return None
