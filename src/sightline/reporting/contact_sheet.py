"""A contact sheet of images before and after every preprocessing step, for `sightline preview` and the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from sightline.core.rejection import RejectionError
from sightline.imaging.image_file import ANY_SIZE
from sightline.imaging.transform.ops import Pixels
from sightline.imaging.transform.pipeline import Transform

CELL, _GAP, _MARGIN, _LINE = 176, 14, 24, 20
_INK, _FAINT, _PAPER, _FRAME = (26, 32, 44), (94, 104, 120), (255, 255, 255), (208, 214, 222)
_MASK = "mask"


@dataclass(frozen=True)
class SheetRow:
    """One image of the sheet.

    Attributes:
        id: Its id.
        label: Its class.
        states: (title, pixels) of the original and of the result of every step, followed by copies; empty if the image
            cannot be read.
        note: A remark, such as why the transform rejected the image.
    """

    id: str
    label: str
    states: list[tuple[str, Pixels]]
    note: str = ""


def row_of(transform: Transform, identity: str, label: str, data: bytes) -> SheetRow:
    """Returns an encoded image's row: the original, and the result of every active step."""
    try:
        original = transform.open(data, ANY_SIZE)
    except RejectionError as refusal:
        return SheetRow(identity, label, [], f"{refusal.reason} {refusal.detail}".rstrip())
    try:
        states = transform.trace(original)
    except RejectionError as refusal:
        return SheetRow(identity, label, [("original", original)], f"rejected: {refusal.reason}")
    return SheetRow(identity, label, [(_title(transform, name), state) for name, state in states])


def _title(transform: Transform, step: str) -> str:
    if step == "original":
        return step
    if step == "color":
        return f"colour: {', '.join(transform.channel_names[:3])}"
    return f"{step}: {transform.steps[step].name}"


def draw_sheet(rows: Sequence[SheetRow]) -> Image.Image:
    """Draws the sheet: one row per image, one column per step, the size in pixels below each."""
    cells = [cells_of(row) for row in rows]
    columns = max(map(len, cells))
    height = CELL + _LINE + _GAP
    size = (
        2 * _MARGIN + columns * CELL + (columns - 1) * _GAP,
        2 * _MARGIN + _LINE + len(rows) * (height + _LINE) - _GAP,
    )
    sheet = Image.new("RGB", size, _PAPER)
    pen = ImageDraw.Draw(sheet)
    bold, plain = ImageFont.load_default(15), ImageFont.load_default(13)
    titles = max(cells, key=len)
    for column, (title, _) in enumerate(titles):
        _draw_text(pen, (_left(column), _MARGIN - 8), title, bold, _INK)
    for number, (row, found) in enumerate(zip(rows, cells, strict=True)):
        top = _MARGIN + _LINE - 2 + number * (height + _LINE)
        name = f"{row.label}  ·  {row.id}" + (f"  ·  {row.note}" if row.note else "")
        _draw_text(pen, (_MARGIN, top), name, plain, _INK, columns * (CELL + _GAP) - _GAP)
        for column, (_, state) in enumerate(found):
            left, below = _left(column), top + _LINE
            picture = cell_picture(state)
            at = left + (CELL - picture.width) // 2, below + (CELL - picture.height) // 2
            pen.rectangle((left - 1, below - 1, left + CELL, below + CELL), outline=_FRAME, fill=(244, 246, 248))
            sheet.paste(picture, at)
            size_text = f"{state.shape[1]} x {state.shape[0]} px"
            _draw_text(pen, (left, below + CELL + 3), size_text, plain, _FAINT)
    return sheet


def _left(column: int) -> int:
    return _MARGIN + column * (CELL + _GAP)


def cells_of(row: SheetRow) -> list[tuple[str, Pixels]]:
    """Returns a row's states as displayable cells: a mask channel gets a separate cell."""
    cells: list[tuple[str, Pixels]] = []
    for title, state in row.states:
        if state.shape[2] in (1, 3):
            cells.append((title, state))
        else:
            cells += [(title, state[..., :-1]), (_MASK, state[..., -1:])]
    return cells


def cell_picture(state: Pixels) -> Image.Image:
    """Scales an image to the cell's size; small images are enlarged without smoothing, so that pixels are visible."""
    height, width = state.shape[:2]
    scale = CELL / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST if scale >= 2 else cv2.INTER_LINEAR
    shown = cv2.resize(np.ascontiguousarray(state), size, interpolation=method)
    return Image.fromarray(shown.reshape(size[1], size[0], -1).repeat(3 if state.shape[2] == 1 else 1, axis=2))


def _draw_text(
    pen: ImageDraw.ImageDraw,
    at: tuple[int, int],
    text: str,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    ink: tuple[int, int, int],
    room: int = CELL,
) -> None:
    """Draws a line of text, truncated with an ellipsis if it is too wide."""
    text = " ".join(text.split())  # a label may contain line breaks
    while text and pen.textlength(text, font=font) > room:
        text = text.removesuffix("…")[:-1].rstrip() + "…"
    pen.text(at, text, fill=ink, font=font)
