"""Progress of long work: a single line that is updated on a terminal or in a notebook, log lines elsewhere.

A long command opens a `stage`; the code it calls reports each new step with `step`, and counts with `track` or
`Progress`. On a terminal and in a notebook all of these share the last line. In a pipe or a file a step is logged as it
begins, and a count every `_INTERVAL` seconds unless something else was logged in between.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TextIO, TypeVar

from sightline.core import columns
from sightline.core.text import for_terminal

if TYPE_CHECKING:
    from tqdm import tqdm

T = TypeVar("T")

_log = logging.getLogger(__name__)

_PATIENCE = 2.0  # seconds until a count is shown
_INTERVAL = 15.0  # seconds between the lines of a count without a terminal
_NOTEBOOK_WIDTH = 100  # characters


class _TerminalState:
    """State of this process: the current stage, its step and the step's line, and when a line was last written."""

    stage = ""
    step = ""
    line: tqdm[None] | None = None
    written = 0.0
    silent = False


@contextlib.contextmanager
def stage(name: str) -> Iterator[None]:
    """Names the work that steps and counts belong to; within another stage it has no effect."""
    if _TerminalState.stage:
        yield
        return
    _TerminalState.stage = name
    try:
        yield
    finally:
        _hide_step()
        _TerminalState.stage = _TerminalState.step = ""


def silence() -> None:
    """Shows nothing from now on: for a worker, whose lines would mix with those of its parent process."""
    _TerminalState.silent, _TerminalState.stage, _TerminalState.step, _TerminalState.line = True, "", "", None


def in_stage() -> bool:
    """Returns whether a stage is open."""
    return bool(_TerminalState.stage)


def step(name: str) -> None:
    """Reports the step that a stage begins ("" if the step prints its own lines); does nothing outside a stage."""
    if not _TerminalState.stage:
        return
    _hide_step()
    _TerminalState.step = name
    if name and _is_drawn():
        _show_step()
    elif name:
        _say(_title(""))


def track(
    items: Iterable[T], name: str, total: float | None = None, unit: str = "images", each: float = 1
) -> Iterator[T]:
    """Yields `items`, and shows their count and speed once they have taken more than two seconds.

    Args:
        items: The items to iterate over.
        name: A word for the count.
        total: Total number of units, if known.
        unit: The plural noun for the units counted.
        each: Number of units that an item counts for.
    """
    with Progress(name, total, unit) as progress:
        for item in items:
            yield item
            progress.advance(each)


class Progress:
    """A count, shown once it has taken more than two seconds, with its speed and the time left.

    Args:
        name: A word for the count.
        total: Total number of units, if known.
        unit: The plural noun for the units counted.
        done: Units done earlier, e.g. when training is resumed; they do not count towards the speed.
    """

    def __init__(self, name: str, total: float | None = None, unit: str = "images", done: float = 0) -> None:
        self._name = name
        self._total = total
        self._unit = unit
        self._before = self._done = done
        self._began = time.monotonic()
        self._note: str | None = None
        self._drawn = _is_drawn()
        self._bar: tqdm[None] | None = None

    def advance(self, units: float) -> None:
        """Adds to the units done."""
        self.to(self._done + units)

    def to(self, done: float, name: str | None = None, note: str | None = None) -> None:
        """Sets the number of units done.

        Args:
            done: Units, from the beginning.
            name: A new name, if it changes.
            note: Text to show instead of the count.
        """
        done = done if self._total is None else min(done, self._total)  # the last step may be a partial one
        self._name, self._note, step, self._done = name or self._name, note, done - self._done, done
        now = time.monotonic()
        if not self._drawn:
            if now - max(_TerminalState.written, self._began) > _INTERVAL:
                _say(f"{_title(self._name)}: {self._state(now)}")
        elif self._bar is not None:
            self._bar.desc, self._bar.bar_format = _title(self._name), self._form(now)
            self._bar.update(step)
        elif now - self._began > _PATIENCE:
            _hide_step()
            self._bar = _bar(_title(self._name), self._total, self._form(now), done)

    def close(self) -> None:
        """Removes the line."""
        if self._bar is not None:
            self._bar.close()
            _show_step()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _form(self, now: float) -> str:
        return ("{desc}: " if self._total is None else "{desc} |{bar}| ") + self._state(now)

    def _state(self, now: float) -> str:
        """Returns the count, or the note in its place, the mean speed and the time left."""
        rate = (self._done - self._before) / max(now - self._began, 1e-9)
        of = "" if self._total is None else f" of {self._total:,.0f}"
        parts = [self._note or f"{self._done:,.0f}{of}", f"{rate:,.{0 if rate >= 10 else 1}f} {self._unit}/s"]
        if self._total is not None and rate:
            minutes, seconds = divmod(round((self._total - self._done) / rate), 60)
            hours, minutes = divmod(minutes, 60)
            parts.append(f"{hours}:{minutes:02}:{seconds:02} left" if hours else f"{minutes}:{seconds:02} left")
        return ", ".join(parts)


def write_line(line: str, stream: TextIO) -> None:
    """Writes a line to standard output or standard error, above the current progress line if there is one.

    On a terminal, lines on standard output are wrapped at words. A warning may end with a command to copy, so lines on
    standard error are not.
    """
    line = for_terminal(line)
    if stream is sys.stdout:
        line = columns.folded(line, columns.terminal_width())
    if "tqdm" in sys.modules:  # otherwise there is no progress line
        from tqdm import tqdm

        tqdm.write(line, file=stream)
    else:
        print(line, file=stream)
    stream.flush()
    _TerminalState.written = time.monotonic()


def _is_drawn() -> bool:
    """Returns whether standard error is a terminal or a notebook's cell output, both of which can show a bar."""
    return not _TerminalState.silent and (sys.stderr.isatty() or type(sys.stderr).__module__.startswith("ipykernel."))


def _say(line: str) -> None:
    _TerminalState.written = time.monotonic()
    if not _TerminalState.silent:
        _log.info(line)


def _title(name: str) -> str:
    """Returns the beginning of a line: stage, step, and the name of the count."""
    name = ", ".join(filter(None, (_TerminalState.step, name)))
    return f"{_TerminalState.stage}: {name}" if _TerminalState.stage else name


def _show_step() -> None:
    if _TerminalState.step:
        _TerminalState.line = _bar(_title("")[: shutil.get_terminal_size().columns - 5], None, "{desc} ...")


def _hide_step() -> None:
    if _TerminalState.line is not None:
        _TerminalState.line.close()
        _TerminalState.line = None


def _bar(title: str, total: float | None, form: str, done: float = 0) -> tqdm[None]:
    from tqdm import tqdm  # imported here: most runs have no terminal

    tqdm.monitor_interval = 0  # no monitor thread: a process that forks must not have other threads
    size = shutil.get_terminal_size()  # some terminals report a size of 0, and tqdm would show nothing there
    return tqdm(
        desc=title,
        total=total,
        file=sys.stderr,
        initial=done,
        bar_format=form,
        leave=False,
        ncols=size.columns if sys.stderr.isatty() else _NOTEBOOK_WIDTH,
        nrows=size.lines,
    )
