"""The table of runs for the terminal, with as many columns as fit and names in the remaining space."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence

from sightline.runs.run_record import COMMIT_TAG, RunRecord

SHORTEST_NAME = 24
"""Minimum width of the names that must remain for a further column to be shown."""
GAP = "  "

_METRICS = (
    ("best_val_loss", "val loss", "{:.4f}"),
    ("test_accuracy", "test acc", "{:.4f}"),
    ("test_acc_low", "low", "{:.4f}"),
    ("test_acc_high", "high", "{:.4f}"),
    ("test_ece", "ece", "{:.4f}"),
    ("latency_ms", "ms", "{:.2f}"),
    ("megabytes", "MB", "{:.2f}"),
    ("best_val_accuracy", "val acc", "{:.4f}"),
    ("test_mce", "mce", "{:.4f}"),
    ("test_worst", "worst", "{:.4f}"),
)
_FURTHER = {
    "test_bal_acc": ("bal acc", "{:.4f}"),
    "test_log_loss": ("log loss", "{:.4f}"),
}


def run_lines(runs: Sequence[RunRecord], width: int, keys: Sequence[str] = (), now: float | None = None) -> list[str]:
    """Returns the table.

    Args:
        runs: The runs in display order; a job that follows its sweep is indented.
        width: Width of the terminal in columns.
        keys: Columns that are always shown: the keys of `--sort` and `--filter`.
        now: The time, in seconds since 1970.
    """
    now = time.time() if now is None else now
    columns = [_column("id", runs, lambda run: run.id[:7]), _column("began", runs, lambda run: age(run, now))]
    if any(run.status != "FINISHED" for run in runs):
        columns.append(_column("status", runs, lambda run: run.status.lower()))
    if _several_commits(runs):
        columns.append(_column("commit", runs, lambda run: run.tags.get(COMMIT_TAG, "")[:7]))
    known = {name: (title, form) for name, title, form in _METRICS} | _FURTHER
    shown = [key for key in dict.fromkeys(keys) if key not in ("id", "name", "status")]
    columns += [_value_column(key, *known.get(key, (key, "{:.4g}")), runs) for key in shown]
    names = _names(runs)
    wanted = min(max(map(len, [*names, "name"])), SHORTEST_NAME)
    for key, title, form in _METRICS:
        column = _value_column(key, title, form, runs)
        taken = sum(len(each[0]) + len(GAP) for each in [*columns, column])
        if key not in shown and any(cell.strip() for cell in column[1:]) and taken + wanted <= width:
            columns.append(column)
    left = max(width - sum(len(column[0]) + len(GAP) for column in columns), 8)
    longest = min(max(map(len, [*names, "name"])), left)
    fitted = [name if len(name) <= longest else f"{name[: longest - 1]}…" for name in ["name", *names]]
    rows = zip(columns[0], fitted, *columns[1:], strict=True)
    return [GAP.join([first, name.ljust(longest), *rest]).rstrip() for first, name, *rest in rows]


def with_jobs(runs: Sequence[RunRecord]) -> list[RunRecord]:
    """Returns the runs with each sweep's jobs directly after it, otherwise in the given order."""
    ids = {run.id for run in runs}
    result = []
    for run in runs:
        if run.parent not in ids:
            result += [run, *(job for job in runs if job.parent == run.id)]
    return result


def age(run: RunRecord, now: float) -> str:
    """Returns how long ago a run began."""
    seconds = max(0.0, now - run.start_time / 1000)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit} ago"
    return "now"


def _names(runs: Sequence[RunRecord]) -> list[str]:
    above: set[str] = set()
    names = []
    for run in runs:
        names.append(f"{'  ' if run.parent in above else ''}{run.name}")
        if run.parent is None:
            above = {run.id}
    return names


def _several_commits(runs: Sequence[RunRecord]) -> bool:
    """Returns whether runs with the same name have different commits; names only describe differences from a commit."""
    commits = defaultdict(set)
    for run in runs:
        commits[run.name].add(run.tags.get(COMMIT_TAG))
    return any(len(of_name) > 1 for of_name in commits.values())


def _value_column(key: str, title: str, form: str, runs: Sequence[RunRecord]) -> list[str]:
    def cell(run: RunRecord) -> str:
        value = run.value(key)
        return "" if value is None else form.format(value) if isinstance(value, float | int) else str(value)

    return _column(title, runs, cell)


def _column(title: str, runs: Sequence[RunRecord], cell: Callable[[RunRecord], str]) -> list[str]:
    """Returns a heading and cells padded to the same width; numbers are right-aligned."""
    cells = [title, *map(cell, runs)]
    longest = max(map(len, cells))
    return [text.ljust(longest) if title in ("id", "status", "commit") else text.rjust(longest) for text in cells]
