"""The difference of two runs: settings, data, code, and the headline."""

from __future__ import annotations

from collections.abc import Mapping

from sightline.core import columns
from sightline.runs.run_record import COMMIT_TAG, RunRecord

ABSENT = "-"
_COSTS = ("latency_ms", "megabytes", "fit_seconds", "predict_seconds")
_ORIGIN = {"sightline.data_sha256": "data", COMMIT_TAG: "commit", "git.dirty": "uncommitted changes"}


def differing_settings(a: Mapping[str, str], b: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """Returns (setting, value of the first, value of the second) for the settings that differ.

    If the runs use different options (`train.model.name`), settings that only one option has are omitted. So are
    settings that an option inherits from its section (`train.optimizer.lr`), sections that only one run has, and
    environment settings that only one run records.
    """
    choices = {key.removesuffix("name") for key in (*a, *b) if key.endswith(".name") and a.get(key) != b.get(key)}
    rows = []
    sections = {key.split(".")[0] for key in a} & {key.split(".")[0] for key in b}
    for key in sorted({*a, *b}):
        one, other = a.get(key, ABSENT), b.get(key, ABSENT)
        if key.split(".")[0] not in sections or _equal(one, other):
            continue
        if ABSENT in (one, other) and "oc.env:" in f"{one}{other}":
            continue
        of_option = any(key.startswith(choice) and key != f"{choice}name" for choice in choices)
        if not (of_option and ABSENT in (one, other)) and not _taken_over(key, a, b):
            rows.append((key.removesuffix(".name"), one, other))
    return rows


def _equal(one: str, other: str) -> bool:
    """Returns whether two values given as text are equal, as `1` and `1.0` are."""
    try:
        return one == other or float(one) == float(other)
    except ValueError:
        return False


def _taken_over(key: str, *both: Mapping[str, str]) -> bool:
    parts = key.split(".")
    above = f"{parts[0]}.{parts[-1]}"
    return len(parts) == 3 and all(above in each and each.get(key, each[above]) == each[above] for each in both)


def difference_lines(a: RunRecord, b: RunRecord, width: int | None = None) -> list[str]:
    """Returns the comparison of two runs as lines of at most `width` columns; None disables wrapping."""
    rows = [("", f"{a.id[:7]}", f"{b.id[:7]}"), ("name", a.name, b.name)]
    rows += [(title, _short(a.tags.get(tag)), _short(b.tags.get(tag))) for tag, title in _ORIGIN.items()]
    rows = [row for row in rows if row[1] != row[2] or row[0] == "name"]
    settled = differing_settings(a.settings(), b.settings())
    names = sorted(
        name for name in {**a.metrics, **b.metrics} if name.startswith(("best_val", "test_")) or name in _COSTS
    )
    numbers = [(name, _metric_text(a.metrics.get(name)), _metric_text(b.metrics.get(name))) for name in names]
    settings = settled or [("no setting differs", "", "")]
    return columns.table([*rows, ("", "", ""), *settings, ("", "", ""), *numbers], width)


def _short(value: str | None) -> str:
    return ABSENT if value is None else value[:12]


def _metric_text(value: float | None) -> str:
    return ABSENT if value is None else f"{value:.4f}"
