"""A contact sheet: images before and after every step, so that a person chooses by looking.

Drawn on demand and no output of the stage: every later stage would else depend on fonts and on this file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from sightline import files, seeds
from sightline.augment import options as augment_options
from sightline.augment import policy as augment_policy
from sightline.contract.contract import Contract
from sightline.contract.pixels import Pixels
from sightline.errors import UserError
from sightline.preprocess.config import PreprocessConfig
from sightline.preprocess.options import policy_and_copies
from sightline.preprocess.raw import RawSet
from sightline.preprocess.stage import build_contract
from sightline.preprocess.work import ANY_SIZE, encoded
from sightline.reasons import Rejected

COPIES = 3
"""Augmented copies shown of each image at most."""

_CELL, _GAP, _MARGIN, _LINE = 176, 14, 24, 20
_INK, _FAINT, _PAPER, _FRAME = (26, 32, 44), (94, 104, 120), (255, 255, 255), (208, 214, 222)
_MASK = "mask"


@dataclass(frozen=True)
class Row:
    """One image of the sheet.

    Attributes:
        id: Its id.
        label: Its class.
        states: (title, pixels) of the original and of the result of every step; copies after them. None where the
            image cannot be read.
        note: What is to be said of it, as why the contract refused it.
    """

    id: str
    label: str
    states: list[tuple[str, Pixels]]
    note: str = ""


def sample(images: RawSet, count: int, seed: int = 0) -> list[tuple[str, str, bytes]]:
    """Returns (id, label, encoded bytes) of some images: class after class in turn, in each by a hash of the id."""
    labels = images.table["label"].to_pylist()
    by_label: dict[str, list[tuple[bytes, int]]] = {}
    for place, identity in enumerate(images.table["id"].to_pylist()):
        digest = hashlib.blake2b(f"{seed}\0{identity}".encode(), digest_size=8).digest()
        by_label.setdefault(labels[place], []).append((digest, place))
    queues = [iter(sorted(by_label[label])) for label in sorted(by_label)]
    chosen: list[int] = []
    while len(chosen) < min(count, len(images)):
        chosen += [place for queue in queues for _, place in [next(queue, (b"", -1))] if place >= 0]
    wanted = sorted(chosen[:count], key=lambda place: (labels[place], place))
    return [(str(images.table["id"][place]), labels[place], _bytes_of(images, place)) for place in wanted]


def _bytes_of(images: RawSet, place: int) -> bytes:
    shard = int(np.searchsorted(images.begins, place, side="right")) - 1
    row = place - int(images.begins[shard])
    return next(data for at, data in enumerate(encoded(images.shards[shard])) if at == row)


def rows_of(chosen: Sequence[tuple[str, str, bytes]], config: PreprocessConfig) -> Iterator[Row]:
    """Yields the sheet's rows."""
    contract = build_contract(config)
    policy, copies = policy_and_copies(config.augment)
    augmentation = None
    if copies:
        augmentation = augment_policy.build(augment_options.POLICIES[policy["name"]](**policy), contract.shape)
    for identity, label, data in chosen:
        try:
            original = contract.open(data, ANY_SIZE)
        except Rejected as refusal:
            yield Row(identity, label, [], f"{refusal.reason} {refusal.detail}".rstrip())
            continue
        try:
            states = contract.trace(original)
        except Rejected as refusal:
            yield Row(identity, label, [("original", original)], f"refused: {refusal.reason}")
            continue
        result = states[-1][1]
        titled = [(_title(contract, name), state) for name, state in states]
        if augmentation is not None:
            for copy in range(1, min(copies, COPIES) + 1):
                seed = seeds.derive(config.augment_seed, "copy", identity, copy)
                titled.append((f"copy {copy}: {policy['name']}", augmentation(result, seed)))
        yield Row(identity, label, titled)


def _title(contract: Contract, step: str) -> str:
    if step == "original":
        return step
    if step == "color":
        return f"colour: {', '.join(contract.channel_names[:3])}"
    return f"{step}: {contract.steps[step].name}"


def draw(rows: Sequence[Row]) -> Image.Image:
    """Draws the sheet: a row an image, a column a step, the size in pixels below each."""
    cells = [[cell for title, state in row.states for cell in _cells(title, state)] for row in rows]
    columns = max(map(len, cells))
    height = _CELL + _LINE + _GAP
    size = (
        2 * _MARGIN + columns * _CELL + (columns - 1) * _GAP,
        2 * _MARGIN + _LINE + len(rows) * (height + _LINE) - _GAP,
    )
    sheet = Image.new("RGB", size, _PAPER)
    pen = ImageDraw.Draw(sheet)
    bold, plain = ImageFont.load_default(15), ImageFont.load_default(13)
    titles = max(cells, key=len)
    for column, (title, _) in enumerate(titles):
        _text(pen, (_left(column), _MARGIN - 8), title, bold, _INK)
    for number, (row, found) in enumerate(zip(rows, cells, strict=True)):
        top = _MARGIN + _LINE - 2 + number * (height + _LINE)
        name = f"{row.label}  ·  {row.id}" + (f"  ·  {row.note}" if row.note else "")
        _text(pen, (_MARGIN, top), name, plain, _INK, columns * (_CELL + _GAP) - _GAP)
        for column, (_, state) in enumerate(found):
            left, below = _left(column), top + _LINE
            picture = _fitted(state)
            at = left + (_CELL - picture.width) // 2, below + (_CELL - picture.height) // 2
            pen.rectangle((left - 1, below - 1, left + _CELL, below + _CELL), outline=_FRAME, fill=(244, 246, 248))
            sheet.paste(picture, at)
            said = f"{state.shape[1]} x {state.shape[0]} px"
            _text(pen, (left, below + _CELL + 3), said, plain, _FAINT)
    return sheet


def _left(column: int) -> int:
    return _MARGIN + column * (_CELL + _GAP)


def _cells(title: str, state: Pixels) -> list[tuple[str, Pixels]]:
    """Returns a state as what can be shown: a mask that is a channel of its own gets a cell of its own."""
    if state.shape[2] in (1, 3):
        return [(title, state)]
    return [(title, state[..., :-1]), (_MASK, state[..., -1:])]


def _fitted(state: Pixels) -> Image.Image:
    """Brings pixels to the cell's size: small ones as squares, so that every pixel can be seen."""
    height, width = state.shape[:2]
    scale = _CELL / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST if scale >= 2 else cv2.INTER_LINEAR
    shown = cv2.resize(np.ascontiguousarray(state), size, interpolation=method)
    return Image.fromarray(shown.reshape(size[1], size[0], -1).repeat(3 if state.shape[2] == 1 else 1, axis=2))


def _text(
    pen: ImageDraw.ImageDraw,
    at: tuple[int, int],
    text: str,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    ink: tuple[int, int, int],
    room: int = _CELL,
) -> None:
    """Writes a line, cut with dots where it is wider than its room."""
    while text and pen.textlength(text, font=font) > room:
        text = text.removesuffix("…")[:-1].rstrip() + "…"
    pen.text(at, text, fill=ink, font=font)


def preview(raw: Path, config: PreprocessConfig, out: Path, count: int, seed: int = 0) -> tuple[int, list[str]]:
    """Writes a contact sheet of some images as PNG.

    Args:
        raw: Folder written by the ingest stage.
        config: The preprocess section.
        out: The file.
        count: How many images at most.
        seed: Another seed, other images.

    Returns:
        How many images are on it, and a line for each that cannot be read.

    Raises:
        UserError: If there are no images, or none that can be read.
    """
    images = RawSet.read(raw)
    found = list(rows_of(sample(images, count, seed), config))
    rows = [row for row in found if row.states]
    unread = [f"{row.id}: {row.note}" for row in found if not row.states]
    if not rows:
        raise UserError(f"no image can be read; the first is {unread[0]}")
    with files.atomic_file(out) as temporary:
        draw(rows).save(temporary, "PNG", optimize=False)
    return len(rows), unread
