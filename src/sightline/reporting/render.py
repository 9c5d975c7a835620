"""Rendering of self-contained pages from templates, with the same bytes for the same results."""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from sightline.reporting import formatting
from sightline.reporting.plots.style import DARK, DPI, LIGHT, Theme

TEMPLATES = Path(__file__).parent
_KINDS = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg"}


@dataclass(frozen=True)
class Picture:
    """One figure of a page, drawn in the light and the dark theme (PNG), with alternative text and a caption."""

    light: bytes
    dark: bytes
    alt: str
    caption: str

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in CSS pixels, from the PNG's header."""
        width, height = struct.unpack(">II", self.light[16:24])
        return round(width * 96 / DPI), round(height * 96 / DPI)


def picture(draw: Callable[[Theme], bytes], alt: str, caption: str) -> Picture:
    """Returns a figure drawn in both themes."""
    return Picture(draw(LIGHT), draw(DARK), alt, caption)


def data_uri(image: bytes) -> str:
    """Returns a PNG or JPEG as a `data:` URI."""
    kind = next(name for start, name in _KINDS.items() if image.startswith(start))
    return f"data:image/{kind};base64,{base64.b64encode(image).decode()}"


def render(folder: Path, template: str, **values: Any) -> str:
    """Renders a template.

    All values, such as class names and ids, are escaped; a missing value is an error.

    Args:
        folder: The folder of the template; templates that it extends are in `TEMPLATES`.
        template: Its file name.
        values: The values for the template; `script`, if any, is the page's JavaScript.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([folder, TEMPLATES]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    named = (
        formatting.share,
        formatting.percent,
        formatting.points,
        formatting.p_value,
        formatting.grouped,
        formatting.size,
        data_uri,
    )
    script = values.setdefault("script", None)
    # The content security policy allows only this script, by its digest, and nothing injected through names or ids.
    values["script_digest"] = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() if script else ""
    icon = (TEMPLATES / "icon.svg").read_bytes()
    values["icon"] = f"data:image/svg+xml;base64,{base64.b64encode(icon).decode()}"
    environment.filters |= {function.__name__: function for function in named}
    return environment.get_template(template).render(values)
