"""The gate for changes of the data or the model: objections to a revision, compared with an earlier one."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Mapping

from sightline.changes import metric_diff
from sightline.changes.dataset_diff import DatasetState
from sightline.changes.revision import Revision, UnavailableError
from sightline.datasets import predictions
from sightline.promote.config import PromoteConfig
from sightline.reporting.formatting import p_value, points

MOST_NAMED = 3
SUMMARY, PREDICTIONS = "data/raw/ingest.json", "reports/predictions.parquet"


def objections(now: Revision, before: Revision | None, policy: PromoteConfig) -> list[str]:
    """Returns the objections to a revision of the project, one sentence each; empty if there are none.

    Args:
        now: The revision to be accepted.
        before: An earlier revision to compare it with; None checks `now` only.
        policy: The requirements.

    Raises:
        UnavailableError: If `now` has no data.
    """
    state, summary = DatasetState.read(now), json.loads(now.require(SUMMARY))
    found = [*_rejections(summary, state, policy), *_leaks(state)]
    if before is None:
        return found
    try:
        earlier = DatasetState.read(before)
        found += _losses(earlier, state, policy)
        answers = [
            predictions.load_predictions(io.BytesIO(revision.require(PREDICTIONS))) for revision in (before, now)
        ]
    except UnavailableError as error:
        return [*found, f"it cannot be compared: {error}"]
    change = metric_diff.paired_change(answers[0], answers[1], earlier, state)
    if change is None:
        found.append(f"no test image is the same as in {before.name}, so that the predictions cannot be compared")
    elif change.verdict == "worse":
        low, high = change.interval
        found.append(
            f"the accuracy on the {change.images:,} test images of both differs by {points(change.difference)} "
            f"points ({points(low)} to {points(high)}, McNemar's p {p_value(change.p)}): worse than {before.name}"
        )
    return found


def _rejections(summary: Mapping[str, object], state: DatasetState, policy: PromoteConfig) -> list[str]:
    inputs, rejected = summary["inputs"], summary["rejected"]
    if not isinstance(inputs, int) or not isinstance(rejected, Mapping):
        raise ValueError(f"{SUMMARY} contains no counts")
    count = sum(number for reason, number in rejected.items() if reason != "removed")  # removed by a reviewer
    if count <= policy.max_rejected * inputs:
        return []
    reasons = ", ".join(f"{number:,} {reason}" for reason, number in rejected.items())
    most = f"promote.max_rejected, {policy.max_rejected:g}"
    some = ", ".join(sorted(state.rejected)[:MOST_NAMED])
    refused = f"{count:,} of {inputs:,} inputs were rejected ({reasons})"
    return [f"{refused}, more than {most}: {some}; sightline rejected lists them"]


def _leaks(state: DatasetState) -> list[str]:
    """Finds test images with a copy or near duplicate in the splits that the model was trained or selected on."""
    others = [(id_, image) for id_, image in state.images.items() if image.split != "test"]
    contents = {image.sha256 for _, image in others}
    groups = {state.near[id_] for id_, _ in others if id_ in state.near}
    leaked = sorted(
        id_
        for id_, image in state.images.items()
        if image.split == "test" and (image.sha256 in contents or state.near.get(id_) in groups)
    )
    if not leaked:
        return []
    return [f"{len(leaked):,} test images are also in another split, identical or nearly so (such as {leaked[0]})"]


def _losses(before: DatasetState, now: DatasetState, policy: PromoteConfig) -> list[str]:
    """Returns objections if classes or the test split have lost too many images."""
    had, has = (Counter(image.label for image in state.images.values()) for state in (before, now))
    most = f"promote.max_lost, {policy.max_lost:g}"
    poorer = [label for label in sorted(had) if had[label] - has[label] > policy.max_lost * had[label]]
    found = []
    if poorer:
        some = ", ".join(f"{label!r} {had[label]:,} -> {has[label]:,}" for label in poorer[:MOST_NAMED])
        more = f" and {len(poorer) - MOST_NAMED} more" if len(poorer) > MOST_NAMED else ""
        found.append(f"{len(poorer):,} of {len(had):,} classes lost more of their images than {most}: {some}{more}")
    tested = [[image.sha256 for image in state.images.values() if image.split == "test"] for state in (before, now)]
    if len(tested[0]) - len(tested[1]) > policy.max_lost * len(tested[0]):
        found.append(
            f"the test split went from {len(tested[0]):,} to {len(tested[1]):,} images, a loss of more than {most}"
        )
    contents = {image.sha256 for image in now.images.values()}
    gone = sum(content not in contents for content in tested[0])
    if gone > policy.max_lost * len(tested[0]):
        found.append(f"{gone:,} of {len(tested[0]):,} test images are no longer there, more than {most}")
    return found
