"""Parts of what a notebook shows: tables, pictures, notes."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape


def block(title: str, *parts: str) -> str:
    """Returns HTML with a title and parts, which are HTML already."""
    return f"<div><p><b>{escape(title)}</b></p>{''.join(parts)}</div>"


def html_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Returns a table of texts and numbers; numbers with separators."""
    head = "".join(f"<th style='text-align: left'>{escape(cell)}</th>" for cell in header)
    body = "".join(f"<tr>{''.join(f'<td>{escape(_cell(cell))}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def notes(lines: Sequence[str]) -> str:
    """Returns a list of remarks; nothing where there is none."""
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>" if lines else ""


def preformatted(lines: Sequence[str]) -> str:
    """Returns lines as they are, in columns."""
    return f"<pre>{escape(chr(10).join(lines))}</pre>"


def inline_picture(png: bytes | None, alt: str) -> str:
    """Returns a picture that the page itself holds; nothing where there is none."""
    if png is None:
        return ""
    return f"<img alt='{escape(alt)}' src='data:image/png;base64,{base64.b64encode(png).decode()}'>"


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
