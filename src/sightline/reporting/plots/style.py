"""Style of the plots: a light and a dark theme, readable names, reproducible bytes."""

from __future__ import annotations

import functools
import io
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font

DPI = 144
LONGEST_NAME = 22

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Theme:
    """Colours of a theme. `right` and `wrong` differ in hue and lightness, which is safe for colour-blind readers."""

    name: str
    paper: str
    ink: str
    muted: str
    grid: str
    right: str
    wrong: str
    third: str

    def scale(self, colour: str) -> LinearSegmentedColormap:
        """Returns the colour map from the background to `colour`."""
        return LinearSegmentedColormap.from_list(f"{self.name}-{colour}", [self.paper, colour])


LIGHT = Theme("light", "#ffffff", "#1b2430", "#5b6776", "#dfe4ea", "#1f5fa8", "#c4480f", "#7a8796")
DARK = Theme("dark", "#161b22", "#e6ebf1", "#9aa7b5", "#2d3540", "#6cb0f5", "#f0894e", "#8794a3")

# Explicit, so that reports do not depend on a user's matplotlibrc or on matplotlib's defaults.
_STYLE = {
    "font.family": ["DejaVu Sans"],  # ships with matplotlib: the same bytes on every machine
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 8.0,
    "figure.constrained_layout.h_pad": 0.08,
    "figure.constrained_layout.w_pad": 0.08,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.parse_math": False,  # a class may be called `$x$`
    "svg.hashsalt": "sightline",
}


def styled(draw: Callable[P, T]) -> Callable[P, T]:
    """Makes a function draw with matplotlib's defaults and this file's style, and restores the settings afterwards."""

    @functools.wraps(draw)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        settings: Any = {k: v for k, v in matplotlib.rcParamsDefault.items() if not k.startswith("backend")}
        with matplotlib.rc_context(settings | _STYLE):
            return draw(*args, **kwargs)

    return wrapper


def new_figure(width: float, height: float, theme: Theme) -> Figure:
    """Returns an empty figure of a size in inches with the theme's background, without pyplot's global state."""
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor=theme.paper, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def dress(axes: Axes, theme: Theme) -> None:
    """Applies the theme's colours to axes."""
    axes.set_facecolor(theme.paper)
    axes.tick_params(colors=theme.muted, labelcolor=theme.ink, length=0)
    axes.xaxis.label.set_color(theme.muted)
    axes.yaxis.label.set_color(theme.muted)
    for spine in axes.spines.values():
        spine.set_color(theme.grid)
    axes.set_axisbelow(True)


def figure_png(figure: Figure) -> bytes:
    """Returns the figure as PNG, without the metadata that differs between versions."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=DPI, facecolor=figure.get_facecolor(), metadata={"Software": None})
    return stream.getvalue()


@functools.cache
def _glyphs() -> frozenset[int]:
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    return frozenset(FT2Font(str(path)).get_charmap())


def class_label(name: str, index: int, longest: int = LONGEST_NAME) -> str:
    """Returns a class name for use in a figure: shortened, or `#<index>` if the font lacks a glyph.

    A fallback to a system font would make the figure depend on the machine. The report's tables list every full name
    with its index.

    >>> class_label("cat", 3), class_label("猫", 3), class_label("a" * 30, 3, longest=8)
    ('cat', '#3', 'aaaaaaa…')
    """
    name = " ".join(unicodedata.normalize("NFC", name).split())
    if not name or any(ord(char) not in _glyphs() for char in name):
        return f"#{index}"
    return name if len(name) <= longest else name[: longest - 1].rstrip() + "…"


def shown_all(classes: Sequence[str], longest: int = LONGEST_NAME) -> list[str]:
    """Returns `class_label` of all class names."""
    return [class_label(name, index, longest) for index, name in enumerate(classes)]
