"""A project's difference as text: for the terminal, and in Markdown for a pull request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sightline.changes.dataset_diff import DatasetDiff
from sightline.changes.metric_diff import MetricChange, PairedChange
from sightline.changes.project_diff import ProjectDiff
from sightline.core import columns
from sightline.core.text import for_markdown, readable_size
from sightline.reporting.formatting import p_value, points

MOST_ROWS = 12
"""Maximum number of rows in a table; the page has all."""
TEXTS = ("metric", "class", "split", "parameter", "output", "time", "verdict")
"""Columns with text, which is left-aligned; numbers are right-aligned."""
_SIZES = ("data/raw", "data/processed", "models/model.safetensors", "models/bundle")


@dataclass(frozen=True)
class Section:
    """A part of the text: a heading, sentences, and a table, which may be empty."""

    title: str
    sentences: Sequence[str] = ()
    header: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()


def sections(diff: ProjectDiff) -> Iterator[Section]:
    """Yields the sections that have content; if nothing differs, just the number of images."""
    if diff.metrics and not diff.empty:
        sentences = [answers_sentence(diff.answers)] if diff.answers else []
        metrics = [metric_row(change) for change in diff.metrics]
        yield Section("Metrics", sentences, ("metric", "before", "after", "difference", "verdict"), metrics)
    if diff.data is not None:
        counts = [
            (c.label, c.split, str(c.before), f"+{c.added}", f"-{c.removed}", str(c.after)) for c in diff.data.counts()
        ]
        yield Section(
            "Data", data_sentences(diff.data), ("class", "split", "before", "added", "removed", "after"), counts
        )
    if diff.params:
        values = [(change.name, change.before, change.after) for change in diff.params]
        yield Section("Parameters", (), ("parameter", "before", "after"), values)
    sizes = [(path, _size(old), _size(new)) for path, old, new in diff.sizes if path in _SIZES]
    if sizes:
        yield Section("Sizes", (), ("output", "before", "after"), sizes)
    if diff.times:
        times = [(change.name, change.before, change.after) for change in diff.times]
        sentence = "each was measured when the model was made, on the machine that made it"
        yield Section("Times", (sentence,), ("time", "before", "after"), times)
    if diff.missing:
        yield Section("Not compared", diff.missing)


def terminal(diff: ProjectDiff, width: int | None = None) -> list[str]:
    """Returns lines wrapped to the width of a terminal; None for no wrapping."""
    lines = [heading(diff)]
    for section in sections(diff):
        lines += ["", section.title, *(columns.folded(f"  {sentence}", width) for sentence in section.sentences)]
        if section.rows:
            rows = [section.header, *section.rows[:MOST_ROWS]]
            numbers = [column for column, name in enumerate(section.header) if name not in TEXTS]
            lines += columns.table(rows, width, right=numbers, indent="  ")
            lines += [f"  {line}" for line in _rest(section.rows)]
    return lines


def markdown(diff: ProjectDiff) -> list[str]:
    """Returns lines of Markdown, with text from the data escaped."""
    lines = [f"### {for_markdown(heading(diff))}"]
    for section in sections(diff):
        lines += ["", f"**{section.title}**", "", *(f"- {for_markdown(sentence)}" for sentence in section.sentences)]
        if section.rows:
            rules = ["---" if name in TEXTS else "---:" for name in section.header]
            rows = [[for_markdown(cell) or " " for cell in row] for row in (section.header, *section.rows[:MOST_ROWS])]
            lines += ["", *(f"| {' | '.join(row)} |" for row in (rows[0], rules, *rows[1:]))]
            lines += ["", *_rest(section.rows)]
    return lines


def heading(diff: ProjectDiff) -> str:
    """Returns a line on what was compared, and whether anything differs."""
    if diff.empty and not diff.missing:
        return f"Nothing differs between {diff.before.name} and {diff.after.name}"
    return f"From {diff.before.name} to {diff.after.name}"


def metric_row(change: MetricChange) -> tuple[str, str, str, str, str]:
    """Returns title, both values, the difference with its interval, and the verdict."""
    difference = change.after - change.before

    def signed(value: float) -> str:
        return points(value) if change.title.in_percent else f"{value:+.4f}".replace("-", "\u2212")

    interval = f" ({signed(change.interval[0])} to {signed(change.interval[1])})" if change.interval else ""
    shown = change.title.shown
    return (
        change.title.title,
        shown(change.before),
        shown(change.after),
        f"{signed(difference)}{interval}",
        change.verdict,
    )


def answers_sentence(answers: PairedChange) -> str:
    """Returns a sentence on the accuracy on the images that both states have scored."""
    low, high = answers.interval
    images = (
        f"the same {answers.images:,} test images"
        if answers.same_split
        else f"the {answers.images:,} test images of both"
    )
    return (
        f"On {images} the accuracy differs by {points(answers.difference)} points ({points(low)} to {points(high)}, "
        f"McNemar's p {p_value(answers.p)}): {answers.verdict}; {len(answers.to_right):,} wrong before and right now, "
        f"{len(answers.to_wrong):,} right before and wrong now"
    )


def data_sentences(data: DatasetDiff) -> list[str]:
    """Returns sentences on the number of images, and on how many differ in which way."""
    counts = f"{len(data.before.images):,} -> {len(data.after.images):,} images"
    return [counts, *data.kinds()] if data.kinds() else [f"{counts}, the same"]


def _rest(rows: Sequence[object]) -> list[str]:
    return [f"and {len(rows) - MOST_ROWS} more, on the page"] if len(rows) > MOST_ROWS else []


def _size(number: int | None) -> str:
    return "-" if number is None else readable_size(number)
