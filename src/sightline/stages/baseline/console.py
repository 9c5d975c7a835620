"""What the stage says on the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from sightline.stages.baseline.stage import MethodResult


def lines(scored: Sequence[MethodResult]) -> list[str]:
    """Returns a table of the methods, a line each, with what no file of the stage holds: the seconds."""
    if not scored:
        return []
    head = ("method", "accuracy", "95 % interval", "macro F1", "size", "fit", "predict")
    rows = [head] + [
        (
            each.name,
            f"{each.numbers['accuracy']:.4f}",
            f"{each.numbers['accuracy_low']:.4f} to {each.numbers['accuracy_high']:.4f}",
            f"{each.numbers['f1_macro']:.4f}",
            readable(each.bytes),
            f"{each.fit_seconds:.1f} s",
            f"{each.predict_seconds:.2f} s",
        )
        for each in scored
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    return [
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]


def readable(size: int) -> str:
    """Returns a number of bytes for a person.

    >>> readable(80), readable(1_234_567)
    ('80 B', '1.2 MB')
    """
    value = float(size)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"
