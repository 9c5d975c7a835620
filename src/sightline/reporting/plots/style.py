"""Style of the plots: one palette for light and for dark paper, readable names, the same bytes every time."""

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
    """Colours of one kind of paper. `right` and `wrong` differ in hue and lightness: safe for the colour-blind."""

    name: str
    paper: str
    ink: str
    muted: str
    grid: str
    right: str
    wrong: str
    third: str

    def scale(self, colour: str) -> LinearSegmentedColormap:
        """Returns the colour map from the paper's colour to `colour`."""
        return LinearSegmentedColormap.from_list(f"{self.name}-{colour}", [self.paper, colour])


LIGHT = Theme("light", "#ffffff", "#1b2430", "#5b6776", "#dfe4ea", "#1f5fa8", "#c4480f", "#7a8796")
DARK = Theme("dark", "#161b22", "#e6ebf1", "#9aa7b5", "#2d3540", "#6cb0f5", "#f0894e", "#8794a3")

# Written out, so that neither a user's matplotlibrc nor a change of matplotlib's defaults decides how a report looks.
_STYLE = {
    "font.family": ["DejaVu Sans"],  # the one font that comes with matplotlib: the same bytes on every machine
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
    """Makes a function draw with matplotlib's own defaults and the style of this file, then puts things back."""

    @functools.wraps(draw)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        settings: Any = {k: v for k, v in matplotlib.rcParamsDefault.items() if not k.startswith("backend")}
        with matplotlib.rc_context(settings | _STYLE):
            return draw(*args, **kwargs)

    return wrapper


def new_figure(width: float, height: float, theme: Theme) -> Figure:
    """Returns an empty figure of that size in inches, on the theme's paper; belongs to no global state."""
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor=theme.paper, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def dress(axes: Axes, theme: Theme) -> None:
    """Gives axes the theme's colours."""
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
    """Returns a class name as a picture can show it: shortened, or `#<index>` where the font lacks a glyph.

    Falling back to a font of the system would make the picture depend on the machine. The report's tables give
    every name in full beside its index.

    >>> shown("cat", 3), shown("猫", 3), shown("a" * 30, 3, longest=8)
    ('cat', '#3', 'aaaaaaa…')
    """
    name = " ".join(unicodedata.normalize("NFC", name).split())
    if not name or any(ord(char) not in _glyphs() for char in name):
        return f"#{index}"
    return name if len(name) <= longest else name[: longest - 1].rstrip() + "…"


def shown_all(classes: Sequence[str], longest: int = LONGEST_NAME) -> list[str]:
    """Returns all class names as `shown`."""
    return [class_label(name, index, longest) for index, name in enumerate(classes)]
