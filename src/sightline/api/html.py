"""HTML building blocks for notebooks: tables, images, notes."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape


def block(title: str, *parts: str) -> str:
    """Returns HTML with a title followed by parts, which must be HTML already."""
    return f"<div><p><b>{escape(title)}</b></p>{''.join(parts)}</div>"


def html_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Returns a table of text and numbers; numbers have thousands separators."""
    head = "".join(f"<th style='text-align: left'>{escape(cell)}</th>" for cell in header)
    body = "".join(f"<tr>{''.join(f'<td>{escape(_cell(cell))}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def notes(lines: Sequence[str]) -> str:
    """Returns a list of notes; empty if there are none."""
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>" if lines else ""


def preformatted(lines: Sequence[str]) -> str:
    """Returns lines unchanged, in a fixed-width font."""
    return f"<pre>{escape(chr(10).join(lines))}</pre>"


def inline_picture(png: bytes | None, alt: str) -> str:
    """Returns an image embedded in the page; empty if there is none."""
    if png is None:
        return ""
    return f"<img alt='{escape(alt)}' src='data:image/png;base64,{base64.b64encode(png).decode()}'>"


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
