"""The queue of a review: images that are worth a look, each once, with the most likely errors first."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np

from sightline.datasets.raw_set import NEAR, read_near
from sightline.metrics import suspects
from sightline.metrics.base import Floats
from sightline.review import review_ranking
from sightline.review.judgements import Judgements
from sightline.review.plain_answers import geometric_mean
from sightline.review.refused_inputs import RefusedInput

MOST = 5000
"""Maximum number of images of the kinds without a natural limit: every image is uncertain, or novel, to a degree."""

_NOVEL = 0.01  # fraction of the images
_DOUBTFUL = 0.25
"""Normalised margin below which a label is suspect regardless of its class's threshold: another class leads by 0.5."""


class Kind(StrEnum):
    """The reason why an image is in the queue, in order of the queue."""

    CONFLICT = "conflict"
    SUSPECT = "suspect"
    NEAR = "near"
    REFUSED = "refused"
    UNLABELLED = "unlabelled"
    NOVEL = "novel"
    UNCERTAIN = "uncertain"


WORDS = {
    Kind.CONFLICT: "two labels for one image",
    Kind.SUSPECT: "suspect label",
    Kind.NEAR: "near duplicate in another split",
    Kind.REFUSED: "rejected by ingestion",
    Kind.UNLABELLED: "has no label",
    Kind.NOVEL: "unlike all others",
    Kind.UNCERTAIN: "the model is uncertain",
}


@dataclass(frozen=True, slots=True)
class ReviewItem:
    """An image in the queue.

    Attributes:
        sha256: Digest of its encoded bytes.
        id: Its id in the set or the source; the first id if several have these bytes.
        kind: The reason why it is in the queue.
        label: Its class; empty if it has none.
        suggestion: The most probable class; empty if there is no prediction.
        score: Rank within the kind; the lowest scores are most worth a look.
        detail: One line on the reason.
        split: Its split; empty if it is in none.
        place: Its row in the judgements; None if it has none.
    """

    sha256: str
    id: str
    kind: Kind
    label: str = ""
    suggestion: str = ""
    score: float = 0.0
    detail: str = ""
    split: str = ""
    place: int | None = None

    @property
    def needs_label(self) -> bool:
        """Whether it has no usable label, such that accepting it means assigning one."""
        return self.kind in (Kind.CONFLICT, Kind.UNLABELLED) or self.detail.startswith("no_label")


def build_queue(
    judged: Judgements,
    raw: Path,
    refused: Sequence[tuple[RefusedInput, int | None]] = (),
    start: int = 0,
    decided: Collection[str] = (),
) -> list[ReviewItem]:
    """Returns the queue of a dataset.

    Args:
        judged: Judgements of the images of the set, then of other images.
        raw: The folder that ingestion wrote.
        refused: Rejected inputs whose content is known, each with its row in `judged`.
        start: The first row in `judged` of an image that is not in the set.
        decided: Digests of images that have a decision; they are in the queue regardless of their rank.
    """
    inside = _part(judged, start)
    items = [*_conflicts(inside), *(_refused(judged, refused, conflicts=True))]
    vote, strangeness = review_ranking.neighbourhood(inside.labels, inside.embeddings, len(judged.classes))
    answers = label_probabilities(inside, vote)
    scores = suspects.margins(inside.labels, answers)
    doubtful = suspects.suspected(inside.labels, answers) | (scores < _DOUBTFUL)
    if suspects.poor(inside.labels, answers):
        doubtful = np.zeros_like(doubtful)
    # If labels were changed at random, this sorts images by the probability that their own label was changed.
    of_label = answers[np.arange(len(inside)), inside.labels]
    ranked = np.argsort(of_label, kind="stable")
    items += [_of(inside, at, Kind.SUSPECT, float(of_label[at]), answers) for at in ranked if doubtful[at]]
    items += _near(inside, raw)
    items += _refused(judged, refused, conflicts=False)
    items += _novel(inside, strangeness, answers)
    order = np.argsort(scores, kind="stable")
    end = MOST + len(items)
    unsure = [*order[:end], *(at for at in order[end:] if inside.sha256[at] in decided)]
    items += [_of(inside, at, Kind.UNCERTAIN, float(scores[at]), answers) for at in unsure]
    return list(_once(items))


def label_probabilities(judged: Judgements, vote: review_ranking.Floats) -> Floats:
    """Returns the class probabilities for judging labels, [n, K] float64.

    The weighted geometric mean of the network's probabilities, a vote of the nearest neighbours in the network's
    embedding, and (with double weight) the probabilities from plain features. The models on plain features have not
    seen the image's own label, whereas the network has seen those of its training images. Thus training images can be
    judged, too.
    """
    answers = [judged.probabilities, vote]
    return geometric_mean(answers if judged.plain is None else [*answers, judged.plain, judged.plain])


def unlabelled_queue(judged: Judgements, start: int) -> list[ReviewItem]:
    """Returns the queue of images without a label, with the most informative images for training first.

    Args:
        judged: Judgements of the images of the set, then of those without a label.
        start: The first row of an image without a label.
    """
    order = review_ranking.informative(judged.probabilities[start:], judged.embeddings[start:], count=1000)
    doubt = review_ranking.uncertainty(judged.probabilities)
    items = []
    for rank, at in enumerate(order):
        place = start + at
        likeliest = judged.classes[int(np.argmax(judged.probabilities[place]))]
        detail = f"{likeliest}, ahead by {1 - doubt[place]:.0%}"
        items.append(_of(judged, place, Kind.UNLABELLED, float(rank), judged.probabilities, detail))
    return list(_once(items))


def _part(judged: Judgements, end: int) -> Judgements:
    return Judgements(
        judged.classes,
        judged.ids[:end],
        judged.sha256[:end],
        judged.splits[:end],
        judged.labels[:end],
        judged.probabilities[:end],
        judged.embeddings[:end],
        judged.plain,
        judged.novelty,
    )


def _of(
    judged: Judgements,
    place: int,
    kind: Kind,
    score: float,
    answers: Floats | review_ranking.Floats,
    detail: str = "",
) -> ReviewItem:
    label = judged.classes[judged.labels[place]] if judged.labels[place] >= 0 else ""
    row = answers[place]
    best = int(np.argmax(row))
    words = detail or f"{judged.classes[best]} ({row[best]:.0%})" + (
        f", not {label} ({row[judged.labels[place]]:.0%})" if label and judged.classes[best] != label else ""
    )
    return ReviewItem(
        judged.sha256[place],
        judged.ids[place],
        kind,
        label,
        judged.classes[best],
        score,
        words,
        judged.splits[place],
        int(place),
    )


def _novel(judged: Judgements, strangeness: review_ranking.Floats, answers: Floats) -> list[ReviewItem]:
    """Finds novel images: by the bundle's novelty scores (threshold 1) if known, else by distance to neighbours."""
    if judged.novelty is None:
        first = np.argsort(-strangeness, kind="stable")[: min(MOST, round(_NOVEL * len(judged)))]
        return [_of(judged, at, Kind.NOVEL, -float(strangeness[at]), answers) for at in first]
    novelty = judged.novelty
    places = [at for at in np.argsort(-novelty, kind="stable")[:MOST] if novelty[at] > 1]
    return [_of(judged, at, Kind.NOVEL, -float(novelty[at]), answers, f"novelty {novelty[at]:.2f}") for at in places]


def _conflicts(judged: Judgements) -> list[ReviewItem]:
    """Finds pictures that the set contains with different labels, as `ingest.conflicts: keep` permits."""
    labels: dict[str, set[int]] = defaultdict(set)
    for sha256, label in zip(judged.sha256, judged.labels.tolist(), strict=True):
        labels[sha256].add(label)
    items = []
    for place, sha256 in enumerate(judged.sha256):
        if len(labels[sha256]) > 1:
            names = " and ".join(judged.classes[label] for label in sorted(labels[sha256]))
            items.append(_of(judged, place, Kind.CONFLICT, 0.0, judged.probabilities, f"labelled {names}"))
    return items


def _near(judged: Judgements, raw: Path) -> list[ReviewItem]:
    """Finds images with a copy or near duplicate in another split, which makes scores on these splits unreliable."""
    group_of_id = read_near(raw / NEAR) if (raw / NEAR).is_file() else {}
    group_of_content = {
        sha256: group_of_id[identity]
        for identity, sha256 in zip(judged.ids, judged.sha256, strict=True)
        if identity in group_of_id
    }
    groups: dict[str, list[int]] = defaultdict(list)
    for place, sha256 in enumerate(judged.sha256):
        groups[group_of_content.get(sha256, sha256)].append(place)
    items = []
    for places in groups.values():
        splits = Counter(judged.splits[place] for place in places)
        if len(splits) > 1:
            counts = ", ".join(f"{number} in {split}" for split, number in sorted(splits.items()))
            items += [_of(judged, p, Kind.NEAR, 0.0, judged.probabilities, f"similar: {counts}") for p in places]
    return items


def _refused(
    judged: Judgements, refused: Sequence[tuple[RefusedInput, int | None]], conflicts: bool
) -> list[ReviewItem]:
    items = []
    for each, place in refused:
        if (each.reason == "conflict") == conflicts:
            kind = Kind.CONFLICT if conflicts else Kind.REFUSED
            best = "" if place is None else judged.classes[int(np.argmax(judged.probabilities[place]))]
            detail = each.detail if conflicts else f"{each.reason}: {each.detail}".removesuffix(": ")
            items.append(ReviewItem(each.sha256, each.id, kind, "", best, 0.0, detail, "", place))
    return items


def _once(items: Iterable[ReviewItem]) -> Iterator[ReviewItem]:
    """Yields the first item of each picture."""
    met: set[str] = set()
    for item in items:
        if item.sha256 not in met:
            met.add(item.sha256)
            yield item
