"""The division of a set into splits, compared with the requested fractions; imports nothing heavy."""

from __future__ import annotations

from typing import Any

from sightline.core.errors import UserError
from sightline.core.text import listed

_NOTABLE = 0.05
"""Larger deviations of a share are reported."""


def require_splits(summary: dict[str, Any]) -> None:
    """Ends the stage if a requested split has no image, or fewer than two classes have training images.

    Raises:
        UserError: With the remedy that fits the cause.
    """
    division, classes = summary["division"], summary["images_per_class"]
    for split, asked in division["asked"].items():
        if asked and not summary["images_per_split"][split]:
            remedy = "make smaller groups" if _is_grouped(summary) else "add images, some 20 per class"
            if not _is_grouped(summary) and division["balance"] == "groups":
                remedy = "preprocess.balance=images may help, and so would more images, some 20 per class"
            raise UserError(
                f"no image is left for the split {split!r}: {summary['images']:,} image(s) of {len(classes)} "
                f"classes, in {division['groups']:,} group(s) that stay together, were to give {asked:.0%} of them: "
                f"{remedy}"
            )
    if sum(counts["train"] > 0 for counts in classes.values()) < 2:
        raise UserError(
            f"fewer than two of {len(classes)} classes have an image to train on ({listed(_untrained(summary))} have "
            "none): add images of them"
        )


def split_lines(summary: dict[str, Any]) -> list[str]:
    """Returns lines about the splits of a processed set that are worth knowing."""
    result = []
    division = summary["division"]
    pool = sum(summary["images_per_split"].get(split, 0) for split in ("train", *division["asked"]))
    for split, asked in division["asked"].items():
        reached = summary["images_per_split"][split] / pool
        if abs(reached - asked) > _NOTABLE:
            result.append(f"{split} has {reached:.1%} of the images, not the requested {asked:.1%}: {_why(summary)}")
    split, most = max(summary["largest_class_share_deviation"].items(), key=lambda item: item[1], default=("", 0))
    if most > _NOTABLE:
        drawn = split in division["asked"] or (split == "train" and division["asked"])
        reason = _why(summary) if drawn else "so the source itself divides it"
        result.append(
            f"a class's share of {split} differs from its share of all images by {100 * most:.1f} points: {reason}"
        )
    classes = summary["images_per_class"]
    for split, share in division["asked"].items():
        empty = [name for name, counts in classes.items() if counts["train"] and not counts.get(split, 1)]
        if share and empty:
            result.append(
                f"no {split} image of {len(empty):,} of {len(classes):,} classes, {listed(empty)}: {_why(summary)}"
            )
    if untrained := _untrained(summary):
        result.append(
            f"no training image of {listed(untrained)}: the network cannot learn it; add images of it, or drop it by "
            "ingest.labels"
        )
    return result


def _why(summary: dict[str, Any]) -> str:
    division = summary["division"]
    if _is_grouped(summary):
        return (
            f"they are {division['groups']:,} groups that stay together, the largest of "
            f"{division['largest_group']:,} images; only smaller groups come closer"
        )
    if division["balance"] == "groups":
        return "the set is small; preprocess.balance: images comes closer"
    return "the set is small; another preprocess.split_seed may come closer"


def _is_grouped(summary: dict[str, Any]) -> bool:
    """Returns whether the groups, rather than the number of images, prevent the requested shares."""
    return bool(summary["division"]["effective_groups"] < summary["images"] / 2)


def _untrained(summary: dict[str, Any]) -> list[str]:
    return [name for name, counts in summary["images_per_class"].items() if not counts["train"]]
