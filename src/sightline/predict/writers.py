"""Predictions as text, written row by row as they come: a human-readable table, CSV, JSON and JSON lines."""

from __future__ import annotations

import itertools
import json
import os
import unicodedata
from collections.abc import Iterable, Sequence
from typing import TextIO

from sightline.core.csv_rows import row_writer
from sightline.core.text import readable
from sightline.predict.prediction import NONE_OF_THESE, Prediction
from sightline.predict.prediction_row import as_row, shortest_decimal

_BOLD, _RED, _PLAIN = "\x1b[1m", "\x1b[31m", "\x1b[0m"
_WIDEST_LABEL = 32


def write_table(
    predictions: Iterable[Prediction], stream: TextIO, classes: Sequence[str], columns: int, novelty: bool = False
) -> None:
    """Writes aligned columns, with colours on a terminal.

    The path is the last column, since it is the only one whose width is unknown in advance. So rows can be written as
    they are predicted, one line each, which works well with `grep`.
    """
    colour = stream.isatty() and not os.environ.get("NO_COLOR")
    names = [*classes, "class", *([NONE_OF_THESE] if novelty else [])]
    label_width = min(max((_width(_printable(name)) for name in names), default=0), _WIDEST_LABEL)
    header = f"{_pad('class', label_width)}  probability  " * columns + ("novelty  " if novelty else "") + "image"
    blank = f"{_pad('-', label_width)}  {'-':>11}  " * columns + (f"{'-':>7}  " if novelty else "")
    print(_paint(header, _BOLD, colour), file=stream)
    for p in predictions:
        if p.error:
            reason = f"{p.error} ({_printable(p.detail)})" if p.detail else p.error
            line = _paint(f"{blank}{_printable(p.path)}: {reason}", _RED, colour)
        else:
            top = [(NONE_OF_THESE, p.top[0][1]), *p.top[1:]] if p.none_of_these else p.top
            cells = [f"{_pad(_printable(label), label_width)}  {_percent(share):>11}" for label, share in top]
            if novelty:
                cells.append(f"{'-' if p.novelty is None else _novelty(p.novelty):>7}")
            line = "  ".join([*cells, _printable(p.path)]) + _remarks(p)
        print(line, file=stream, flush=colour)


def write_csv(predictions: Iterable[Prediction], stream: TextIO, columns: int) -> None:
    """Writes CSV: best class, error, second best class and so on, novelty. Names are not escaped against formulas.

    A prediction set is a JSON array.
    """
    ranks = range(2, columns + 1)
    further = [name for rank in ranks for name in (f"label_{rank}", f"probability_{rank}")]
    write_row = row_writer(stream)
    write_row(["path", "label", "probability", "error", "detail", "abstained", *further, "novelty", "class_set"])
    for p in predictions:
        others = [cell for label, share in p.top[1:] for cell in (label, shortest_decimal(share))]
        first = [p.label, shortest_decimal(p.probability)] if p.probability is not None else ["", ""]
        cells = [*first, p.error or "", p.detail, str(p.abstained).lower()]
        novelty = "" if p.novelty is None else shortest_decimal(p.novelty)
        class_set = "" if p.class_set is None else json.dumps(p.class_set, ensure_ascii=False)
        write_row([readable(p.path), *cells, *(others or [""] * len(further)), novelty, class_set])


def write_jsonl(predictions: Iterable[Prediction], stream: TextIO) -> None:
    """Writes one JSON object per line."""
    for p in predictions:
        stream.write(_json(p) + "\n")


def write_json(predictions: Iterable[Prediction], stream: TextIO) -> None:
    """Writes one JSON array."""
    separator = "["
    for p in predictions:
        stream.write(f"{separator}\n{_json(p)}")
        separator = ","
    stream.write("[]\n" if separator == "[" else "\n]\n")


def write_as(
    form: str,
    predictions: Iterable[Prediction],
    stream: TextIO,
    classes: Sequence[str],
    top_k: int,
    novelty: bool = False,
) -> None:
    """Writes predictions in the format `form`: table, csv, json or jsonl.

    Args:
        form: The format.
        predictions: The predictions, consumed one by one.
        stream: The output stream.
        classes: All class names, which determine the table's width.
        top_k: Maximum number of classes per prediction.
        novelty: Whether the model has a novelty detector, for which the table has a column.
    """
    columns = min(top_k, len(classes))
    rest = iter(predictions)
    first = list(itertools.islice(rest, 1))  # an early failure leaves no partial table
    predictions = itertools.chain(first, rest)
    match form:
        case "table":
            write_table(predictions, stream, classes, columns, novelty)
        case "csv":
            write_csv(predictions, stream, columns)
        case "json":
            write_json(predictions, stream)
        case "jsonl":
            write_jsonl(predictions, stream)
        case _:
            raise ValueError(f"no format {form!r}")


def _json(p: Prediction) -> str:
    return json.dumps(as_row(p), ensure_ascii=False, allow_nan=False)


def _novelty(value: float) -> str:
    """Returns novelty as text; rounding never hides on which side of 1 it is.

    >>> _novelty(0.5), _novelty(1.001), _novelty(0.999), _novelty(123.4)
    ('0.50', '>1.00', '<1.00', '123.40')
    """
    text = f"{value:.2f}"
    return text if text != "1.00" or value == 1 else f"{'>' if value > 1 else '<'}{text}"


def _remarks(p: Prediction) -> str:
    remarks = []
    if p.none_of_these:
        remarks.append(f"nearest: {_printable(p.top[0][0])}")
    elif p.abstained:
        remarks.append("abstained")
    if p.detail:
        remarks.append(_printable(p.detail))
    if p.class_set is not None:
        remarks.append(f"one of: {', '.join(map(_printable, p.class_set))}")
    return f"  ({'; '.join(remarks)})" if remarks else ""


def _percent(probability: float) -> str:
    """Returns a probability as a percentage; only certainty is shown as 100 %.

    >>> _percent(0.5), _percent(0.99999), _percent(1.0)
    ('50.00 %', '>99.99 %', '100.00 %')
    """
    return ">99.99 %" if 0.99995 <= probability < 1 else f"{100 * probability:.2f} %"


def _printable(name: str) -> str:
    """Returns a name that cannot move the cursor, colour the terminal or break the line."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in readable(name))


def _width(text: str) -> int:
    """Returns the width of `text` in terminal columns: wide characters take two, combining ones none."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in ("W", "F") else 1 for c in text
    )


def _pad(text: str, width: int) -> str:
    while _width(text) > width:
        text = f"{text[:-2]}…"
    return text + " " * (width - _width(text))


def _paint(text: str, code: str, colour: bool) -> str:
    return f"{code}{text}{_PLAIN}" if colour else text
