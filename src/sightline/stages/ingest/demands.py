"""The requirements that a raw set must meet to train on it, checked before later stages spend time on it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sightline.core.errors import UserError
from sightline.core.text import listed
from sightline.stages.ingest.config import IngestConfig

_LEAST = 3
"""Images that a class needs if the source names no splits: one each to train, validate and test."""


def require_trainable(summary: Mapping[str, Any], config: IngestConfig) -> None:
    """Ends the stage if no classifier can be trained on the set under any settings of later stages.

    Args:
        summary: The set's summary, as `ingest` returns it.
        config: The ingest section.

    Raises:
        UserError: With what is missing and the remedy.
    """
    classes: dict[str, int] = summary["classes"]
    splits: dict[str, dict[str, int]] = summary["audit"]["images"]
    option = f"ingest.source={config.source.name}"
    if config.limit is not None and (len(classes) < 2 or max(classes.values()) < _LEAST):
        raise UserError(
            f"ingest.limit={config.limit}: {summary['accepted']:,} images of {len(classes)} class(es) are too few to "
            "train, validate and test on: raise it"
        )
    if len(classes) < 2:
        reasons = [*(f"all images of {name!r} were rejected" for name in summary["lost_classes"]), *summary["notes"]]
        raise UserError(
            f"{option}: one class ({next(iter(classes))!r}, {summary['accepted']:,} images), but at least two are "
            f"needed: {'; '.join(reasons) or config.source.one_class_remedy}"
        )
    named = {split for has in splits.values() for split in has} - {"unsplit"}
    if named and "train" not in named and not any("unsplit" in has for has in splits.values()):
        raise UserError(
            f"{option}: no image to train on: all {summary['accepted']:,} are {listed(sorted(named))} in the source; "
            f"add its training images, or {config.source.no_training_remedy}"
        )
    # A limited sample may miss the few training images of a class; it is only for quick trials.
    lacking = [name for name, has in splits.items() if not has.keys() & {"train", "unsplit"}]
    if lacking and config.limit is None:
        first = lacking[0]
        only = " and ".join(f"{split} ({number:,})" for split, number in sorted(splits[first].items()))
        raise UserError(
            f"{option}: no image to train on for {listed(lacking)}: the source has {first!r} only in {only}; add "
            f"training images, or drop it: ingest.labels=FILE, a YAML file with the line "
            f"{json.dumps(first, ensure_ascii=False)}: null"
        )
    if not named and max(classes.values()) < _LEAST:
        raise UserError(
            f"{option}: no class has {_LEAST} images, one each to train, validate and test; the largest has "
            f"{max(classes.values())}: add images, or merge classes: ingest.labels=FILE, a YAML file of lines old: new"
        )
