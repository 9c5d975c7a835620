"""Terminal output of the baseline stage."""

from __future__ import annotations

from collections.abc import Sequence

from sightline.core.text import readable_size
from sightline.stages.baseline.baseline_job import MethodResult


def method_line(result: MethodResult) -> str:
    """Returns a line with the score of a method."""
    low, high = result.numbers["accuracy_low"], result.numbers["accuracy_high"]
    seconds = result.fit_seconds + result.predict_seconds
    return f"{result.name}: accuracy {result.numbers['accuracy']:.4f} ({low:.4f} to {high:.4f}), {seconds:.1f} s"


def method_lines(results: Sequence[MethodResult]) -> list[str]:
    """Returns a table of the methods, at most 80 columns wide, with the times, which are not in the stage's files."""
    if not results:
        return []
    head = ("method", "accuracy", "95 % interval", "size", "fit", "predict")
    rows = [head] + [
        (
            each.name,
            f"{each.numbers['accuracy']:.4f}",
            f"{each.numbers['accuracy_low']:.4f} to {each.numbers['accuracy_high']:.4f}",
            readable_size(each.bytes),
            f"{each.fit_seconds:.1f} s",
            f"{each.predict_seconds:.2f} s",
        )
        for each in results
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    return [
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]
